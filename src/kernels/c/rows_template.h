/* The leaves of rows.h in vectors. The including file has included c/vector.h or one of its likes
 * and defines
 *
 *     ROW_OPS                               the name of the set
 *     transpose16(to, from, from_stride)    to[j·16 + i] = from[i·from_stride + j], i, j < 16,
 *                                           to: 64-byte aligned
 */
#ifndef UNET_KERNELS_C_ROWS_TEMPLATE_H
#define UNET_KERNELS_C_ROWS_TEMPLATE_H

#include "kernels/rows.h"

#include <string.h>

#define LANES KERNEL_BLOCK

/* Heads that share one transposed block. */
#define HEADS_AT_ONCE 16

static inline VECTOR relu_of(VECTOR x)
{
    return vector_max(vector_broadcast(0.0f), x);
}

static void copy_row(float *to, const float *from, size_t count, bool relu)
{
    for (size_t i = 0; i < count; i += VECTOR_LANES) {
        VECTOR x = vector_load(from + i);
        vector_store(to + i, relu ? relu_of(x) : x);
    }
}

static void max_pool_row(float *to, const float *top, const float *bottom, int pixels, bool relu)
{
    for (int p = 0; p < pixels; p++, to += LANES, top += 2 * LANES, bottom += 2 * LANES) {
        for (int lane = 0; lane < LANES; lane += VECTOR_LANES) {
            VECTOR above = vector_max(vector_load(top + lane), vector_load(top + LANES + lane));
            VECTOR below =
                vector_max(vector_load(bottom + lane), vector_load(bottom + LANES + lane));
            VECTOR most = vector_max(above, below);
            vector_store(to + lane, relu ? relu_of(most) : most);
        }
    }
}

static inline VECTOR between(VECTOR near, const float *a, VECTOR far, const float *b)
{
    return vector_fma(near, vector_load(a), vector_mul(far, vector_load(b)));
}

/* Along the row first, then between the rows: PyTorch's order. */
static void upsample_row(float *to, const struct upsample_rows *rows,
                         const struct upsample_column *columns, int pixels)
{
    VECTOR upper = vector_broadcast(rows->near), lower = vector_broadcast(rows->far);
    for (int p = 0; p < pixels; p++, to += LANES, columns++) {
        VECTOR near = vector_broadcast(columns->near), far = vector_broadcast(columns->far);
        const float *top = rows->top + columns->left, *bottom = rows->bottom + columns->left;
        for (int lane = 0; lane < LANES; lane += VECTOR_LANES) {
            VECTOR above = between(near, top + lane, far, top + columns->step + lane);
            VECTOR below = between(near, bottom + lane, far, bottom + columns->step + lane);
            vector_store(to + lane, vector_fma(upper, above, vector_mul(lower, below)));
        }
    }
}

static void interleave_row(float *to, const float *even, const float *odd, int pixels)
{
    for (int p = 0; p < pixels; p++, to += 2 * LANES, even += LANES, odd += LANES) {
        for (int lane = 0; lane < LANES; lane += VECTOR_LANES) {
            vector_store(to + lane, vector_load(even + lane));
            vector_store(to + LANES + lane, vector_load(odd + lane));
        }
    }
}

/* A whole vector mostly: then the size is known to the compiler. */
static inline void copy_floats(float *to, const float *from, int count)
{
    if (count == LANES)
        memcpy(to, from, LANES * sizeof *to);
    else
        memcpy(to, from, (size_t)count * sizeof *to);
}

static void from_planes_row(float *to, const float *planes, size_t plane_stride, int channels,
                            int pixels)
{
    _Alignas(64) float rows[LANES * LANES] = {0}, turned[LANES * LANES];
    for (int p = 0; p < pixels; p += LANES, to += LANES * LANES) {
        int count = pixels - p < LANES ? pixels - p : LANES;
        for (int c = 0; c < channels; c++)
            copy_floats(rows + c * LANES, planes + (size_t)c * plane_stride + p, count);
        transpose16(count == LANES ? to : turned, rows, LANES);
        if (count < LANES)
            memcpy(to, turned, (size_t)count * LANES * sizeof *to);
    }
}

/* `count` ≤ 16 pixels as rows of 16: turned[lane · 16 + pixel]. */
static void turn_pixels(float *turned, const float *from, int count)
{
    _Alignas(64) float rows[LANES * LANES];
    if (count < LANES) {
        memset(rows, 0, sizeof rows);
        memcpy(rows, from, (size_t)count * LANES * sizeof *rows);
        from = rows;
    }
    transpose16(turned, from, LANES);
}

static void to_planes_row(float *planes, size_t plane_stride, const float *from, int channels,
                          int pixels)
{
    _Alignas(64) float turned[LANES * LANES];
    for (int p = 0; p < pixels; p += LANES) {
        int count = pixels - p < LANES ? pixels - p : LANES;
        turn_pixels(turned, from + (size_t)p * LANES, count);
        for (int c = 0; c < channels; c++)
            copy_floats(planes + (size_t)c * plane_stride + p, turned + c * LANES, count);
    }
}

/* sum[pixel] += Σ weights[c] · block[c][pixel]; both are aligned */
static inline void add_block(float *sum, const float *block, const float *weights, int channels)
{
    for (int pixel = 0; pixel < LANES; pixel += VECTOR_LANES) {
        VECTOR total = vector_load(sum + pixel);
        for (int c = 0; c < channels; c++)
            total = vector_fma(vector_broadcast(weights[c]), vector_load(block + c * LANES + pixel),
                               total);
        vector_store(sum + pixel, total);
    }
}

/* `count` ≤ 16 pixels, `heads` ≤ HEADS_AT_ONCE heads from `first` on. */
static void head_pixels(const struct head_row *row, int p, int count, int first, int heads)
{
    _Alignas(64) float block[LANES * LANES], sums[HEADS_AT_ONCE * LANES];
    size_t weight_stride = (size_t)kernel_blocks(row->channels) * LANES;
    for (int h = 0; h < heads; h++)
        for (int pixel = 0; pixel < LANES; pixel++)
            sums[h * LANES + pixel] = row->bias[first + h];
    for (int c = 0; c < row->channels; c += LANES) {
        int channels = row->channels - c < LANES ? row->channels - c : LANES;
        const float *in = row->in + (size_t)(c / LANES) * row->block_stride;
        turn_pixels(block, in + (size_t)p * LANES, count);
        if (row->relu)
            copy_row(block, block, LANES * LANES, true);
        for (int h = 0; h < heads; h++)
            add_block(sums + h * LANES, block,
                      row->weights + (size_t)(first + h) * weight_stride + c, channels);
    }
    for (int h = 0; h < heads; h++)
        copy_floats(row->out + (size_t)(first + h) * row->plane_stride + p, sums + h * LANES,
                    count);
}

static void head_of_row(const struct head_row *row, int pixels)
{
    for (int p = 0; p < pixels; p += LANES) {
        int count = pixels - p < LANES ? pixels - p : LANES;
        for (int first = 0; first < row->heads; first += HEADS_AT_ONCE) {
            int left = row->heads - first;
            head_pixels(row, p, count, first, left < HEADS_AT_ONCE ? left : HEADS_AT_ONCE);
        }
    }
}

const struct row_ops ROW_OPS = {
    .copy = copy_row,
    .max_pool = max_pool_row,
    .upsample = upsample_row,
    .interleave = interleave_row,
    .from_planes = from_planes_row,
    .to_planes = to_planes_row,
    .head = head_of_row,
};

#endif
