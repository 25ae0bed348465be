#include "image/value_map.h"

#include "base/memory.h"
#include "image/pixels.h"

#include <math.h>

static unet_status allocate(struct value_map *map, unet_error *error)
{
    map->counts = memory_calloc(map->entries, sizeof *map->counts);
    map->values = memory_alloc_array(map->entries, sizeof *map->values);
    map->table = memory_alloc_array(map->entries, sizeof *map->table);
    if (map->counts != NULL && map->values != NULL && map->table != NULL)
        return UNET_OK;
    return error_memory(error, map->entries * sizeof *map->values, "preparing an image");
}

static void count_values(struct value_map *map, const unet_image *image)
{
    size_t count = image_pixel_count(image) * (size_t)image->channels;
    const uint8_t *bytes = image->pixels;
    const uint16_t *words = image->pixels;
    for (size_t i = 0; i < count; i++)
        map->counts[image->bits == 8 ? bytes[i] : words[i]]++;
    map->total = count;
}

/* The value that is at `rank` when all are sorted. */
static double ranked_value(const struct value_map *map, uint64_t rank)
{
    uint64_t below = 0;
    size_t value = 0;
    while (value + 1 < map->entries && below + map->counts[value] <= rank)
        below += map->counts[value++];
    return (double)value;
}

/* Linear between the two nearest ranks, which is numpy.percentile's default. */
static double percentile(const struct value_map *map, double percent)
{
    double position = percent / 100 * (double)(map->total - 1);
    double rank = floor(position);
    double low = ranked_value(map, (uint64_t)rank);
    double high = ranked_value(map, (uint64_t)ceil(position));
    return low + (high - low) * (position - rank);
}

static unet_status check_range(const struct pixel_range *range, unet_error *error)
{
    if (!isfinite(range->low) || !isfinite(range->high) || range->low > range->high)
        return error_set(error, UNET_ERROR_USAGE,
                         "range %g to %g: give two numbers, the lower one first", range->low,
                         range->high);
    if (range->percentile && (range->low < 0 || range->high > 100))
        return error_set(error, UNET_ERROR_USAGE,
                         "range of the percentiles %g to %g: they go from 0 to 100", range->low,
                         range->high);
    return UNET_OK;
}

static unet_status map_range(struct value_map *map, const struct pixel_range *range,
                             unet_error *error)
{
    TRY(check_range(range, error));
    double low = range->low, high = range->high;
    if (range->percentile) {
        low = percentile(map, range->low);
        high = percentile(map, range->high);
    }
    for (size_t v = 0; v < map->entries; v++) {
        double value = (double)v;
        map->values[v] = value <= low ? 0 : value >= high ? 1 : (value - low) / (high - low);
    }
    return UNET_OK;
}

/* Whether any byte is neither 0 nor 1: in most pictures among the first. */
static bool any_above_one(const uint8_t *bytes, size_t count)
{
    enum { AT_ONCE = 4096 };
    for (size_t at = 0; at < count; at += AT_ONCE) {
        size_t end = count - at < AT_ONCE ? count : at + AT_ONCE;
        unsigned found = 0;
        for (size_t i = at; i < end; i++)
            found |= bytes[i];
        if (found > 1)
            return true;
    }
    return false;
}

/* 8-bit images of zeros and ones alone are masks that somebody feeds: Pytorch-UNet's predict.py
 * takes them as they are. */
static void map_unit(struct value_map *map, const unet_image *image, unet_normalize normalize)
{
    bool as_is = normalize == UNET_NORMALIZE_255 && image->bits == 8 &&
                 !any_above_one(image->pixels, image_bytes(image));
    double top = as_is ? 1 : (double)(map->entries - 1);
    for (size_t v = 0; v < map->entries; v++)
        map->values[v] = (double)v / top;
}

unet_status value_map_make(const unet_image *image, const struct pixel_range *range,
                           unet_normalize normalize, struct value_map *map, unet_error *error)
{
    *map = (struct value_map){.entries = image->bits == 8 ? 256 : 65536};
    unet_status status = allocate(map, error);
    if (status == UNET_OK) {
        bool ranged = range != NULL && range->set;
        if (normalize == UNET_NORMALIZE_ZSCORE || (ranged && range->percentile))
            count_values(map, image);
        if (ranged)
            status = map_range(map, range, error);
        else
            map_unit(map, image, normalize);
    }
    if (status != UNET_OK)
        value_map_clear(map);
    return status;
}

/* Mean and deviation of the population; a flat image has deviation 0 exactly. */
static void measure(const struct value_map *map, double *mean, double *deviation)
{
    double sum = 0, squares = 0, least = INFINITY, most = -INFINITY;
    for (size_t v = 0; v < map->entries; v++) {
        if (map->counts[v] == 0)
            continue;
        sum += map->counts[v] * map->values[v];
        least = fmin(least, map->values[v]);
        most = fmax(most, map->values[v]);
    }
    *mean = sum / (double)map->total;
    for (size_t v = 0; v < map->entries; v++) {
        double distance = map->values[v] - *mean;
        squares += map->counts[v] * distance * distance;
    }
    *deviation = least == most ? 0 : sqrt(squares / (double)map->total);
}

unet_status value_map_channel(struct value_map *map, const unet_preprocess *preprocess, int channel,
                              unet_error *error)
{
    double mean = 0, deviation = 1;
    if (preprocess->normalize == UNET_NORMALIZE_ZSCORE) {
        measure(map, &mean, &deviation);
    } else if (preprocess->normalize == UNET_NORMALIZE_MEAN_STD) {
        mean = preprocess->mean[channel];
        deviation = preprocess->std[channel];
        if (!(deviation > 0) || !isfinite(deviation) || !isfinite(mean))
            return error_set(error, UNET_ERROR_USAGE,
                             "normalisation of channel %d by mean %g and std %g: give numbers, "
                             "std above 0",
                             channel, mean, deviation);
    }
    for (size_t v = 0; v < map->entries; v++)
        map->table[v] = deviation == 0 ? 0.0f : (float)((map->values[v] - mean) / deviation);
    return UNET_OK;
}

void value_map_clear(struct value_map *map)
{
    memory_free(map->counts);
    memory_free(map->values);
    memory_free(map->table);
    *map = (struct value_map){0};
}
