/* Winograd's minimal filtering F(4×4, 3×3): sixteen outputs of a 3×3 convolution for 36 products
 * instead of 144. S. Winograd, Arithmetic Complexity of Computations, 1980; for convolutional
 * networks A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks, 2015. Only the
 * method is theirs: the points below and the factored transforms are this library's.
 *
 * ONE DIMENSION. Four outputs of a 3-tap filter need six inputs. By Toom and Cook, multiplying
 * polynomials of degrees 3 and 2 takes their values at six points a_j, one of them ∞; the filtering
 * is that multiplication transposed:
 *
 *     y = Aᵀ [ (G g) ⊙ (Bᵀ d) ]             N_j = Π (a_j − a_l) over the other finite points l
 *
 *     Aᵀ[i][j] = a_j^i                      ∞: 1 in the last row, else 0
 *     G[j][k]  = a_j^k / N_j                ∞: 1 in the last column, else 0
 *     Bᵀ[j]    = coefficients of Π (x − a_l) over the other finite points l; ∞: over all of them
 *
 * POINTS. 0, 1, −1, ½, −2. The usual 0, ±1, ±2 lose a bit more. A point and its negative reciprocal
 * keep powers small, every entry of Aᵀ and Bᵀ is exact in a few bits, and Bᵀ's rows share most of
 * their sums:
 *
 *          d0    d1    d2    d3    d4    d5                         m0  m1  m2   m3   m4  m5
 *       |   1  −1.5    −2   1.5     1     0 |   point 0       y0 |   1   1   1    1    1   0 |
 *       |   0    −1   0.5   2.5     1     0 |         1       y1 |   0   1  −1   ½   −2   0 |
 *  Bᵀ = |   0     1  −2.5   0.5     1     0 |        −1   Aᵀ: y2 |   0   1   1   ¼    4   0 |
 *       |   0    −2    −1     2     1     0 |         ½       y3 |   0   1  −1   ⅛   −8   1 |
 *       |   0   0.5    −1  −0.5     1     0 |        −2
 *       |   0     1  −1.5    −2   1.5     1 |         ∞
 *
 * TWO DIMENSIONS. Nest it: U = G g Gᵀ of each filter when weights are packed, V = Bᵀ d B of each
 * 6×6 patch, M = Σ U ⊙ V over input channels, Y = Aᵀ M A. Neighbouring TILES of 4×4 outputs have
 * patches that overlap by two pixels. POSITION p = 6·i + j is an entry (i, j) of U, V, M. At each
 * position the sum over channels is a matrix product of its own.
 *
 * V and M are stored so that the products are tiles of tile.h, with Winograd tiles for pixels:
 *
 *     at(position, block, tile) =
 *         data + position · position_stride + block · block_stride + tile · 16 */
#ifndef UNET_KERNELS_WINOGRAD_H
#define UNET_KERNELS_WINOGRAD_H

#include "kernels/kernel.h"

#define WINOGRAD_OUT       4
#define WINOGRAD_PATCH     6
#define WINOGRAD_POSITIONS (WINOGRAD_PATCH * WINOGRAD_PATCH)

/* Tiles that an input transform does at once: their columns stay in L1. */
#define WINOGRAD_RUN           8
#define WINOGRAD_COLUMNS       (WINOGRAD_RUN * WINOGRAD_OUT + 2)
#define WINOGRAD_COLUMN_FLOATS ((size_t)WINOGRAD_COLUMNS * WINOGRAD_PATCH * KERNEL_BLOCK)

/* Tiles beside each other in one tile row. */
struct winograd_run {
    int y, x; /* tile (y, x) is the outputs from row 4·y, column 4·x on */
    int tiles;
};

/* Where whole tiles go; either may be NULL. Strides of rows, as in struct blocked. */
struct winograd_target {
    float *out, *pooled;
    size_t out_row, pooled_row;
    bool relu;
    bool stream; /* `out` past the caches: it is larger than they are */
};

struct winograd_ops {
    /* V of one block of a run of tiles, at `to`. `columns` holds WINOGRAD_COLUMN_FLOATS. */
    void (*input)(const struct blocked *source, int block, struct winograd_run run, float *columns,
                  float *to, size_t position_stride);
    /* The outputs of one block of `tiles` tiles, four rows of 4·tiles pixels, and their maxima. */
    void (*output)(const float *from, size_t position_stride, int tiles,
                   const struct winograd_target *to);
};

extern const struct winograd_ops winograd_ops_c, winograd_ops_avx2, winograd_ops_avx512;

/* ---------------------------------------------------------------- winograd_pack.c
 *
 *     | as conv_pack.h up to the weights | U of group 0 | U of group 1 | … |
 *
 *     U of a group: for each position, source, block of 16 channels, channel of the block (those
 *     past the source's last one are zero), block of the group: 16 output channels
 *
 *     position 0:  | c0: o0…o15 | c0: o16…o31 | … | c1: o0…o15 | … |   channels · group.count · 16
 *     position 1:  | … */

/* Blocks of input channels over all sources. */
int winograd_in_blocks(const struct kernel_desc *desc);

size_t winograd_packed_bytes(const struct kernel_desc *desc);
void winograd_pack(const struct kernel_desc *desc, const struct kernel_weights *weights,
                   int most_blocks, void *packed);

#endif
