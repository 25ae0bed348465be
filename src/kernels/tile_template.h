/* The tile of tile.h in vectors: the including file has included c/vector.h or one of its likes,
 * and gets tile_sum(tile, blocks, pixels), to be called with constants: then all loops over vectors
 * unroll and the sums stay in registers. Whether they do is the compiler's doing: after a change,
 * look for stores to the stack (objdump -d); gcc 12 and clang 14 make none.
 *
 * A file for another type than float defines TILE_TYPE and, of words, TILE_INPUT(p): one,
 * broadcast; TILE_WEIGHT(p): a vector of them; TILE_MULTIPLY_ADD(x, weight, sum). One whose sums
 * are whole numbers defines TILE_SUM, their vector, and TILE_SUM_TO_FLOAT(sum) too. One that would
 * run out of registers does a step in two halves: TILE_HALVES, and the macros of words have a
 * `half`. Where words hold other elements than the tensors do, TILE_WORD_CHANNELS says how many.
 *
 * How large a tile: a step (one tap, one channel) costs blocks·V loads of weights, V = 16 / lanes,
 * and `pixels` broadcasts, for pixels·blocks·V multiply-adds; it needs (pixels·blocks + blocks)·V +
 * 1 registers. Machines do two loads and two multiply-adds a cycle with a latency of 4 or 5 cycles:
 * there must be 8 to 10 sums, and fewer loads than multiply-adds. */
#ifndef UNET_KERNELS_TILE_TEMPLATE_H
#define UNET_KERNELS_TILE_TEMPLATE_H

#include "kernels/tile.h"

#ifndef TILE_TYPE
#define TILE_TYPE                         KERNEL_F32
#define TILE_INPUT(p)                     vector_broadcast(*(p))
#define TILE_WEIGHT(p)                    vector_load(p)
#define TILE_MULTIPLY_ADD(x, weight, sum) vector_fma(x, weight, sum)
#endif

#ifdef TILE_SUM
#define TILE_SUM_LOAD(p)        (*(const TILE_SUM *)(p))
#define TILE_SUM_STORE(p, v)    (*(TILE_SUM *)(p) = (v))
#define TILE_SUM_BEGIN(bias, i) ((TILE_SUM){0})
#define TILE_SCALED(tile)       ((tile)->scale != NULL)
#else
#define TILE_SUM                VECTOR
#define TILE_SUM_LOAD(p)        vector_load(p)
#define TILE_SUM_STORE(p, v)    vector_store(p, v)
#define TILE_SUM_BEGIN(bias, i) vector_load((bias) + (i))
#define TILE_SUM_TO_FLOAT(sum)  (sum)
#define TILE_SCALED(tile)       false
#endif

#ifndef TILE_WORD_CHANNELS
#define TILE_WORD_CHANNELS kernel_word_channels(TILE_TYPE)
#endif

#define TILE_PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define UNROLL_ALL TILE_PRAGMA(clang loop unroll(full))
#else
#define UNROLL_ALL TILE_PRAGMA(GCC unroll 32)
#endif

#define TILE_MAX_SUMS 24 /* that any file asks for */
#define BLOCK_VECTORS (KERNEL_BLOCK / VECTOR_LANES)
#define TILE_INLINE   static inline __attribute__((always_inline))

/* Where vector v of a pixel lies from the pixel's first block on. */
TILE_INLINE size_t vector_place(int v, size_t block_stride)
{
    return (size_t)(v / BLOCK_VECTORS) * block_stride + (size_t)(v % BLOCK_VECTORS) * VECTOR_LANES;
}

/* The sums of a tile are one array, sum[p · vectors + v], and each loop over them is one loop:
 * clang does not unroll a nest whose inner loop runs once. */

TILE_INLINE void tile_begin(const struct tile *tile, TILE_SUM *sum, int vectors, int pixels)
{
    if (tile->bias != NULL) {
        UNROLL_ALL
        for (int i = 0; i < pixels * vectors; i++)
            sum[i] = TILE_SUM_BEGIN(tile->bias, i % vectors * VECTOR_LANES);
    } else {
        UNROLL_ALL
        for (int i = 0; i < pixels * vectors; i++)
            sum[i] = TILE_SUM_LOAD(tile->sum + vector_place(i % vectors, tile->sum_stride) +
                                   i / vectors * KERNEL_BLOCK);
    }
}

TILE_INLINE void tile_end(const struct tile *tile, const TILE_SUM *sum, int vectors, int pixels)
{
    UNROLL_ALL
    for (int i = 0; i < pixels * vectors; i++)
        TILE_SUM_STORE(tile->sum + vector_place(i % vectors, tile->sum_stride) +
                           i / vectors * KERNEL_BLOCK,
                       sum[i]);
}

/* The same of sums that are complete: as floats. */
TILE_INLINE void tile_scale(const struct tile *tile, const TILE_SUM *sum, int vectors, int pixels)
{
    const float *step = tile->scale->step, *bias = tile->scale->bias;
    UNROLL_ALL
    for (int i = 0; i < pixels * vectors; i++)
        vector_store(
            tile->sum + vector_place(i % vectors, tile->sum_stride) + i / vectors * KERNEL_BLOCK,
            vector_fma(TILE_SUM_TO_FLOAT(sum[i]), vector_load(step + i % vectors * VECTOR_LANES),
                       vector_load(bias + i % vectors * VECTOR_LANES)));
}

/* One tap, one channel. A load that stands in several iterations is done once. */
TILE_INLINE void tile_half(const float *in, const float *weights, TILE_SUM *sum, int vectors,
                           int pixels, int half)
{
    const int pixel_words = KERNEL_BLOCK / TILE_WORD_CHANNELS;
    (void)half;
    UNROLL_ALL
    for (int i = 0; i < pixels * vectors; i++)
        sum[i] = TILE_MULTIPLY_ADD(TILE_INPUT(in + i / vectors * pixel_words),
                                   TILE_WEIGHT(weights + i % vectors * VECTOR_LANES), sum[i]);
}

TILE_INLINE void tile_step(const float *in, const float *weights, TILE_SUM *sum, int vectors,
                           int pixels)
{
    tile_half(in, weights, sum, vectors, pixels, 0);
#ifdef TILE_HALVES
    /* The compiler would keep what it loaded, and has no registers for it. */
    __asm__("" : "+r"(in), "+r"(weights));
    tile_half(in, weights, sum, vectors, pixels, 1);
#endif
}

/* Into L2: L1 is full of the weights in use. */
TILE_INLINE const float *tile_fetch(const float *ahead, int lines)
{
    for (int i = 0; i < lines; i++, ahead += KERNEL_BLOCK)
        __builtin_prefetch(ahead, 0, 2);
    return ahead;
}

TILE_INLINE void tile_taps(const struct tile *tile, TILE_SUM *sum, int blocks, int pixels,
                           bool fetch)
{
    const float *weights = tile->weights, *ahead = tile->ahead;
    for (int t = 0; t < tile->tap_count; t++) {
        const float *in = tile->in + tile->taps[t];
        const float *end = in + tile->channels;
        if (fetch)
            ahead = tile_fetch(ahead, tile->channels);
        do {
            tile_step(in, weights, sum, blocks * BLOCK_VECTORS, pixels);
            weights += blocks * KERNEL_BLOCK;
        } while (++in < end);
    }
}

TILE_INLINE void tile_sum(const struct tile *tile, int blocks, int pixels)
{
    TILE_SUM sum[TILE_MAX_SUMS];
    tile_begin(tile, sum, blocks * BLOCK_VECTORS, pixels);
    if (tile->ahead == NULL)
        tile_taps(tile, sum, blocks, pixels, false);
    else
        tile_taps(tile, sum, blocks, pixels, true);
    if (TILE_SCALED(tile))
        tile_scale(tile, sum, blocks * BLOCK_VECTORS, pixels);
    else
        tile_end(tile, sum, blocks * BLOCK_VECTORS, pixels);
}

/* A function for one shape, and its entry in a table of shapes. */
#define TILE_FUNCTION(blocks, pixels)                                                              \
    static void tile_##blocks##x##pixels(const struct tile *tile)                                  \
    {                                                                                              \
        tile_sum(tile, blocks, pixels);                                                            \
    }
#define TILE_ENTRY(blocks, pixels) tile_##blocks##x##pixels,

/* X(blocks, 1) … X(blocks, n). */
#define TILES_2(X, blocks) X(blocks, 1) X(blocks, 2)
#define TILES_4(X, blocks) TILES_2(X, blocks) X(blocks, 3) X(blocks, 4)
#define TILES_6(X, blocks) TILES_4(X, blocks) X(blocks, 5) X(blocks, 6)
#define TILES_8(X, blocks) TILES_6(X, blocks) X(blocks, 7) X(blocks, 8)
#define TILES_12(X, blocks)                                                                        \
    TILES_8(X, blocks) X(blocks, 9) X(blocks, 10) X(blocks, 11) X(blocks, 12)
#define TILES_24(X, blocks)                                                                        \
    TILES_12(X, blocks)                                                                            \
    X(blocks, 13)                                                                                  \
    X(blocks, 14) X(blocks, 15) X(blocks, 16) X(blocks, 17) X(blocks, 18) X(blocks, 19)            \
        X(blocks, 20) X(blocks, 21) X(blocks, 22) X(blocks, 23) X(blocks, 24)

#endif
