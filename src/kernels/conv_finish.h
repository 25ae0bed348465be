/* What happens to a convolution's sums once they are complete: ReLU, the store, the 2×2 max-pool
 * and the 1×1 head, all while the sums are still in cache. Shared by the methods of convolution. */
#ifndef UNET_KERNELS_CONV_FINISH_H
#define UNET_KERNELS_CONV_FINISH_H

#include "kernels/conv_pack.h"
#include "kernels/rows.h"

/* Complete sums (bias included, ReLU not) of a rectangle of the output. */
struct conv_piece {
    struct blocked sums; /* in scratch, no border; channels are those of [first_block, …) */
    int y, x;            /* of its first pixel; even where the output is pooled */
    int first_block;
};

/* Rows [first, last) of the output, and of the pooled one: a task's part. */
struct conv_rows {
    int first, last, pooled_first, pooled_last;
};

/* Part `index` of `count` of an output of `height` rows. With a pool, parts begin on even rows, and
 * an odd last row goes with the pair above it. */
struct conv_rows conv_rows(const struct kernel_desc *desc, int height, int index, int count);

/* How many parts there may be at most. */
int conv_rows_most(const struct kernel_desc *desc, int height);

/* Writes `out` and `pooled`, borders excluded. */
void conv_finish_blocks(const struct row_ops *ops, const struct kernel_desc *desc,
                        const struct kernel_args *args, const struct conv_piece *piece);

/* Writes planar_out or mask_out; the piece holds all blocks. `height` and `width` are the whole
 * output's. */
void conv_finish_head(const struct row_ops *ops, const struct kernel_desc *desc,
                      const struct kernel_args *args, const struct conv_piece *piece, int height,
                      int width);

/* Zeroes the borders of these rows and blocks in `out` and `pooled`. */
void conv_finish_borders(const struct kernel_desc *desc, const struct kernel_args *args,
                         struct conv_rows rows, struct conv_group blocks);

#endif
