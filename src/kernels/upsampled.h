/* Bilinear ×2 with aligned corners: where its pixels lie, and WINDOWS of an up-sampled tensor that
 * is stored nowhere. A convolution that reads one makes what it is about to read in its thread's
 * scratch. Whole or by windows, the bits are the same. */
#ifndef UNET_KERNELS_UPSAMPLED_H
#define UNET_KERNELS_UPSAMPLED_H

#include "kernels/rows.h"
#include "kernels/strips.h"

/* One a column of the result: 2 · in_width. */
void upsampled_columns(struct upsample_column *columns, int in_width);

/* Row y of the result, columns [first, last) of a block, to `to`. */
void upsampled_row(const struct typed_row_ops *ops, const struct blocked *in,
                   const struct upsample_column *columns, int y, int block, struct strip x,
                   void *to);

/* ---------------------------------------------------------------- windows */

/* Pixels, and blocks, [first, last) of a source; a border may be among the pixels. */
struct window {
    struct strip y, x, blocks;
};

/* The up-sampled source of a convolution. */
struct upsampled {
    const struct typed_row_ops *ops;
    const struct blocked *in;
    struct blocked whole; /* as it would be stored; no data */
    struct placed result; /* in it */
    struct upsample_column *columns;
    void *memory;
};

/* Scratch for windows of so many pixels and blocks, a multiple of 64; 0 where no source is
 * up-sampled. */
size_t upsampled_bytes(const struct kernel_desc *desc, const struct kernel_args *args, int rows,
                       int columns, int blocks);

/* `memory`: as much as upsampled_bytes said, 64-byte aligned. Nothing to do, and nothing to be
 * read, where no source is up-sampled. */
struct upsampled upsampled_begin(const struct row_ops *ops, const struct kernel_desc *desc,
                                 const struct kernel_args *args, void *memory);

/* Makes a window, in the place of the one before. What comes back is addressed like the whole
 * tensor, by blocked_at, with strides of its own; only the window is there. */
struct blocked upsampled_window(const struct upsampled *source, struct window window);

#endif
