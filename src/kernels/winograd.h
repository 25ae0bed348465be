/* Winograd's minimal filtering F(m×m, 3×3), m = 2, 4, 6: m² outputs of a 3×3 convolution for
 * (m + 2)² products instead of 9·m²: 2.25, 4, 5.06 times fewer. S. Winograd, Arithmetic Complexity
 * of Computations, 1980; for convolutional networks A. Lavin and S. Gray, Fast Algorithms for
 * Convolutional Neural Networks, 2015. Only the method is theirs: the choice of points for m = 4
 * and the factored transforms are this library's. In the code m is `out`.
 *
 * ONE DIMENSION. m outputs of a 3-tap filter need m + 2 inputs. By Toom and Cook, multiplying
 * polynomials of degrees m − 1 and 2 takes their values at m + 2 points a_j, one of them ∞; the
 * filtering is that multiplication transposed:
 *
 *     y = Aᵀ [ (G g) ⊙ (Bᵀ d) ]             N_j = Π (a_j − a_l) over the other finite points l
 *
 *     Aᵀ[i][j] = a_j^i                      ∞: 1 in the last row, else 0
 *     G[j][k]  = a_j^k / N_j                ∞: 1 in the last column, else 0
 *     Bᵀ[j]    = coefficients of Π (x − a_l) over the other finite points l; ∞: over all of them
 *
 * POINTS. m = 2: 0, 1, −1. m = 4: 0, 1, −1, ½, −2; the usual 0, ±1, ±2 lose a bit more. A point and
 * its negative reciprocal keep powers small, every entry of Aᵀ and Bᵀ is exact in a few bits, and
 * Bᵀ's rows share most of their sums:
 *
 *          d0    d1    d2    d3    d4    d5                         m0  m1  m2   m3   m4  m5
 *       |   1  −1.5    −2   1.5     1     0 |   point 0       y0 |   1   1   1    1    1   0 |
 *       |   0    −1   0.5   2.5     1     0 |         1       y1 |   0   1  −1   ½   −2   0 |
 *  Bᵀ = |   0     1  −2.5   0.5     1     0 |        −1   Aᵀ: y2 |   0   1   1   ¼    4   0 |
 *       |   0    −2    −1     2     1     0 |         ½       y3 |   0   1  −1   ⅛   −8   1 |
 *       |   0   0.5    −1  −0.5     1     0 |        −2
 *       |   0     1  −1.5    −2   1.5     1 |         ∞
 *
 * m = 6: 0, ±1, ±2, ±½, where the rows of a point and its negative share even and odd powers:
 *
 *          d0    d1    d2    d3    d4    d5    d6    d7
 *       |  −1     0  5.25     0 −5.25     0     1     0 |   point 0
 *       |   0     1     1 −4.25 −4.25     1     1     0 |         1
 *       |   0    −1     1  4.25 −4.25    −1     1     0 |        −1
 *  Bᵀ = |   0    ½     ¼   −2.5 −1.25     2     1     0 |         2
 *       |   0   −½     ¼    2.5 −1.25    −2     1     0 |        −2
 *       |   0     2     4  −2.5    −5    ½      1     0 |         ½
 *       |   0    −2     4   2.5    −5   −½      1     0 |        −½
 *       |   0    −1     0  5.25     0 −5.25     0     1 |         ∞
 *
 * TWO DIMENSIONS. Nest it: U = G g Gᵀ of each filter when weights are packed, V = Bᵀ d B of each
 * PATCH, M = Σ U ⊙ V over input channels, Y = Aᵀ M A. Neighbouring TILES of m×m outputs have
 * patches that overlap by two pixels. POSITION p = (m + 2)·i + j is an entry (i, j) of U, V, M. At
 * each position the sum over channels is a matrix product of its own.
 *
 * V and M are stored so that the products are tiles of tile.h, with Winograd tiles for pixels:
 *
 *     at(position, block, tile) =
 *         data + position · position_stride + block · block_stride + tile · 16
 *
 * OTHER TYPES. Where tensors are bf16, U and V are rounded to it and lie in the words of tile.h: a
 * tile of V is 8 words. M and the transforms are float32.
 *
 * BYTES. Where tensors are U8, V is exact: with the rows of Bᵀ that have halves doubled, V of bytes
 * is whole numbers of 16 bits (|V| ≤ 24,990 for m = 4, 1,020 for m = 2). U, divided by that
 * scaling, is rounded to steps of scale[position][output channel], as small as 32-bit sums allow:
 * with
 *
 *     Σ |U / scale| · (the largest |V| of the position) < 2³¹
 *
 * no sum over input channels can overflow, whatever the bytes are. A step is bounded by the sum of
 * the weights and not by the largest of them, so it leaves 16 bits for U of 64 channels and 9 for
 * that of 1,024. A word is a pair of 16-bit integers, M is 32-bit integers, and the output
 * transform, in float32 again, begins with M · scale.
 *
 * For m = 6 the rows would have to be four times as large, and V would leave 16 bits. There the
 * first dimension is exact and the second one rounds, with the rows of ±2, whose errors count most,
 * doubled: |V| ≤ 28,690. What that does to an output is less than what rounding the inputs to bytes
 * has done.
 */
#ifndef UNET_KERNELS_WINOGRAD_H
#define UNET_KERNELS_WINOGRAD_H

#include "kernels/kernel.h"

#define WINOGRAD_TAPS 3

/* The largest of out = 2, 4, 6. */
#define WINOGRAD_MOST_OUT   6
#define WINOGRAD_MOST_PATCH (WINOGRAD_MOST_OUT + WINOGRAD_TAPS - 1)

static inline int winograd_patch(int out)
{
    return out + WINOGRAD_TAPS - 1;
}

static inline int winograd_positions(int out)
{
    return winograd_patch(out) * winograd_patch(out);
}

/* An input transform does so many columns of outputs at once: transformed they stay in L1. */
#define WINOGRAD_RUN_COLUMNS 32
#define WINOGRAD_COLUMN_FLOATS                                                                     \
    ((size_t)(WINOGRAD_RUN_COLUMNS + WINOGRAD_TAPS - 1) * WINOGRAD_MOST_PATCH * KERNEL_BLOCK)

/* Tiles beside each other in one tile row. */
struct winograd_run {
    int y, x; /* tile (y, x) is the outputs from row out·y, column out·x on */
    int tiles;
};

/* Where whole tiles go; either may be NULL. Strides of rows, as in struct blocked. */
struct winograd_target {
    void *out, *pooled;
    size_t out_row, pooled_row;
    /* Where M is integers: 16 floats a position; and the bias, which M of floats contains. */
    const float *scales, *bias;
    bool relu;
    bool sums;   /* `out` is of floats, whatever the type of the tensors */
    bool stream; /* `out` past the caches: it is larger than they are */
};

struct winograd_ops {
    enum kernel_type type; /* of the tensors */
    int out;               /* a tile is out × out outputs */
    /* V of one block of a run of tiles, in words, at `to`. `columns`: WINOGRAD_COLUMN_FLOATS. */
    void (*input)(const struct blocked *source, int block, struct winograd_run run, float *columns,
                  float *to, size_t position_stride);
    /* The outputs of one block of `tiles` tiles, `out` rows of out·tiles pixels, and their
     * maxima. */
    void (*output)(const float *from, size_t position_stride, int tiles,
                   const struct winograd_target *to);
};

extern const struct winograd_ops winograd2_ops_c, winograd2_ops_avx2, winograd2_ops_avx512;
extern const struct winograd_ops winograd4_ops_c, winograd4_ops_avx2, winograd4_ops_avx512;
extern const struct winograd_ops winograd6_ops_c, winograd6_ops_avx2, winograd6_ops_avx512;
/* For tensors of bf16: V is rounded to it, M and all arithmetic are float32. */
extern const struct winograd_ops winograd2_ops_avx512bf16, winograd4_ops_avx512bf16;
/* For tensors of U8: V and M are integers. */
extern const struct winograd_ops winograd2_ops_u8_c, winograd2_ops_u8_avx2, winograd2_ops_u8_avx512;
extern const struct winograd_ops winograd4_ops_u8_c, winograd4_ops_u8_avx2, winograd4_ops_u8_avx512;
extern const struct winograd_ops winograd6_ops_u8_c, winograd6_ops_u8_avx2, winograd6_ops_u8_avx512;

/* Channels in a word of U and V. */
static inline int winograd_word_channels(enum kernel_type type)
{
    return type == KERNEL_F32 ? 1 : 2;
}

/* ---------------------------------------------------------------- winograd_pack.c
 *
 *     | as conv_pack.h up to the weights | U of group 0 | U of group 1 | … |
 *
 *     U of a group: for each position, source, block of 16 channels, channel of the block (those
 *     past the source's last one are zero), block of the group: 16 output channels
 *
 *     position 0:  | c0: o0…o15 | c0: o16…o31 | … | c1: o0…o15 | … |   channels · group.count · 16
 *     position 1:  | …
 *
 * and of bf16 the words of conv_pack.h, pairs of channels, in the place of channels. Of U8 words
 * are pairs of 16-bit integers, and before U of group 0 stand the scales: for each block of output
 * channels, position: 16 floats. */

/* Blocks of input channels over all sources. */
int winograd_in_blocks(const struct kernel_desc *desc);

/* Of all scales. */
size_t winograd_scale_floats(const struct kernel_desc *desc, int out);

/* Of bytes: whether so many channels leave U too few bits. */
bool winograd_coarse(const struct kernel_desc *desc, int out);

size_t winograd_packed_bytes(const struct kernel_desc *desc, int out);
void winograd_pack(const struct kernel_desc *desc, const struct kernel_weights *weights, int out,
                   int most_blocks, void *packed);

#endif
