#include "quant/ranges.h"

#include <math.h>

#include "quant/ties.h"

#define LEAST_PART (1.0 / 256)

unet_status quant_ranges_create(const struct graph *graph, struct quant_ranges *ranges,
                                unet_error *error)
{
    size_t count = (size_t)graph->value_count;
    *ranges = (struct quant_ranges){.value_count = graph->value_count, .share = 1};
    ranges->values = arena_alloc_array(&ranges->arena, count, sizeof *ranges->values);
    if (ranges->values == NULL)
        return error_memory(error, count * sizeof *ranges->values, "ranges of values");
    return UNET_OK;
}

float *quant_ranges_array(struct quant_ranges *ranges, int channels)
{
    return arena_alloc_array(&ranges->arena, (size_t)channels, sizeof(float));
}

unet_status quant_ranges_set(struct quant_ranges *ranges, const struct graph *graph, int value,
                             enum quant_method method, const struct quant_histogram *histograms,
                             unet_error *error)
{
    int channels = graph->values[value].channels;
    struct quant_value_range *range = &ranges->values[value];
    struct quant_merged merged = {0};
    bool *is_signed = memory_alloc_array((size_t)graph->value_count, sizeof *is_signed);
    range->channels = quant_ranges_array(ranges, channels);
    if (is_signed == NULL || range->channels == NULL) {
        memory_free(is_signed);
        return error_memory(error, (size_t)channels * sizeof(float), "ranges of channels");
    }
    quant_find_signed(graph, is_signed);
    int levels = is_signed[value] ? QUANT_SIGNED_LEVELS : QUANT_LEVELS;
    memory_free(is_signed);
    enum quant_method own = method == QUANT_ENTROPY ? QUANT_MSE : method;
    for (int c = 0; c < channels; c++) {
        range->channels[c] = quant_range(own, &histograms[c], levels);
        quant_merge(&merged, &histograms[c]);
    }
    float tensor = quant_range_merged(method, &merged, levels);
    range->tensor = tensor > 0 ? tensor : 1;
    return UNET_OK;
}

void quant_ranges_clear(struct quant_ranges *ranges)
{
    if (ranges == NULL)
        return;
    arena_clear(&ranges->arena);
    *ranges = (struct quant_ranges){0};
}

float quant_channel_range(const struct quant_ranges *ranges, int value, int channel)
{
    const struct quant_value_range *range = &ranges->values[value];
    double tensor = (double)range->tensor, least = tensor * LEAST_PART, shared = tensor;
    if (range->channels != NULL) {
        double own = (double)range->channels[channel];
        own = own > least ? own : least;
        shared = pow(tensor, 1 - (double)ranges->share) * pow(own, (double)ranges->share);
    }
    return (float)(shared > least ? shared : least);
}
