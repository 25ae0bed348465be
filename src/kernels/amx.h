/* The products of a matrix unit of 16 × 16 sums (AMX): the micro-kernel of conv3x3_amx.c.
 *
 * A PANEL holds input pixels of 64 bytes: 16 words of channels (tile.h has words: 32 bf16, 64 U8),
 * which one instruction multiplies with 16 words × 16 output channels. So a STEP is 16 words of one
 * tap:
 *
 *     sums[pixel][lane] += Σ over the words of panel[pixel · 64 + tap][word] · weights[word][lane]
 *
 *     for 16 pixels from panel[i] on, i < tiles, and `blocks` blocks of 16 lanes
 *
 * Weights lie in the order in which they are read: step, block, word, lane (1 KiB a step and
 * block). */
#ifndef UNET_KERNELS_AMX_H
#define UNET_KERNELS_AMX_H

#include "kernels/rows.h"

#define AMX_PIXELS      16
#define AMX_WORDS       16
#define AMX_PIXEL_BYTES 64
#define AMX_STEP_BYTES  1024

/* Two by two: each input and each weight that is loaded serves twice, and the four results of a
 * step do not wait for each other. */
#define AMX_MOST_TILES  2
#define AMX_MOST_BLOCKS 2

struct amx_product {
    const char *panel[AMX_MOST_TILES];
    const ptrdiff_t *steps; /* where the tap of each lies in the panel, in bytes */
    int step_count;
    const char *weights;
    const float *begin;          /* blocks × 16 that the sums begin with; NULL: they go on */
    float *sums[AMX_MOST_TILES]; /* 16 a pixel; of U8 they are int32 until scale() */
    size_t sum_stride;           /* from block to block */
};

struct amx_ops {
    enum kernel_type type;
    /* Around all products of a task: shapes the tile registers, and frees them. */
    void (*begin)(void);
    void (*end)(void);
    /* multiply[tiles − 1][blocks − 1] */
    void (*multiply[AMX_MOST_TILES][AMX_MOST_BLOCKS])(const struct amx_product *product);
    /* `pixels` pixels of a panel out of `count` ≤ 16 / words blocks of as many tensor rows; what
     * they do not fill is zeroed. */
    void (*gather)(char *panel, const void *const *blocks, int count, int pixels);
    /* Makes floats of complete sums of a block, where they are not: sum · step + bias, 16 of
     * each. */
    void (*scale)(float *sums, const float *step, const float *bias, int pixels);
};

extern const struct amx_ops amx_ops_bf16, amx_ops_u8;

/* What sets the kernels of conv3x3_amx.c apart: struct kernel.method. */
struct amx_method {
    const struct amx_ops *amx;
    const struct row_ops *ops;
};

#endif
