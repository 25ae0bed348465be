/* A strided view → contiguous values. */
#ifndef UNET_MODEL_TENSOR_COPY_H
#define UNET_MODEL_TENSOR_COPY_H

#include "base/error.h"

/* Copies `count` values of `size` bytes (1, 2, 4 or 8), the product of `shape`, row-major.
 * Strides count values. The caller has checked that the view lies inside its storage. */
void tensor_copy_strided(const uint8_t *from, int rank, const int64_t *shape, const int64_t *stride,
                         int64_t count, size_t size, uint8_t *to);

#endif
