#include "quant/ranges.h"

#include <math.h>

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
