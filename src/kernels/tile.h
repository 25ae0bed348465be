/* The micro-kernel that all direct convolutions are made of: a small matrix product that keeps a
 * tile of its result in registers.
 *
 * A TILE is `pixels` neighbouring pixels of one row × `blocks` blocks of 16 output channels. It
 * sums over TAPS: places in the input, each `channels` floats long, relative to the first pixel.
 *
 *                        weights (one stream, read once a tile, in this order)
 *                        for each tap, for each channel c:
 *                        | block 0: 16 floats | block 1 | … |
 *
 *     in + tap + c  ─►   sum[pixel][block][lane] += in[tap + 16·pixel + c] · weight[block][lane]
 *       (one float,
 *        broadcast)      for 3×3 the taps are the nine neighbours in one block of 16 input
 *                        channels; for 1×1 products they are blocks of input channels.
 *
 * Other types go the same way in WORDS of 32 bits: where this file says channel or float, bf16 has
 * the pair of channels 2c and 2c + 1, the products of a pair are added to one float32 sum, and a
 * pixel is 8 words, not 16. Sums and bias are floats.
 *
 * U8 has four channels to a word, and weights of 8 bits with a sign. Sums are int32, in the same
 * places; they start from 0 where there is a `bias`, and the last tile of a place makes floats of
 * them: it has a `scale`.
 *
 * The sum starts from `bias`, or goes on from what an earlier tile left in `sum`, and is left in
 * `sum` again: pixel p of block b lies at sum + b · sum_stride + 16·p. Each output is one chain of
 * multiply-adds in the order taps, channels: its bits do not depend on the tile's shape.
 *
 * Reads exactly the taps' words of its pixels; weights, sum and bias are 64-byte aligned. */
#ifndef UNET_KERNELS_TILE_H
#define UNET_KERNELS_TILE_H

#include "kernels/kernel.h"

/* float = sum · step + bias, blocks × 16 of each. */
struct tile_scale {
    const float *step, *bias;
};

struct tile {
    const float *in; /* first pixel; words, as taps, channels and weights */
    const ptrdiff_t *taps;
    int tap_count, channels;
    const float *weights;
    const float *ahead; /* NULL, or what to fetch into the caches meanwhile: 16 floats a channel */
    const float *bias;  /* blocks × 16 floats; NULL: go on from `sum` */
    const struct tile_scale *scale; /* of U8, where sums are complete; else NULL */
    float *sum;
    size_t sum_stride;
};

#define TILE_MAX_BLOCKS 4

typedef void tile_function(const struct tile *tile);

/* functions[b][p − 1] computes p pixels of b blocks. */
struct tile_set {
    enum kernel_type type; /* of the input and the weights */
    int max_blocks;
    int max_pixels[TILE_MAX_BLOCKS + 1];
    tile_function *const *functions[TILE_MAX_BLOCKS + 1];
};

extern const struct tile_set tile_set_c, tile_set_avx2, tile_set_avx512;
extern const struct tile_set tile_set_bf16_c, tile_set_avx512bf16;
extern const struct tile_set tile_set_u8_c, tile_set_u8_avx2, tile_set_avxvnni, tile_set_avx512vnni;
/* Of words of two 16-bit integers, with 32-bit integers for sums and bias: Winograd's, of U8. */
extern const struct tile_set tile_set_i16_c, tile_set_i16_avx2, tile_set_i16_avx512vnni;

/* Elements of a tensor in words. */
static inline ptrdiff_t tile_words(const struct tile_set *set, ptrdiff_t elements)
{
    return elements / kernel_word_channels(set->type);
}

/* A row of `pixels`, cut into tiles as even as can be: a last tile of one or two pixels would wait
 * for its few sums. `tile` holds the first tile's pointers and is changed. */
static inline void tile_row(const struct tile_set *set, struct tile *tile, int blocks, int pixels)
{
    int most = set->max_pixels[blocks];
    int count = (pixels + most - 1) / most;
    int least = pixels / count, longer = pixels % count;
    for (int i = 0; i < count; i++) {
        int size = least + (i < longer);
        set->functions[blocks][size - 1](tile);
        tile->in += tile_words(set, (ptrdiff_t)size * KERNEL_BLOCK);
        tile->sum += (size_t)size * KERNEL_BLOCK;
    }
}

#endif
