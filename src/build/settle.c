#include "build/settle.h"

#include <math.h>

#define STILL 0.01f
#define SHARE 0.9999

/* ---------------------------------------------------------------- one tensor */

/* Histograms of all channels as one, in bins as wide as the widest. */
struct merged {
    uint64_t counts[HISTOGRAM_BINS], total;
    float per_bin, max;
};

static void find_widest(const struct calibrated_value *value, struct merged *merged)
{
    for (int c = 0; c < value->channels; c++) {
        float bin = calibration_bin(value, c);
        if (bin > 0 && (merged->per_bin == 0 || 1 / bin < merged->per_bin))
            merged->per_bin = 1 / bin;
        merged->max = fmaxf(merged->max, calibration_max(value, c));
    }
}

static void add_channel(const struct calibrated_value *value, int channel, struct merged *merged)
{
    const uint32_t *counts = calibration_counts(value, channel);
    float bin = calibration_bin(value, channel);
    int shift = bin > 0 ? -ilogbf(bin) - ilogbf(merged->per_bin) : 0;
    for (int i = 0; i < HISTOGRAM_BINS; i++) {
        merged->counts[shift < 11 ? i >> shift : 0] += counts[i];
        merged->total += counts[i];
    }
}

/* Linear within the bin in which it falls. */
static float percentile_of(const struct merged *merged)
{
    double left = SHARE * (double)merged->total;
    for (int i = 0; i < HISTOGRAM_BINS; i++) {
        double count = (double)merged->counts[i];
        if (count > 0 && left <= count)
            return ((float)i + (float)(left / count)) / merged->per_bin;
        left -= count;
    }
    return merged->max;
}

struct reach reach_of(const struct calibrated_value *value)
{
    struct merged merged = {.total = 0};
    find_widest(value, &merged);
    if (merged.per_bin == 0)
        return (struct reach){0, 0};
    for (int c = 0; c < value->channels; c++)
        add_channel(value, c, &merged);
    return (struct reach){merged.max, percentile_of(&merged)};
}

/* ---------------------------------------------------------------- all tensors */

static bool is_still(float before, float now)
{
    return fabsf(now - before) <= STILL * now;
}

bool settle_look(const struct calibration *calibration, unet_calibration method, struct reach *last)
{
    bool still = true, by_max = method == UNET_CALIBRATION_MINMAX;
    for (int v = 0; v < calibration->value_count; v++) {
        if (!calibration->values[v].counted)
            continue;
        struct reach now = reach_of(&calibration->values[v]);
        still = still && (by_max ? is_still(last[v].max, now.max)
                                 : is_still(last[v].percentile, now.percentile));
        last[v] = now;
    }
    return still;
}
