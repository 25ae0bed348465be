/* Ranges against what samples themselves say, and against the definitions computed the long way. */
#include "quant/range.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

#define SAMPLES 40000

struct samples {
    float values[SAMPLES]; /* magnitudes */
    uint32_t counts[QUANT_BINS];
    struct quant_histogram histogram;
};

enum shape { EVEN, NORMAL, EXPONENTIAL, SPARSE, OUTLIERS, TWO_PEAKS, SHAPES };

static float normal(uint64_t *seed)
{
    float sum = 0;
    for (int i = 0; i < 12; i++)
        sum += random_float(seed, 0, 1);
    return sum - 6;
}

static float draw(enum shape shape, uint64_t *seed)
{
    float u = random_float(seed, 1e-6f, 1);
    switch (shape) {
    case EVEN:
        return 3 * u;
    case NORMAL:
        return fabsf(normal(seed));
    case EXPONENTIAL:
        return -logf(u);
    case SPARSE: /* behind a ReLU that is seldom passed */
        return u < 0.95f ? 0 : fabsf(normal(seed));
    case OUTLIERS:
        return u < 0.9995f ? fabsf(normal(seed)) : 40 * u;
    default:
        return u < 0.7f ? fabsf(0.3f + 0.05f * normal(seed)) : fabsf(5 + 0.5f * normal(seed));
    }
}

static float largest_of(const struct samples *s)
{
    float largest = 0;
    for (int i = 0; i < SAMPLES; i++)
        largest = s->values[i] > largest ? s->values[i] : largest;
    return largest;
}

/* As calibration counts: bins over [0, 2ⁿ), n as small as it can be. */
static struct samples *make_samples(enum shape shape, float scale, uint64_t seed)
{
    struct samples *s = calloc(1, sizeof *s);
    assert_non_null(s);
    for (int i = 0; i < SAMPLES; i++)
        s->values[i] = scale * draw(shape, &seed);
    float top = 1.0f / (1 << 20), largest = largest_of(s);
    while (top <= largest)
        top *= 2;
    s->histogram = (struct quant_histogram){s->counts, top / QUANT_BINS};
    for (int i = 0; i < SAMPLES; i++)
        s->counts[(int)(s->values[i] / s->histogram.bin)]++;
    return s;
}

static double true_error(const struct samples *s, double range, int levels)
{
    double sum = 0, step = range / levels;
    for (int i = 0; i < SAMPLES; i++) {
        double x = (double)s->values[i], level = nearbyint(x / step);
        double off = x - (level > levels ? levels : level) * step;
        sum += off * off;
    }
    return sum;
}

static void minmax_holds_all(void **state)
{
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++) {
        struct samples *s = make_samples((enum shape)shape, 0.37f, 11);
        float range = quant_range(QUANT_MINMAX, &s->histogram, 255), largest = largest_of(s);
        assert_true(range >= largest && range <= largest + s->histogram.bin);
        free(s);
    }
}

static int by_value(const void *left, const void *right)
{
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static void percentile_leaves_out_one_of_ten_thousand(void **state)
{
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++) {
        struct samples *s = make_samples((enum shape)shape, 2.5f, 12);
        float range = quant_range(QUANT_PERCENTILE, &s->histogram, 255), bin = s->histogram.bin;
        qsort(s->values, SAMPLES, sizeof *s->values, by_value);
        int first = 0; /* zeros do not count */
        while (!(s->values[first] > 0))
            first++;
        int beyond = (SAMPLES - first) / 10000;
        assert_true(range >= s->values[SAMPLES - 2 - beyond] - bin);
        assert_true(range <= s->values[SAMPLES - (beyond > 0 ? beyond : 1)] + bin);
        free(s);
    }
}

/* At every eighth bin's edge the error of all samples; the method's answer is about as good. */
static void mse_is_as_good_as_the_best(void **state)
{
    (void)state;
    static const int levels[] = {255, 127};
    for (int shape = 0; shape < SHAPES; shape++) {
        struct samples *s = make_samples((enum shape)shape, 1.7f, 13);
        for (int k = 0; k < 2; k++) {
            double range = (double)quant_range(QUANT_MSE, &s->histogram, levels[k]);
            double found = true_error(s, range, levels[k]), least = INFINITY;
            for (int edge = 16; edge <= QUANT_BINS; edge += 8)
                least = fmin(least, true_error(s, edge * (double)s->histogram.bin, levels[k]));
            if (found > 1.05 * least)
                fail_msg("shape %d, %d levels: error %g, %g is possible", shape, levels[k], found,
                         least);
        }
        free(s);
    }
}

/* A single outlier must not cost all others their resolution. */
static void mse_clips(void **state)
{
    (void)state;
    struct samples *s = make_samples(NORMAL, 0.2f, 14);
    uint32_t counts[QUANT_BINS] = {0};
    for (int i = 0; i < QUANT_BINS; i++)
        counts[i / 4] += 100 * s->counts[i];
    struct quant_histogram wide = {counts, 4 * s->histogram.bin};
    float honest = quant_range(QUANT_MSE, &wide, 127);
    counts[QUANT_BINS - 1] = 1;
    float with = quant_range(QUANT_MSE, &wide, 127);
    assert_true(honest > 0.5f && honest <= largest_of(s) + wide.bin);
    assert_true(with >= honest && with < 1.6f * honest);
    assert_true(quant_range(QUANT_MINMAX, &wide, 127) > 3.5f);
    free(s);
}

/* The definition, with both distributions written out. */
static double plain_divergence(const double *counts, int kept, int pieces)
{
    double p[QUANT_BINS], q[QUANT_BINS] = {0}, p_sum = 0, q_sum = 0, sum = 0;
    memcpy(p, counts, sizeof p);
    for (int i = kept; i < QUANT_BINS; i++)
        p[kept - 1] += counts[i];
    for (int g = 0; g < pieces; g++) {
        int low = g * kept / pieces, high = (g + 1) * kept / pieces, used = 0;
        double mass = 0;
        for (int i = low; i < high; i++) {
            mass += counts[i];
            used += p[i] > 0;
        }
        for (int i = low; i < high; i++)
            q[i] = p[i] > 0 ? mass / used : 0;
    }
    for (int i = 0; i < kept; i++) {
        p_sum += p[i];
        q_sum += q[i];
    }
    for (int i = 0; i < kept; i++) {
        if (p[i] > 0 && !(q[i] > 0))
            return INFINITY;
        sum += p[i] > 0 ? p[i] / p_sum * log(p[i] / p_sum * q_sum / q[i]) : 0;
    }
    return sum;
}

static void entropy_is_the_least_divergence(void **state)
{
    (void)state;
    static const int levels[] = {255, 127};
    for (int shape = 0; shape < SHAPES; shape++) {
        struct samples *s = make_samples((enum shape)shape, 0.9f, 15);
        double counts[QUANT_BINS];
        int extent = 0; /* beyond it bins are empty, and no range is worth a look */
        for (int i = 0; i < QUANT_BINS; i++) {
            counts[i] = s->counts[i];
            extent = counts[i] > 0 ? i + 1 : extent;
        }
        counts[0] = fmin(counts[0], counts[1]);
        for (int k = 0; k < 2; k++) {
            float range = quant_range(QUANT_ENTROPY, &s->histogram, levels[k]);
            int chosen = (int)lrintf(range / s->histogram.bin);
            double found = plain_divergence(counts, chosen, levels[k] + 1), least = INFINITY;
            for (int kept = levels[k] + 1; kept <= extent; kept++)
                least = fmin(least, plain_divergence(counts, kept, levels[k] + 1));
            if (!(fabs(found - least) <= 1e-9))
                fail_msg("shape %d, %d levels: %d bins diverge by %g, %g is possible", shape,
                         levels[k], chosen, found, least);
        }
        free(s);
    }
}

/* All methods: in the histogram's unit, above 0, within what was seen. */
static void ranges_scale_with_their_histogram(void **state)
{
    (void)state;
    for (int m = 0; m < QUANT_METHOD_COUNT; m++) {
        enum quant_method method = (enum quant_method)m;
        for (int shape = 0; shape < SHAPES; shape++) {
            struct samples *s = make_samples((enum shape)shape, 1, 16);
            float range = quant_range(method, &s->histogram, 255);
            assert_true(range > 0 && range <= quant_range(QUANT_MINMAX, &s->histogram, 255));
            s->histogram.bin *= 1024;
            assert_float_equal(quant_range(method, &s->histogram, 255), 1024 * range, 1e-3 * range);
            free(s);
        }
        assert_string_not_equal(quant_method_name(method), "unknown");
    }
}

static void nothing_has_no_range(void **state)
{
    (void)state;
    uint32_t counts[QUANT_BINS] = {0};
    struct quant_histogram histogram = {counts, 0.25f};
    struct quant_merged merged = {0};
    for (int m = 0; m < QUANT_METHOD_COUNT; m++) {
        enum quant_method method = (enum quant_method)m;
        counts[0] = 0;
        assert_float_equal(quant_range(method, &histogram, 255), 0, 0);
        counts[0] = 100000; /* zeros */
        assert_float_equal(quant_range(method, &histogram, 255), 0, 0);
        quant_merge(&merged, &(struct quant_histogram){counts, 0});
        assert_float_equal(quant_range_merged(method, &merged, 255), 0, 0);
        counts[700] = 1; /* one value only */
        float range = quant_range(method, &histogram, 255);
        assert_true(range >= 699 * 0.25f && range <= 701 * 0.25f);
        counts[700] = 0;
    }
}

/* Channels of very different size, merged in any order, are one histogram of all their values. */
static void merging_is_counting_together(void **state)
{
    (void)state;
    static const float scales[] = {0.01f, 4, 0.3f, 50};
    struct quant_merged merged = {0}, again = {0};
    struct samples *all[4];
    for (int i = 0; i < 4; i++)
        all[i] = make_samples((enum shape)i, scales[i], 20 + (uint64_t)i);
    for (int i = 0; i < 4; i++) {
        quant_merge(&merged, &all[i]->histogram);
        quant_merge(&again, &all[3 - i]->histogram);
    }
    double counts[QUANT_BINS] = {0};
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < SAMPLES; k++)
            counts[(int)(all[i]->values[k] / merged.bin)]++;
    assert_memory_equal(&merged, &again, sizeof merged);
    assert_memory_equal(merged.counts, counts, sizeof counts);
    assert_true(quant_range_merged(QUANT_MINMAX, &merged, 255) >= largest_of(all[3]));
    for (int i = 0; i < 4; i++)
        free(all[i]);
}

/* More values than 32 bits count. */
static void merged_counts_do_not_overflow(void **state)
{
    (void)state;
    uint32_t counts[QUANT_BINS];
    struct quant_merged merged = {0};
    for (int i = 0; i < QUANT_BINS; i++)
        counts[i] = UINT32_MAX;
    for (int i = 0; i < 1000; i++)
        quant_merge(&merged, &(struct quant_histogram){counts, 1});
    for (int i = 0; i < QUANT_BINS; i++)
        assert_true(merged.counts[i] == 1000.0 * UINT32_MAX);
    assert_float_equal(quant_range_merged(QUANT_MSE, &merged, 255), QUANT_BINS, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minmax_holds_all),
        cmocka_unit_test(percentile_leaves_out_one_of_ten_thousand),
        cmocka_unit_test(mse_is_as_good_as_the_best),
        cmocka_unit_test(mse_clips),
        cmocka_unit_test(entropy_is_the_least_divergence),
        cmocka_unit_test(ranges_scale_with_their_histogram),
        cmocka_unit_test(nothing_has_no_range),
        cmocka_unit_test(merging_is_counting_together),
        cmocka_unit_test(merged_counts_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
