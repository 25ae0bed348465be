/* The pieces that Winograd's convolution is put together from: the input transform of a block of a
 * run of tiles, the products of a group of output channels at a position, the output transform of a
 * block. Each writes its own part of V, M or the outputs. conv3x3_winograd.c puts them into the
 * order in which one thread does best, winograd_phases.c into that in which many do. */
#ifndef UNET_KERNELS_WINOGRAD_WORK_H
#define UNET_KERNELS_WINOGRAD_WORK_H

#include "kernels/conv_pack.h"
#include "kernels/upsampled.h"
#include "kernels/winograd_cut.h"

/* What a task works on. */
struct winograd_work {
    const struct winograd_method *method;
    const struct kernel_desc *desc;
    const struct kernel_args *args;
    struct winograd_cut cut;
    struct conv_packed packed;
    struct winograd_scratch scratch;
    struct upsampled upsampled;
    int first_group, last_group;
    int first_block;       /* of first_group */
    bool stream;           /* the output */
    bool fetch;            /* the input, a chunk ahead */
    int first_tile, tiles; /* the chunk, in the order of tile rows */
    int next_tiles;        /* of the chunk behind it */
};

/* `products`: winograd_product_floats; `pieces`: winograd_piece_bytes; of all groups and no
 * tile. */
struct winograd_work winograd_begin(const struct winograd_method *method,
                                    const struct kernel_desc *desc, const struct kernel_args *args,
                                    const struct winograd_cut *cut, float *products, float *pieces);

/* Scratch of one thread beside V and M; a multiple of 64. */
size_t winograd_piece_bytes(const struct kernel_desc *desc, const struct kernel_args *args,
                            const struct winograd_cut *cut);

/* The part of the chunk from its tile `offset` on that lies in one tile row. */
struct winograd_run winograd_run_at(const struct winograd_work *work, int offset);

/* V of block `block` of all sources, at the run that begins with the chunk's tile `offset`. */
void winograd_transform(const struct winograd_work *work, int block, struct winograd_run run,
                        int offset);

/* U of a group at a position. */
const float *winograd_weights(const struct winograd_work *work, struct conv_group group,
                              int position);

/* M of a group at a position, of the whole chunk: all input channels. `next`: the weights that are
 * wanted after these. */
void winograd_multiply(const struct winograd_work *work, struct conv_group group, int position,
                       float *m, const float *next);

/* The outputs of one block of a run: `m` is the block's M at the run. */
void winograd_finish_block(const struct winograd_work *work, struct winograd_run run, int block,
                           const float *m);
/* What the head makes of a run, all blocks of which are finished. */
void winograd_finish_head(const struct winograd_work *work, struct winograd_run run);
/* The borders of tile rows [first_row, last_row). */
void winograd_finish_borders(const struct winograd_work *work, int first_row, int last_row,
                             struct conv_group blocks);

#endif
