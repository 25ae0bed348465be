/* How one call of Winograd's convolution is cut up: chunks of tiles, the strides of V and M, and a
 * thread's scratch. conv3x3_winograd.c tells what they are for. */
#ifndef UNET_KERNELS_WINOGRAD_CUT_H
#define UNET_KERNELS_WINOGRAD_CUT_H

#include "kernels/rows.h"
#include "kernels/share.h"
#include "kernels/tile.h"
#include "kernels/winograd.h"

/* What a size of tile and an instruction tier bring. */
struct winograd_method {
    const struct tile_set *tiles;
    const struct row_ops *ops;
    const struct winograd_ops *winograd;
};

/* Follows from the description and the size alone. */
struct winograd_cut {
    int out, positions; /* of the method */
    int tile_rows, tile_columns;
    bool wide; /* U is larger than a last-level cache */
    int chunk; /* tiles */
    int in_blocks, out_blocks, groups;
    int set_groups;                                          /* groups whose M is held at once */
    size_t v_tile, v_block, v_position, m_block, m_position; /* strides, in words */
};

struct winograd_cut winograd_cut(const struct winograd_method *method,
                                 const struct kernel_desc *desc, const struct kernel_args *args);

/* The same with chunks of so many tiles, all groups of which are held at once. */
struct winograd_cut winograd_cut_phased(const struct winograd_method *method,
                                        const struct kernel_desc *desc,
                                        const struct kernel_args *args, int chunk);

struct winograd_scratch {
    float *v, *m, *columns, *sums;
};

/* Of V and M; of what else one thread needs. */
size_t winograd_product_floats(const struct winograd_cut *cut);
size_t winograd_piece_floats(const struct kernel_desc *desc, const struct winograd_cut *cut);

struct winograd_scratch winograd_lay_out(const struct winograd_cut *cut, float *products,
                                         float *pieces);

/* The widest run's outputs: one block, or all where a head wants every channel of a pixel. */
struct blocked winograd_piece_sums(const struct kernel_desc *desc, const struct winograd_cut *cut);

#endif
