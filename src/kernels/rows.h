/* Leaves that work along one row, a set for each instruction tier. All but tiles is memory-bound:
 * what counts is that a row is touched once, in whole registers.
 *
 * Pixels are blocked: 16 elements, aligned to their size. SUMS are pixels of floats, whatever the
 * type of the tensors; arithmetic is in float32, and what is stored as another type is rounded
 * once, to the nearest even. Planes are the caller's: any float alignment. ReLU keeps what is not
 * less than zero: a NaN stays a NaN. */
#ifndef UNET_KERNELS_ROWS_H
#define UNET_KERNELS_ROWS_H

#include "kernels/kernel.h"

/* A column of an up-sampled row: its value is near·in[left] + far·in[left + step]. */
struct upsample_column {
    int left, step; /* in elements; step is 0 at the last input column */
    float near, far;
};

/* The rows that an up-sampled row lies between, and their shares. */
struct upsample_rows {
    const void *top, *bottom;
    float near, far;
};

/* A row of the caller's pixels, as in struct kernel_pixels. */
struct pixel_row {
    const uint8_t *bytes;
    int step, channels;
    const float *values;
};

/* Blocks of a row to the classes of a mask, as in struct kernel_mask. */
struct mask_row {
    const void *in;      /* block 0 of the row's first pixel */
    size_t block_stride; /* in elements */
    int classes;
    struct kernel_mask to; /* the row's first byte */
};

/* A 1×1 convolution of sums to planes, or to the classes of a mask. */
struct head_row {
    const float *in; /* block 0 of the row's first pixel */
    size_t block_stride;
    int channels, heads;
    const float *weights; /* heads × channels, rounded up to blocks */
    const float *bias;    /* heads */
    bool relu;            /* of the input, first */
    float *out;           /* plane 0 */
    size_t plane_stride;
    struct kernel_mask mask; /* the row's first byte; if there is none, planes are written */
};

/* What reads or writes tensors of one type. */
struct typed_row_ops {
    /* to = sums, or max(sums, 0). */
    void (*copy)(void *to, const float *sums, size_t count, bool relu);
    /* The same past the caches, where the tier can store this type so; for whole pixels. */
    void (*copy_stream)(void *to, const float *sums, size_t count, bool relu);
    /* `pixels` maxima of 2×2 pixels. Where one of the four is NaN, one of the four comes out. */
    void (*max_pool_sums)(void *to, const float *top, const float *bottom, int pixels, bool relu);
    void (*max_pool)(void *to, const void *top, const void *bottom, int pixels);
    void (*upsample)(void *to, const struct upsample_rows *rows,
                     const struct upsample_column *columns, int pixels);
    /* to[2p] = even[p], to[2p + 1] = odd[p], of sums. */
    void (*interleave)(void *to, const float *even, const float *odd, int pixels);
    /* One block from 1…16 planes and back; the block's other lanes get zeros. */
    void (*from_planes)(void *to, const float *planes, size_t plane_stride, int channels,
                        int pixels);
    void (*to_planes)(float *planes, size_t plane_stride, const void *from, int channels,
                      int pixels);
    /* One block from 8-bit pixels; its other lanes get zeros. */
    void (*from_pixels)(void *to, const struct pixel_row *row, int pixels);
    void (*to_mask)(const struct mask_row *row, int pixels);
};

struct row_ops {
    struct typed_row_ops of[KERNEL_TYPE_COUNT];
    void (*head)(const struct head_row *row, int pixels);
};

/* NULL, or why a kernel made of rows does not run this: they keep the type. */
static inline const char *rows_refuse_types(const struct kernel_desc *desc)
{
    return desc->in_type != desc->out_type ? "inputs and outputs of one type only" : NULL;
}

extern const struct row_ops row_ops_c, row_ops_avx2, row_ops_avx512;
/* With AVX512_BF16's own conversion, which takes denormals for zero. */
extern const struct row_ops row_ops_avx512bf16;

#endif
