/* Leaves that work along one row, a set for each instruction tier. All but tiles is memory-bound:
 * what counts is that a row is touched once, in whole registers.
 *
 * Pixels are blocked: 16 floats, 64-byte aligned. Planes are the caller's: any float alignment.
 * ReLU keeps what is not less than zero: a NaN stays a NaN. */
#ifndef UNET_KERNELS_ROWS_H
#define UNET_KERNELS_ROWS_H

#include "kernels/kernel.h"

/* A column of an up-sampled row: its value is near·in[left] + far·in[left + step]. */
struct upsample_column {
    int left, step; /* in floats; step is 0 at the last input column */
    float near, far;
};

/* The rows that an up-sampled row lies between, and their shares. */
struct upsample_rows {
    const float *top, *bottom;
    float near, far;
};

/* A 1×1 convolution to planes. */
struct head_row {
    const float *in; /* block 0 of the row's first pixel */
    size_t block_stride;
    int channels, heads;
    const float *weights; /* heads × channels, rounded up to blocks */
    const float *bias;    /* heads */
    bool relu;            /* of the input, first */
    float *out;           /* plane 0 */
    size_t plane_stride;
};

struct row_ops {
    /* to = from, or max(from, 0). */
    void (*copy)(float *to, const float *from, size_t count, bool relu);
    /* `pixels` maxima of 2×2 pixels. Where one of the four is NaN, one of the four comes out. */
    void (*max_pool)(float *to, const float *top, const float *bottom, int pixels, bool relu);
    void (*upsample)(float *to, const struct upsample_rows *rows,
                     const struct upsample_column *columns, int pixels);
    /* to[2p] = even[p], to[2p + 1] = odd[p]. */
    void (*interleave)(float *to, const float *even, const float *odd, int pixels);
    /* One block from 1…16 planes and back; the block's other lanes get zeros. */
    void (*from_planes)(float *to, const float *planes, size_t plane_stride, int channels,
                        int pixels);
    void (*to_planes)(float *planes, size_t plane_stride, const float *from, int channels,
                      int pixels);
    void (*head)(const struct head_row *row, int pixels);
};

extern const struct row_ops row_ops_c, row_ops_avx2, row_ops_avx512;

#endif
