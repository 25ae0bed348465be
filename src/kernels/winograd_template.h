/* The transforms of winograd.h in vectors of channels. The including file has included c/vector.h
 * or one of its likes and defines WINOGRAD_OPS, the name of the set.
 *
 * Cost a tile and vector: 10 rows or columns of 14 operations in, 10 of 12 out. The first pass of
 * the input transform runs down columns; the two columns that neighbours share are done once. */
#ifndef UNET_KERNELS_WINOGRAD_TEMPLATE_H
#define UNET_KERNELS_WINOGRAD_TEMPLATE_H

#include "kernels/winograd.h"

#define WINOGRAD_INLINE static inline __attribute__((always_inline))
#define WINOGRAD_PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define WINOGRAD_UNROLL WINOGRAD_PRAGMA(clang loop unroll(full))
#else
#define WINOGRAD_UNROLL WINOGRAD_PRAGMA(GCC unroll 8)
#endif

/* How far the first pass looks ahead: the hardware sees six short streams too late. */
#define PREFETCH_COLUMNS 16

/* Bᵀ d: to[i · stride]. */
WINOGRAD_INLINE void input_six(const VECTOR *d, float *to, size_t stride)
{
    const VECTOR three_halves = vector_broadcast(1.5f);
    VECTOR even = d[4] - d[2], odd = d[3] - d[1];
    VECTOR p = vector_fma(three_halves, d[3], even), q = vector_fma(three_halves, d[2], odd);
    vector_store(to, vector_fma(three_halves, odd, even + (d[0] - d[2])));
    vector_store(to + stride, p + q);
    vector_store(to + 2 * stride, p - q);
    vector_store(to + 3 * stride, vector_fma(vector_broadcast(2.0f), odd, even));
    vector_store(to + 4 * stride, vector_fma(vector_broadcast(-0.5f), odd, even));
    vector_store(to + 5 * stride, vector_fma(three_halves, even, (d[5] - d[3]) - odd));
}

/* Aᵀ m. */
WINOGRAD_INLINE void output_four(const VECTOR *m, VECTOR *y)
{
    VECTOR sum = m[1] + m[2], difference = m[1] - m[2];
    y[0] = (m[0] + sum) + (m[3] + m[4]);
    y[1] = vector_fma(vector_broadcast(0.5f), m[3],
                      vector_fma(vector_broadcast(-2.0f), m[4], difference));
    y[2] = vector_fma(vector_broadcast(0.25f), m[3],
                      vector_fma(vector_broadcast(4.0f), m[4], sum));
    y[3] = vector_fma(vector_broadcast(0.125f), m[3],
                      vector_fma(vector_broadcast(-8.0f), m[4], difference + m[5]));
}

/* Down the columns of a run: columns[(6·column + i) · lanes]. What lies outside the border counts
 * as zero: so is the border, which is read in its stead. */
WINOGRAD_INLINE void input_columns(const struct blocked *source, int block, struct winograd_run run,
                                   int lane, float *columns)
{
    const float *rows[WINOGRAD_PATCH];
    for (int i = 0; i < WINOGRAD_PATCH; i++) {
        int y = run.y * WINOGRAD_OUT - 1 + i;
        rows[i] =
            (const float *)blocked_at(source, y < source->height ? y : source->height, block, 0) +
            lane;
    }
    int first = run.x * WINOGRAD_OUT - 1, end = first + run.tiles * WINOGRAD_OUT + 2;
    for (int column = first; column < end; column++) {
        ptrdiff_t at = (ptrdiff_t)(column < source->width ? column : source->width) * KERNEL_BLOCK;
        VECTOR d[WINOGRAD_PATCH];
        WINOGRAD_UNROLL
        for (int i = 0; i < WINOGRAD_PATCH; i++)
            d[i] = vector_load(rows[i] + at);
        WINOGRAD_UNROLL
        for (int i = 0; i < WINOGRAD_PATCH; i++)
            __builtin_prefetch(rows[i] + at + PREFETCH_COLUMNS * KERNEL_BLOCK);
        input_six(d, columns, VECTOR_LANES);
        columns += WINOGRAD_PATCH * VECTOR_LANES;
    }
}

/* Along the rows of each tile of a run. */
WINOGRAD_INLINE void input_rows(const float *columns, int tiles, float *to, size_t position_stride)
{
    for (int tile = 0; tile < tiles; tile++) {
        WINOGRAD_UNROLL
        for (int i = 0; i < WINOGRAD_PATCH; i++) {
            VECTOR d[WINOGRAD_PATCH];
            WINOGRAD_UNROLL
            for (int j = 0; j < WINOGRAD_PATCH; j++)
                d[j] = vector_load(columns + (WINOGRAD_PATCH * j + i) * VECTOR_LANES);
            input_six(d, to + (size_t)(i * WINOGRAD_PATCH) * position_stride, position_stride);
        }
        columns += WINOGRAD_OUT * WINOGRAD_PATCH * VECTOR_LANES;
        to += KERNEL_BLOCK;
    }
}

static void input_transform(const struct blocked *source, int block, struct winograd_run run,
                            float *columns, float *to, size_t position_stride)
{
    while (run.tiles > 0) {
        struct winograd_run part = run;
        if (part.tiles > WINOGRAD_RUN)
            part.tiles = WINOGRAD_RUN;
        for (int lane = 0; lane < KERNEL_BLOCK; lane += VECTOR_LANES) {
            input_columns(source, block, part, lane, columns);
            input_rows(columns, part.tiles, to + lane, position_stride);
        }
        run.x += part.tiles;
        run.tiles -= part.tiles;
        to += (size_t)part.tiles * KERNEL_BLOCK;
    }
}

/* The first pass of Aᵀ M A: down the columns. */
WINOGRAD_INLINE void output_columns(const float *from, size_t position_stride,
                                    VECTOR half[WINOGRAD_OUT][WINOGRAD_PATCH])
{
    WINOGRAD_UNROLL
    for (int j = 0; j < WINOGRAD_PATCH; j++) {
        VECTOR m[WINOGRAD_PATCH], y[WINOGRAD_OUT];
        WINOGRAD_UNROLL
        for (int i = 0; i < WINOGRAD_PATCH; i++)
            m[i] = vector_load(from + (size_t)(i * WINOGRAD_PATCH + j) * position_stride);
        output_four(m, y);
        WINOGRAD_UNROLL
        for (int i = 0; i < WINOGRAD_OUT; i++)
            half[i][j] = y[i];
    }
}

/* One row of a tile from its sums on: ReLU is a maximum with `least`. A NaN stays a NaN. */
WINOGRAD_INLINE void output_row(const VECTOR *half, VECTOR least, float *to, bool stream,
                                VECTOR *y)
{
    output_four(half, y);
    WINOGRAD_UNROLL
    for (int j = 0; j < WINOGRAD_OUT; j++)
        y[j] = vector_max(least, y[j]);
    if (to == NULL)
        return;
    WINOGRAD_UNROLL
    for (int j = 0; j < WINOGRAD_OUT; j++) {
        if (stream)
            vector_stream(to + j * KERNEL_BLOCK, y[j]);
        else
            vector_store(to + j * KERNEL_BLOCK, y[j]);
    }
}

/* Tile `tile` of a run, from lane `lane` on. */
WINOGRAD_INLINE void output_tile(const float *from, size_t position_stride,
                                 const struct winograd_target *to, size_t tile, int lane,
                                 bool stream)
{
    const VECTOR least = vector_broadcast(to->relu ? 0.0f : -__builtin_inff());
    VECTOR half[WINOGRAD_OUT][WINOGRAD_PATCH];
    output_columns(from, position_stride, half);
    float *out = to->out, *pooled = to->pooled;
    if (out != NULL)
        out += tile * WINOGRAD_OUT * KERNEL_BLOCK + (size_t)lane;
    if (pooled != NULL)
        pooled += tile * (WINOGRAD_OUT / 2) * KERNEL_BLOCK + (size_t)lane;
    WINOGRAD_UNROLL
    for (int i = 0; i < WINOGRAD_OUT; i += 2) {
        VECTOR above[WINOGRAD_OUT], below[WINOGRAD_OUT];
        output_row(half[i], least, out, stream, above);
        output_row(half[i + 1], least, out != NULL ? out + to->out_row : NULL, stream, below);
        if (out != NULL)
            out += 2 * to->out_row;
        if (pooled == NULL)
            continue;
        vector_store(pooled, vector_max(vector_max(above[0], above[1]),
                                        vector_max(below[0], below[1])));
        vector_store(pooled + KERNEL_BLOCK, vector_max(vector_max(above[2], above[3]),
                                                       vector_max(below[2], below[3])));
        pooled += to->pooled_row;
    }
}

static void output_transform(const float *from, size_t position_stride, int tiles,
                             const struct winograd_target *to)
{
    for (int tile = 0; tile < tiles; tile++, from += KERNEL_BLOCK) {
        for (int lane = 0; lane < KERNEL_BLOCK; lane += VECTOR_LANES) {
            if (to->stream)
                output_tile(from + lane, position_stride, to, (size_t)tile, lane, true);
            else
                output_tile(from + lane, position_stride, to, (size_t)tile, lane, false);
        }
    }
    if (to->stream)
        vector_fence();
}

const struct winograd_ops WINOGRAD_OPS = {
    .input = input_transform,
    .output = output_transform,
};

#endif
