/* The transforms of winograd.h in vectors of channels. The including file has included c/vector.h
 * or one of its likes and defines WINOGRAD_TIER, the end of the sets' names; for tensors of another
 * type than float also WINOGRAD_ELEMENT, and WINOGRAD_LOAD, WINOGRAD_STORE and WINOGRAD_STREAM,
 * which widen and round. WINOGRAD_NO_6 leaves out F(6,3).
 *
 * All is written for any size of tile, `out`, and becomes a function by being called with a
 * constant: then every loop over a patch unrolls and vectors stay in registers. Cost a tile and
 * vector in F(2,3), F(4,3), F(6,3): out + patch rows or columns of 4, 14, 24 operations in, of 4,
 * 12, 20 out. The first pass of the input transform runs down columns; the two columns that
 * neighbours share are done once. */
#ifndef UNET_KERNELS_WINOGRAD_TEMPLATE_H
#define UNET_KERNELS_WINOGRAD_TEMPLATE_H

#include "kernels/winograd.h"

#include <string.h>

#ifndef WINOGRAD_ELEMENT
#define WINOGRAD_TYPE         KERNEL_F32
#define WINOGRAD_ELEMENT      float
#define WINOGRAD_LOAD(p)      vector_load(p)
#define WINOGRAD_STORE(p, v)  vector_store(p, v)
#define WINOGRAD_STREAM(p, v) vector_stream(p, v)
#if VECTOR_STREAMS && VECTOR_LANES < KERNEL_BLOCK
#define WINOGRAD_STAGED
#endif
#endif

#define WINOGRAD_INLINE       static inline __attribute__((always_inline))
#define WINOGRAD_PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define WINOGRAD_UNROLL WINOGRAD_PRAGMA(clang loop unroll(full))
#else
#define WINOGRAD_UNROLL WINOGRAD_PRAGMA(GCC unroll 8)
#endif

/* A pointer whose history compilers forget: else they compute where every position lies before the
 * loop over tiles begins and, for want of registers, keep that on the stack. */
#define WINOGRAD_OPAQUE(pointer) __asm__("" : "+r"(pointer))

/* How far the first pass looks ahead: the hardware sees six short streams too late. */
#define PREFETCH_ELEMENTS (1024 / sizeof(WINOGRAD_ELEMENT))

/* A store that misses the caches waits for its line's old contents: they are asked for so many
 * tiles earlier, between the sums; what lies past the end, in vain. */
#define STORE_TILES_AHEAD 3

/* ---------------------------------------------------------------- Bᵀ d B */

#ifdef WORDS
#include "kernels/winograd_u8_template.h"
#else
WINOGRAD_INLINE void input_2(const VECTOR *d, VECTOR *v)
{
    v[0] = d[2] - d[0];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
}

WINOGRAD_INLINE void input_4(const VECTOR *d, VECTOR *v)
{
    const VECTOR three_halves = vector_broadcast(1.5f);
    VECTOR even = d[4] - d[2], odd = d[3] - d[1];
    VECTOR p = vector_fma(three_halves, d[3], even), q = vector_fma(three_halves, d[2], odd);
    v[0] = vector_fma(three_halves, odd, even + (d[0] - d[2]));
    v[1] = p + q;
    v[2] = p - q;
    v[3] = vector_fma(vector_broadcast(2.0f), odd, even);
    v[4] = vector_fma(vector_broadcast(-0.5f), odd, even);
    v[5] = vector_fma(three_halves, even, (d[5] - d[3]) - odd);
}

/* The points a and −a: even powers and odd ones, whose sum has the factor a. */
WINOGRAD_INLINE void input_pair(VECTOR even, VECTOR odd, float point, VECTOR *v)
{
    v[0] = vector_fma(vector_broadcast(point), odd, even);
    v[1] = vector_fma(vector_broadcast(-point), odd, even);
}

WINOGRAD_INLINE void input_6(const VECTOR *d, VECTOR *v)
{
    const VECTOR ends = vector_broadcast(5.25f), ones = vector_broadcast(-4.25f);
    const VECTOR twos = vector_broadcast(-1.25f), halves = vector_broadcast(-5.0f);
    const VECTOR quarter = vector_broadcast(0.25f), four = vector_broadcast(4.0f);
    v[0] = vector_fma(ends, d[2] - d[4], d[6] - d[0]);
    VECTOR even = vector_fma(ones, d[4], d[2] + d[6]), odd = vector_fma(ones, d[3], d[1] + d[5]);
    v[1] = even + odd;
    v[2] = even - odd;
    even = vector_fma(twos, d[4], vector_fma(quarter, d[2], d[6]));
    odd = vector_fma(twos, d[3], vector_fma(quarter, d[1], d[5]));
    input_pair(even, odd, 2.0f, v + 3);
    even = vector_fma(halves, d[4], vector_fma(four, d[2], d[6]));
    odd = vector_fma(halves, d[3], vector_fma(four, d[1], d[5]));
    input_pair(even, odd, 0.5f, v + 5);
    v[7] = vector_fma(ends, d[3] - d[5], d[7] - d[1]);
}

WINOGRAD_INLINE void input_line(int out, const VECTOR *d, VECTOR *v)
{
    if (out == 2)
        input_2(d, v);
    else if (out == 4)
        input_4(d, v);
    else
        input_6(d, v);
}

/* Down the columns of a run: columns[(patch·column + i) · lanes]. What lies outside the border
 * counts as zero: so is the border, which is read in its stead. */
WINOGRAD_INLINE void input_columns(int out, const struct blocked *source, int block,
                                   struct winograd_run run, int lane, float *columns)
{
    const int patch = winograd_patch(out);
    const WINOGRAD_ELEMENT *rows[WINOGRAD_MOST_PATCH];
    for (int i = 0; i < patch; i++) {
        int y = run.y * out - 1 + i;
        rows[i] = (const WINOGRAD_ELEMENT *)blocked_at(
                      source, y < source->height ? y : source->height, block, 0) +
                  lane;
    }
    int first = run.x * out - 1, end = first + run.tiles * out + 2;
    for (int column = first; column < end; column++) {
        ptrdiff_t at = (ptrdiff_t)(column < source->width ? column : source->width) * KERNEL_BLOCK;
        VECTOR d[WINOGRAD_MOST_PATCH], v[WINOGRAD_MOST_PATCH];
        WINOGRAD_UNROLL
        for (int i = 0; i < patch; i++)
            d[i] = WINOGRAD_LOAD(rows[i] + at);
        WINOGRAD_UNROLL
        for (int i = 0; i < patch; i++)
            __builtin_prefetch(rows[i] + at + PREFETCH_ELEMENTS);
        input_line(out, d, v);
        WINOGRAD_UNROLL
        for (int i = 0; i < patch; i++)
            vector_store(columns + i * VECTOR_LANES, v[i]);
        columns += patch * VECTOR_LANES;
    }
}

/* Along the rows of each tile of a run. */
WINOGRAD_INLINE void input_rows(int out, const float *columns, int tiles, WINOGRAD_ELEMENT *to,
                                size_t position_stride)
{
    const int patch = winograd_patch(out);
    for (int tile = 0; tile < tiles; tile++) {
        WINOGRAD_ELEMENT *at = to;
        WINOGRAD_UNROLL
        for (int i = 0; i < patch; i++) {
            VECTOR d[WINOGRAD_MOST_PATCH], v[WINOGRAD_MOST_PATCH];
            WINOGRAD_UNROLL
            for (int j = 0; j < patch; j++)
                d[j] = vector_load(columns + (patch * j + i) * VECTOR_LANES);
            input_line(out, d, v);
            WINOGRAD_UNROLL
            for (int j = 0; j < patch; j++)
                WINOGRAD_STORE(at + (size_t)j * position_stride, v[j]);
            at += (size_t)patch * position_stride;
            WINOGRAD_OPAQUE(at);
        }
        columns += out * patch * VECTOR_LANES;
        to += KERNEL_BLOCK;
    }
}

WINOGRAD_INLINE void input_transform(int out, const struct blocked *source, int block,
                                     struct winograd_run run, float *columns, float *words,
                                     size_t position_stride)
{
    const size_t word = sizeof *words / sizeof(WINOGRAD_ELEMENT);
    WINOGRAD_ELEMENT *to = (WINOGRAD_ELEMENT *)(void *)words;
    const int most = WINOGRAD_RUN_COLUMNS / out;
    while (run.tiles > 0) {
        struct winograd_run part = run;
        if (part.tiles > most)
            part.tiles = most;
        for (int lane = 0; lane < KERNEL_BLOCK; lane += VECTOR_LANES) {
            input_columns(out, source, block, part, lane, columns);
            input_rows(out, columns, part.tiles, to + lane, position_stride * word);
        }
        run.x += part.tiles;
        run.tiles -= part.tiles;
        to += (size_t)part.tiles * KERNEL_BLOCK;
    }
}

#endif

/* ---------------------------------------------------------------- Aᵀ M A */

WINOGRAD_INLINE void output_2(const VECTOR *m, VECTOR *y)
{
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = (m[1] - m[2]) + m[3];
}

WINOGRAD_INLINE void output_4(const VECTOR *m, VECTOR *y)
{
    VECTOR sum = m[1] + m[2], difference = m[1] - m[2];
    y[0] = (m[0] + sum) + (m[3] + m[4]);
    y[1] = vector_fma(vector_broadcast(0.5f), m[3],
                      vector_fma(vector_broadcast(-2.0f), m[4], difference));
    y[2] = vector_fma(vector_broadcast(0.25f), m[3], vector_fma(vector_broadcast(4.0f), m[4], sum));
    y[3] = vector_fma(vector_broadcast(0.125f), m[3],
                      vector_fma(vector_broadcast(-8.0f), m[4], difference + m[5]));
}

/* ones + power · twos + halves / power: what the pairs ±1, ±2, ±½ give in one row. */
WINOGRAD_INLINE VECTOR output_pairs(float power, VECTOR ones, VECTOR twos, VECTOR halves)
{
    return vector_fma(vector_broadcast(1.0f / power), halves,
                      vector_fma(vector_broadcast(power), twos, ones));
}

WINOGRAD_INLINE void output_6(const VECTOR *m, VECTOR *y)
{
    VECTOR ones = m[1] + m[2], twos = m[3] + m[4], halves = m[5] + m[6];
    y[0] = (m[0] + ones) + (twos + halves);
    y[2] = output_pairs(4.0f, ones, twos, halves);
    y[4] = output_pairs(16.0f, ones, twos, halves);
    ones = m[1] - m[2];
    twos = m[3] - m[4];
    halves = m[5] - m[6];
    y[1] = output_pairs(2.0f, ones, twos, halves);
    y[3] = output_pairs(8.0f, ones, twos, halves);
    y[5] = output_pairs(32.0f, ones + m[7], twos, halves);
}

WINOGRAD_INLINE void output_line(int out, const VECTOR *m, VECTOR *y)
{
    if (out == 2)
        output_2(m, y);
    else if (out == 4)
        output_4(m, y);
    else
        output_6(m, y);
}

#ifdef WORDS
/* output_4 of whole numbers, each times its scale, which the points 0 and ∞ get in the sums; the
 * bias, if there is one, goes to point 1. */
WINOGRAD_INLINE void output_whole_4(const VECTOR *m, const float *scales, size_t stride,
                                    const float *bias, VECTOR *y)
{
    VECTOR one = vector_mul(m[1], vector_load(scales + stride));
    if (bias != NULL)
        one = vector_fma(m[1], vector_load(scales + stride), vector_load(bias));
    VECTOR other = vector_mul(m[2], vector_load(scales + 2 * stride));
    VECTOR half = vector_mul(m[3], vector_load(scales + 3 * stride));
    VECTOR two = vector_mul(m[4], vector_load(scales + 4 * stride));
    VECTOR sum = one + other, difference = one - other;
    y[0] = vector_fma(m[0], vector_load(scales), sum) + (half + two);
    y[1] = vector_fma(vector_broadcast(0.5f), half,
                      vector_fma(vector_broadcast(-2.0f), two, difference));
    y[2] = vector_fma(vector_broadcast(0.25f), half, vector_fma(vector_broadcast(4.0f), two, sum));
    difference = vector_fma(m[5], vector_load(scales + 5 * stride), difference);
    y[3] = vector_fma(vector_broadcast(0.125f), half,
                      vector_fma(vector_broadcast(-8.0f), two, difference));
}

/* The same of output_6. */
WINOGRAD_INLINE void output_whole_6(const VECTOR *m, const float *scales, size_t stride,
                                    const float *bias, VECTOR *y)
{
    VECTOR one = vector_mul(m[1], vector_load(scales + stride));
    if (bias != NULL)
        one = vector_fma(m[1], vector_load(scales + stride), vector_load(bias));
    VECTOR other = vector_mul(m[2], vector_load(scales + 2 * stride));
    VECTOR two = vector_mul(m[3], vector_load(scales + 3 * stride));
    VECTOR less_two = vector_mul(m[4], vector_load(scales + 4 * stride));
    VECTOR half = vector_mul(m[5], vector_load(scales + 5 * stride));
    VECTOR less_half = vector_mul(m[6], vector_load(scales + 6 * stride));
    VECTOR ones = one + other, twos = two + less_two, halves = half + less_half;
    y[0] = vector_fma(m[0], vector_load(scales), ones) + (twos + halves);
    y[2] = output_pairs(4.0f, ones, twos, halves);
    y[4] = output_pairs(16.0f, ones, twos, halves);
    ones = one - other;
    twos = two - less_two;
    halves = half - less_half;
    y[1] = output_pairs(2.0f, ones, twos, halves);
    y[3] = output_pairs(8.0f, ones, twos, halves);
    ones = vector_fma(m[7], vector_load(scales + 7 * stride), ones);
    y[5] = output_pairs(32.0f, ones, twos, halves);
}

/* A column of M, of whole numbers: scaled and, at the points 1 and 1, biased. */
WINOGRAD_INLINE void output_column(int out, const float *from, size_t stride,
                                   const struct winograd_target *to, int j, int lane, VECTOR *y)
{
    const int patch = winograd_patch(out);
    const float *scales = to->scales + j * KERNEL_BLOCK + lane;
    VECTOR m[WINOGRAD_MOST_PATCH];
    const float *bias = j == 1 ? to->bias + lane : NULL;
    WINOGRAD_UNROLL
    for (int i = 0; i < patch; i++)
        m[i] = vector_load_int(from + (size_t)i * stride);
    if (out == 4) {
        output_whole_4(m, scales, (size_t)patch * KERNEL_BLOCK, bias, y);
        return;
    }
#ifndef WINOGRAD_NO_6
    if (out == 6) {
        output_whole_6(m, scales, (size_t)patch * KERNEL_BLOCK, bias, y);
        return;
    }
#endif
    WINOGRAD_UNROLL
    for (int i = 0; i < patch; i++) {
        VECTOR scale = vector_load(scales + i * patch * KERNEL_BLOCK);
        if (i == 1 && bias != NULL)
            m[i] = vector_fma(m[i], scale, vector_load(bias));
        else
            m[i] = vector_mul(m[i], scale);
    }
    output_line(out, m, y);
}
#else
/* A column of M. */
WINOGRAD_INLINE void output_column(int out, const float *from, size_t stride,
                                   const struct winograd_target *to, int j, int lane, VECTOR *y)
{
    VECTOR m[WINOGRAD_MOST_PATCH];
    (void)to, (void)j, (void)lane;
    WINOGRAD_UNROLL
    for (int i = 0; i < winograd_patch(out); i++)
        m[i] = vector_load(from + (size_t)i * stride);
    output_line(out, m, y);
}
#endif

/* The first pass: down the columns. */
WINOGRAD_INLINE void output_columns(int out, const float *from, size_t position_stride,
                                    const struct winograd_target *to, int lane,
                                    VECTOR half[][WINOGRAD_MOST_PATCH])
{
    const int patch = winograd_patch(out);
    WINOGRAD_UNROLL
    for (int j = 0; j < patch; j++) {
        VECTOR y[WINOGRAD_MOST_OUT];
        output_column(out, from, (size_t)patch * position_stride, to, j, lane, y);
        from += position_stride;
        WINOGRAD_OPAQUE(from);
        WINOGRAD_UNROLL
        for (int i = 0; i < out; i++)
            half[i][j] = y[i];
    }
}

/* How an output is stored: as an element or, for who goes on from there, as the sum that it is. */
enum winograd_store { WINOGRAD_CACHED, WINOGRAD_STREAMED, WINOGRAD_SUMS };

/* One of the `pixels` of a row of a tile. */
WINOGRAD_INLINE void store_output(void *row, size_t at, VECTOR y, int pixels,
                                  enum winograd_store how)
{
    size_t next = at + (size_t)(STORE_TILES_AHEAD * pixels) * KERNEL_BLOCK;
    if (how == WINOGRAD_SUMS) {
        vector_store((float *)row + at, y);
    } else if (how == WINOGRAD_STREAMED) {
        WINOGRAD_STREAM((WINOGRAD_ELEMENT *)row + at, y);
    } else {
        WINOGRAD_STORE((WINOGRAD_ELEMENT *)row + at, y);
        __builtin_prefetch((WINOGRAD_ELEMENT *)row + next, 1);
    }
}

/* One row of a tile from its sums on: ReLU is a maximum with `least`. A NaN stays a NaN. */
WINOGRAD_INLINE void output_row(int out, const VECTOR *half, VECTOR least, void *row, size_t at,
                                enum winograd_store how, VECTOR *y)
{
    output_line(out, half, y);
    WINOGRAD_UNROLL
    for (int j = 0; j < out; j++)
        y[j] = vector_max(least, y[j]);
    if (row == NULL)
        return;
    WINOGRAD_UNROLL
    for (int j = 0; j < out; j++)
        store_output(row, at + (size_t)j * KERNEL_BLOCK, y[j], out, how);
}

/* Maxima of two rows of a tile. */
WINOGRAD_INLINE void pool_rows(int out, const VECTOR *above, const VECTOR *below,
                               WINOGRAD_ELEMENT *to)
{
    WINOGRAD_UNROLL
    for (int j = 0; j < out; j += 2)
        store_output(
            to, (size_t)(j / 2) * KERNEL_BLOCK,
            vector_max(vector_max(above[j], above[j + 1]), vector_max(below[j], below[j + 1])),
            out / 2, WINOGRAD_CACHED);
}

#ifdef ROW_BYTES
/* The rows of a tile as bytes, each row's pixels in one vector; their maxima are those of what is
 * rounded. Clipping does ReLU's work. */
WINOGRAD_INLINE void output_bytes(int out, VECTOR half[][WINOGRAD_MOST_PATCH],
                                  const struct winograd_target *to, size_t tile)
{
    uint8_t *row = to->out, *pooled = to->pooled;
    WINOGRAD_UNROLL
    for (int i = 0; i < out; i += 2) {
        VECTOR y[WINOGRAD_MOST_OUT];
        output_line(out, half[i], y);
        ROW_BYTES above = row_bytes(out, y);
        output_line(out, half[i + 1], y);
        ROW_BYTES below = row_bytes(out, y);
        if (row != NULL) {
            uint8_t *at = row + tile * (size_t)out * KERNEL_BLOCK + (size_t)i * to->out_row;
            row_bytes_store(out, at, above);
            row_bytes_store(out, at + to->out_row, below);
            __builtin_prefetch(at + STORE_TILES_AHEAD * out * KERNEL_BLOCK, 1);
            __builtin_prefetch(at + to->out_row + STORE_TILES_AHEAD * out * KERNEL_BLOCK, 1);
        }
        if (pooled != NULL)
            row_bytes_pool(out,
                           pooled + tile * (size_t)(out / 2) * KERNEL_BLOCK +
                               (size_t)(i / 2) * to->pooled_row,
                           above, below);
    }
}
#endif

/* Tile `tile` of a run, from lane `lane` on. */
WINOGRAD_INLINE void output_tile(int out, const float *from, size_t position_stride,
                                 const struct winograd_target *to, size_t tile, int lane,
                                 enum winograd_store how)
{
    const VECTOR least = vector_broadcast(to->relu ? 0.0f : -__builtin_inff());
    VECTOR half[WINOGRAD_MOST_OUT][WINOGRAD_MOST_PATCH];
    output_columns(out, from, position_stride, to, lane, half);
#ifdef ROW_BYTES
    if (how != WINOGRAD_SUMS) {
        output_bytes(out, half, to, tile);
        return;
    }
#endif
    size_t at = tile * (size_t)out * KERNEL_BLOCK + (size_t)lane;
    WINOGRAD_ELEMENT *pooled = to->pooled;
    if (pooled != NULL)
        pooled += tile * (size_t)(out / 2) * KERNEL_BLOCK + (size_t)lane;
    WINOGRAD_UNROLL
    for (int i = 0; i < out; i += 2) {
        VECTOR above[WINOGRAD_MOST_OUT], below[WINOGRAD_MOST_OUT];
        output_row(out, half[i], least, to->out, at, how, above);
        output_row(out, half[i + 1], least, to->out, at + to->out_row, how, below);
        at += 2 * to->out_row;
        if (pooled == NULL)
            continue;
        pool_rows(out, above, below, pooled);
        pooled += to->pooled_row;
    }
}

#ifdef WINOGRAD_STAGED
/* A tile past the caches where a pixel is several vectors, whose transforms are one behind the
 * other: half lines are slow to store so, and the tile goes by way of the stack. */
WINOGRAD_INLINE void output_staged(int out, const float *from, size_t position_stride,
                                   const struct winograd_target *to, size_t tile)
{
    _Alignas(64) float staged[WINOGRAD_MOST_OUT * WINOGRAD_MOST_OUT * KERNEL_BLOCK];
    const size_t row = (size_t)out * KERNEL_BLOCK;
    struct winograd_target local = *to;
    local.out = staged;
    local.out_row = row;
    if (to->pooled != NULL)
        local.pooled = (float *)to->pooled + tile * row / 2;
    for (int lane = 0; lane < KERNEL_BLOCK; lane += VECTOR_LANES)
        output_tile(out, from + lane, position_stride, &local, 0, lane, WINOGRAD_SUMS);
    float *at = (float *)to->out + tile * row;
    for (int y = 0; y < out; y++, at += to->out_row)
        for (size_t i = 0; i < row; i += VECTOR_LANES)
            vector_stream(at + i, vector_load(staged + (size_t)y * row + i));
}
#endif

/* Tile `tile` of a run. */
WINOGRAD_INLINE void output_lanes(int out, const float *from, size_t position_stride,
                                  const struct winograd_target *to, size_t tile,
                                  enum winograd_store how)
{
#ifdef WINOGRAD_STAGED
    if (how == WINOGRAD_STREAMED && to->out != NULL) {
        output_staged(out, from, position_stride, to, tile);
        return;
    }
#endif
    for (int lane = 0; lane < KERNEL_BLOCK; lane += VECTOR_LANES)
        output_tile(out, from + lane, position_stride, to, tile, lane, how);
}

WINOGRAD_INLINE void output_transform(int out, const float *from, size_t position_stride, int tiles,
                                      const struct winograd_target *to)
{
    for (int tile = 0; tile < tiles; tile++, from += KERNEL_BLOCK) {
        if (to->sums)
            output_lanes(out, from, position_stride, to, (size_t)tile, WINOGRAD_SUMS);
        else if (to->stream)
            output_lanes(out, from, position_stride, to, (size_t)tile, WINOGRAD_STREAMED);
        else
            output_lanes(out, from, position_stride, to, (size_t)tile, WINOGRAD_CACHED);
    }
    if (to->stream)
        vector_fence();
}

/* ---------------------------------------------------------------- the sets */

#define WINOGRAD_PASTE(size, tier) winograd##size##_ops_##tier
#define WINOGRAD_NAME(size, tier)  WINOGRAD_PASTE(size, tier)

#define WINOGRAD_SET(size)                                                                         \
    static void input_transform_##size(const struct blocked *source, int block,                    \
                                       struct winograd_run run, float *columns, float *to,         \
                                       size_t position_stride)                                     \
    {                                                                                              \
        input_transform(size, source, block, run, columns, to, position_stride);                   \
    }                                                                                              \
    static void output_transform_##size(const float *from, size_t position_stride, int tiles,      \
                                        const struct winograd_target *to)                          \
    {                                                                                              \
        output_transform(size, from, position_stride, tiles, to);                                  \
    }                                                                                              \
    const struct winograd_ops WINOGRAD_NAME(size, WINOGRAD_TIER) = {                               \
        .type = WINOGRAD_TYPE,                                                                     \
        .out = size,                                                                               \
        .input = input_transform_##size,                                                           \
        .output = output_transform_##size,                                                         \
    };

WINOGRAD_SET(2)
WINOGRAD_SET(4)
#ifndef WINOGRAD_NO_6
WINOGRAD_SET(6)
#endif

#endif
