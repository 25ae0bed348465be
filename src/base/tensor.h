/* Named tensors: what every model reader makes and the network is recognised from. */
#ifndef UNET_BASE_TENSOR_H
#define UNET_BASE_TENSOR_H

#include "base/memory.h"
#include "base/names.h"

/* The set owns names and data: both lie in its arena. Zero-initialise. */
struct tensor_set {
    struct arena arena;
    struct name_index names;
    unet_tensor *items;
    size_t count, capacity;
    /* A checkpoint's "mask_values": count × channels bytes in the arena; count 0: none. */
    uint8_t *mask_values;
    size_t mask_value_count;
    int mask_value_channels;
};

/* Appends a copy of `tensor` with its name copied; the data pointer is taken as it is and must
 * live in the set's arena. MODEL if the name is there already. */
unet_status tensor_set_add(struct tensor_set *set, const unet_tensor *tensor, unet_error *error);

/* NULL if there is none of that name. */
const unet_tensor *tensor_set_find(const struct tensor_set *set, const char *name);

void tensor_set_clear(struct tensor_set *set);

/* The product of the shape; false if it overflows int64 or a side is negative. */
bool tensor_count(const int64_t *shape, int rank, int64_t *count);

/* Values first … first + n − 1 as float32, rounded to nearest; integers (by way of double, as
 * Python's struct does) and bool are converted. */
void tensor_to_float(const unet_tensor *tensor, size_t first, size_t n, float *out);

/* "64×3×3×3"; "scalar" for rank 0. Returns `text`. */
char *tensor_shape_text(const int64_t *shape, int rank, char *text, size_t bytes);

#endif
