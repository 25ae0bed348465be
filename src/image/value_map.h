/* How pixel values become the network's numbers. All that a range or a normalisation needs to know
 * of an image is how often each value occurs, and the result is a table with an entry a value. */
#ifndef UNET_IMAGE_VALUE_MAP_H
#define UNET_IMAGE_VALUE_MAP_H

#include "image/image.h"

struct value_map {
    size_t entries;   /* 256 or 65536 */
    uint32_t *counts; /* of each value in the image, all channels, where one needs to know */
    uint64_t total;   /* of the counts */
    double *values;   /* after the range or the division by 255 or 65535, before mean and std */
    float *table;     /* the network's number for each value */
};

/* Maps the image's values through `range`, and counts them for a percentile or a z-score; USAGE if
 * the range is upside down or no number. */
unet_status value_map_make(const unet_image *image, const struct pixel_range *range,
                           unet_normalize normalize, struct value_map *map, unet_error *error);
/* Fills the table for one channel; USAGE if its std is not positive. */
unet_status value_map_channel(struct value_map *map, const unet_preprocess *preprocess, int channel,
                              unet_error *error);
void value_map_clear(struct value_map *map);

#endif
