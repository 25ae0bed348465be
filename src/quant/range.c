#include "quant/range.h"

#include <math.h>

#define PERCENTILE 0.9999

const char *quant_method_name(enum quant_method method)
{
    static const char *const names[QUANT_METHOD_COUNT] = {
        [QUANT_ENTROPY] = "entropy",
        [QUANT_MSE] = "mse",
        [QUANT_PERCENTILE] = "percentile",
        [QUANT_MINMAX] = "minmax",
    };
    return (unsigned)method < QUANT_METHOD_COUNT ? names[method] : "unknown";
}

/* ---------------------------------------------------------------- merging */

static void halve(struct quant_merged *merged)
{
    for (int i = 0; i < QUANT_BINS; i++) {
        double both = i < QUANT_BINS / 2 ? merged->counts[2 * i] + merged->counts[2 * i + 1] : 0;
        merged->counts[i] = both;
    }
    merged->bin *= 2;
}

static bool is_empty(const struct quant_histogram *histogram)
{
    for (int i = 0; i < QUANT_BINS; i++)
        if (histogram->counts[i] > 0)
            return false;
    return true;
}

void quant_merge(struct quant_merged *into, const struct quant_histogram *from)
{
    if (!(from->bin > 0) || is_empty(from))
        return;
    if (into->bin == 0)
        into->bin = from->bin;
    while (into->bin < from->bin)
        halve(into);
    double narrower = (double)from->bin / (double)into->bin;
    for (int i = 0; i < QUANT_BINS; i++)
        into->counts[(int)(i * narrower)] += from->counts[i];
}

/* ---------------------------------------------------------------- what the methods look at */

/* Without the zeros. Everything is in units of a bin until the very end. */
struct density {
    double counts[QUANT_BINS];
    int extent; /* one past the last bin that holds something */
    int levels;
};

static void finish_density(struct density *density, int levels)
{
    double *counts = density->counts;
    if (counts[0] > counts[1])
        counts[0] = counts[1];
    density->levels = levels > 0 ? levels : 1;
    density->extent = QUANT_BINS;
    while (density->extent > 0 && !(counts[density->extent - 1] > 0))
        density->extent--;
}

/* ---------------------------------------------------------------- percentile */

static double percentile_range(const struct density *density)
{
    double total = 0, below = 0;
    for (int i = 0; i < density->extent; i++)
        total += density->counts[i];
    double wanted = PERCENTILE * total;
    for (int i = 0; i < density->extent; i++) {
        double count = density->counts[i];
        if (count > 0 && below + count >= wanted)
            return i + (wanted - below) / count;
        below += count;
    }
    return density->extent;
}

/* ---------------------------------------------------------------- mean squared error */

/* Sums over the bins below an edge of 1, x and x², where values lie evenly within a bin. */
struct moments {
    double count[QUANT_BINS + 1], first[QUANT_BINS + 1], second[QUANT_BINS + 1];
};

static void sum_moments(const struct density *density, struct moments *m)
{
    m->count[0] = m->first[0] = m->second[0] = 0;
    for (int i = 0; i < QUANT_BINS; i++) {
        double count = density->counts[i], x = i;
        m->count[i + 1] = m->count[i] + count;
        m->first[i + 1] = m->first[i] + count * (x + 0.5);
        m->second[i + 1] = m->second[i] + count * (x * x + x + 1.0 / 3);
    }
}

/* Squared errors where the range is `edge` bins. Below half a step a value becomes 0 and its square
 * is the error; above, errors are taken to be spread evenly over a step. */
static double squared_error(const struct density *density, const struct moments *m, int edge)
{
    double step = (double)edge / density->levels, half = step / 2, range = edge;
    int at = (int)half;
    double part = half - at, count = density->counts[at];
    double small = m->count[at] + count * part;
    double lost = m->second[at] + count * (half * half * half - (double)at * at * at) / 3;
    double rounded = (m->count[edge] - small) * step * step / 12;
    double beyond = m->count[QUANT_BINS] - m->count[edge];
    double beyond_first = m->first[QUANT_BINS] - m->first[edge];
    double beyond_second = m->second[QUANT_BINS] - m->second[edge];
    return lost + rounded + beyond_second - 2 * range * beyond_first + range * range * beyond;
}

static double mse_range(const struct density *density)
{
    struct moments moments;
    sum_moments(density, &moments);
    int best = density->extent;
    double least = INFINITY;
    for (int edge = density->extent; edge > 0; edge--) {
        double error = squared_error(density, &moments, edge);
        if (error < least) {
            least = error;
            best = edge;
        }
    }
    return best;
}

/* ---------------------------------------------------------------- entropy */

/* As S. Migacz describes it in "8-bit inference with TensorRT" (GTC 2017): for each number of bins
 * that is kept, P is the histogram with all beyond added to its last bin; Q is the histogram
 * without that, merged into as many pieces as there are levels, each spread evenly over those of
 * its bins where P has something. The range with the least Σ P log(P/Q) wins.
 *
 * Sums over pieces come from running sums, so a candidate costs one logarithm a level. */
struct entropy {
    double count[QUANT_BINS + 1], used[QUANT_BINS + 1]; /* below an edge: values, bins in use */
    double information[QUANT_BINS + 1];                 /* … and Σ c log c */
};

static double times_log(double x)
{
    return x > 0 ? x * log(x) : 0;
}

static void sum_entropy(const struct density *density, struct entropy *e)
{
    e->count[0] = e->used[0] = e->information[0] = 0;
    for (int i = 0; i < QUANT_BINS; i++) {
        double count = density->counts[i];
        e->count[i + 1] = e->count[i] + count;
        e->used[i + 1] = e->used[i] + (count > 0);
        e->information[i + 1] = e->information[i] + times_log(count);
    }
}

static double divergence(const struct density *density, const struct entropy *e, int kept)
{
    double total = e->count[QUANT_BINS], inside = e->count[kept], last = density->counts[kept - 1];
    double outliers = total - inside, crossed = 0;
    int pieces = density->levels + 1;
    for (int g = 0, low = 0; g < pieces; g++) {
        int high = (int)((int64_t)(g + 1) * kept / pieces);
        double mass = e->count[high] - e->count[low], used = e->used[high] - e->used[low];
        bool takes = g == pieces - 1 && outliers > 0;
        if (takes && last == 0)
            used++;
        if (mass > 0)
            crossed += (mass + (takes ? outliers : 0)) * log(mass / used);
        else if (takes)
            return INFINITY; /* P is somewhere where Q is not */
        low = high;
    }
    double information = e->information[kept - 1] + times_log(last + outliers);
    return (information - crossed) / total - log(total) + log(inside);
}

static double entropy_range(const struct density *density)
{
    struct entropy sums;
    sum_entropy(density, &sums);
    int best = density->extent;
    double least = INFINITY;
    for (int kept = density->extent; kept > density->levels; kept--) {
        double distance = divergence(density, &sums, kept);
        if (distance < least) {
            least = distance;
            best = kept;
        }
    }
    return best;
}

/* ---------------------------------------------------------------- ranges */

static double range_in_bins(enum quant_method method, const struct density *density)
{
    if (density->extent == 0)
        return 0;
    switch (method) {
    case QUANT_ENTROPY:
        return entropy_range(density);
    case QUANT_MSE:
        return mse_range(density);
    case QUANT_PERCENTILE:
        return percentile_range(density);
    default:
        return density->extent;
    }
}

float quant_range(enum quant_method method, const struct quant_histogram *histogram, int levels)
{
    struct density density;
    for (int i = 0; i < QUANT_BINS; i++)
        density.counts[i] = histogram->counts[i];
    finish_density(&density, levels);
    return (float)(range_in_bins(method, &density) * (double)histogram->bin);
}

float quant_range_merged(enum quant_method method, const struct quant_merged *histogram, int levels)
{
    struct density density;
    for (int i = 0; i < QUANT_BINS; i++)
        density.counts[i] = histogram->counts[i];
    finish_density(&density, levels);
    return (float)(range_in_bins(method, &density) * (double)histogram->bin);
}
