#include "build/ranges.h"

#include "base/memory.h"

static unet_status set_means(const struct calibrated_value *value, struct quant_value_range *range,
                             struct quant_ranges *ranges, unet_error *error)
{
    range->mean = quant_ranges_array(ranges, value->channels);
    if (range->mean == NULL)
        return error_memory(error, (size_t)value->channels * sizeof(float), "means of channels");
    for (int c = 0; c < value->channels; c++)
        range->mean[c] = (float)calibration_mean(value, c);
    return UNET_OK;
}

/* From the middles of bins: what varies within one is nothing beside what varies at all. */
static double mean_square(const struct quant_histogram *histogram)
{
    double sum = 0, total = 0;
    for (int i = 0; i < QUANT_BINS; i++) {
        double middle = i == 0 ? 0 : ((double)i + 0.5) * (double)histogram->bin;
        sum += (double)histogram->counts[i] * middle * middle;
        total += (double)histogram->counts[i];
    }
    return total > 0 ? sum / total : 0;
}

static unet_status set_counted(const struct graph *graph, int index,
                               const struct calibrated_value *value, enum quant_method method,
                               struct quant_ranges *ranges, unet_error *error)
{
    size_t count = (size_t)value->channels;
    struct quant_histogram *histograms = memory_alloc_array(count, sizeof *histograms);
    float *square = quant_ranges_array(ranges, value->channels);
    unet_status status = UNET_OK;
    if (histograms == NULL || square == NULL)
        status = error_memory(error, count * sizeof *histograms, "ranges of channels");
    for (int c = 0; c < value->channels && status == UNET_OK; c++) {
        histograms[c] =
            (struct quant_histogram){calibration_counts(value, c), calibration_bin(value, c)};
        square[c] = (float)mean_square(&histograms[c]);
    }
    if (status == UNET_OK)
        status = quant_ranges_set(ranges, graph, index, method, histograms, error);
    ranges->values[index].square = square;
    memory_free(histograms);
    return status;
}

static unet_status fill(const struct graph *graph, const struct calibration *calibration,
                        enum quant_method method, struct quant_ranges *ranges, unet_error *error)
{
    for (int v = 0; v < calibration->value_count; v++) {
        const struct calibrated_value *value = &calibration->values[v];
        if (value->channels == 0)
            continue;
        if (value->counted)
            TRY(set_counted(graph, v, value, method, ranges, error));
        TRY(set_means(value, &ranges->values[v], ranges, error));
    }
    return UNET_OK;
}

unet_status ranges_of_calibration(const struct graph *graph, const struct calibration *calibration,
                                  enum quant_method method, struct quant_ranges *ranges,
                                  unet_error *error)
{
    struct quant_ranges made;
    TRY(quant_ranges_create(graph, &made, error));
    unet_status status = fill(graph, calibration, method, &made, error);
    if (status == UNET_OK)
        *ranges = made;
    else
        quant_ranges_clear(&made);
    return status;
}
