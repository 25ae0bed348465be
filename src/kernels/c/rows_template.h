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

/* Pixels that share a load of a head's weights. */
#define PIXELS_AT_ONCE 4

static inline VECTOR relu_of(VECTOR x)
{
    return vector_max(vector_broadcast(0.0f), x);
}

/* A whole vector mostly: then the size is known to the compiler. */
static inline void copy_floats(float *to, const float *from, int count)
{
    if (count == LANES)
        memcpy(to, from, LANES * sizeof *to);
    else
        memcpy(to, from, (size_t)count * sizeof *to);
}

/* ---------------------------------------------------------------- the greatest logit */

/* Of 16 pixels, so far; the class as a float, which holds them all. */
struct best {
    VECTOR logit[LANES / VECTOR_LANES], index[LANES / VECTOR_LANES];
};

/* `count` classes from `first` on, of `classes` in all, in rows of 16 pixels. A single class has a
 * rival, `above`, and the index 1. */
static inline void pick_best(struct best *best, const float *logits, int first, int count,
                             int classes, float above)
{
    int begin = first == 0 && classes > 1 ? 1 : 0;
    _Alignas(64) float rivals[VECTOR_LANES];
    vector_store(rivals, vector_broadcast(above));
    for (int v = 0; v < LANES / VECTOR_LANES; v++) {
        VECTOR most = best->logit[v], index = best->index[v];
        if (first == 0) {
            most = vector_load(classes > 1 ? logits + v * VECTOR_LANES : rivals);
            index = vector_broadcast(0.0f);
        }
        for (int c = begin; c < count; c++) {
            VECTOR logit = vector_load(logits + c * LANES + v * VECTOR_LANES);
            VECTOR name = vector_broadcast((float)(classes > 1 ? first + c : 1));
            index = vector_choose(logit, most, name, index);
            most = vector_choose(logit, most, logit, most);
        }
        best->logit[v] = most;
        best->index[v] = index;
    }
}

static inline void store_best(const struct best *best, uint8_t *classes, int count)
{
    _Alignas(64) float index[LANES];
    uint8_t bytes[LANES];
    for (int v = 0; v < LANES / VECTOR_LANES; v++)
        vector_store(index + v * VECTOR_LANES, best->index[v]);
    for (int i = 0; i < LANES; i++)
        bytes[i] = (uint8_t)(int)index[i];
    memcpy(classes, bytes, count == LANES ? LANES : (size_t)count);
}

/* ---------------------------------------------------------------- leaves of one type */

#define ELEMENT             float
#define ELEMENT_LOAD(p)     vector_load(p)
#define ELEMENT_STORE(p, v) vector_store(p, v)
#if VECTOR_STREAMS
#define ELEMENT_STREAM(p, v) vector_stream(p, v)
#endif
#define ELEMENT_IS_FLOAT   1
#define ELEMENT_IS_BYTE    0
#define TYPED(name)        name##_f32
#define ELEMENT_STORE_MEAN ELEMENT_STORE
#include "kernels/c/rows_typed_template.h"
#undef ELEMENT
#undef ELEMENT_LOAD
#undef ELEMENT_STORE
#undef ELEMENT_STREAM
#undef ELEMENT_IS_FLOAT
#undef TYPED

#define ELEMENT             uint16_t
#define ELEMENT_LOAD(p)     vector_load_bf16(p)
#define ELEMENT_STORE(p, v) vector_store_bf16(p, v)
#ifdef vector_stream_bf16
#define ELEMENT_STREAM(p, v) vector_stream_bf16(p, v)
#endif
#define ELEMENT_IS_FLOAT 0
#define TYPED(name)      name##_bf16
#include "kernels/c/rows_typed_template.h"
#undef ELEMENT
#undef ELEMENT_LOAD
#undef ELEMENT_STORE
#undef ELEMENT_STREAM
#undef ELEMENT_IS_BYTE
#undef ELEMENT_STORE_MEAN
#undef TYPED

/* Compilers make one instruction of 16 maxima. */
static inline void max_bytes(uint8_t *to, const uint8_t *a, const uint8_t *b)
{
    for (int lane = 0; lane < LANES; lane++)
        to[lane] = a[lane] > b[lane] ? a[lane] : b[lane];
}

static void max_pool_u8(void *to, const void *top_row, const void *bottom_row, int pixels)
{
    uint8_t *out = to;
    const uint8_t *top = top_row, *bottom = bottom_row;
    for (int p = 0; p < pixels; p++, out += LANES, top += 2 * LANES, bottom += 2 * LANES) {
        uint8_t above[LANES], below[LANES];
        max_bytes(above, top, top + LANES);
        max_bytes(below, bottom, bottom + LANES);
        max_bytes(out, above, below);
    }
}

#define ELEMENT                  uint8_t
#define ELEMENT_LOAD(p)          vector_load_u8(p)
#define ELEMENT_STORE(p, v)      vector_store_u8(p, v)
#define ELEMENT_IS_BYTE          1
#define ELEMENT_STORE_MEAN(p, v) vector_store_u8_mean(p, v)
#define TYPED(name)              name##_u8
#include "kernels/c/rows_typed_template.h"

/* ---------------------------------------------------------------- the head */

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

/* products[pixel][lane] = Σ over blocks of weights[block][lane] · in[block][pixel][lane]; called
 * with a constant number of pixels, whose sums stay in registers. */
static inline void multiply_lanes(const struct head_row *row, const float *in, const float *weights,
                                  int pixels, float *products)
{
    VECTOR least = vector_broadcast(row->relu ? 0.0f : -__builtin_inff());
    for (int lane = 0; lane < LANES; lane += VECTOR_LANES) {
        VECTOR sum[PIXELS_AT_ONCE];
        for (int p = 0; p < pixels; p++)
            sum[p] = vector_broadcast(0.0f);
        const float *block = in + lane;
        for (int c = 0; c < row->channels; c += LANES, block += row->block_stride) {
            VECTOR weight = vector_load(weights + c + lane);
            for (int p = 0; p < pixels; p++)
                sum[p] =
                    vector_fma(weight, vector_max(least, vector_load(block + p * LANES)), sum[p]);
        }
        for (int p = 0; p < pixels; p++)
            vector_store(products + p * LANES + lane, sum[p]);
    }
}

/* sums[pixel] = bias + Σ of the row's 16 lanes */
static inline void add_lanes(float *sums, const float *products, float bias)
{
    _Alignas(64) float turned[LANES * LANES];
    transpose16(turned, products, LANES);
    for (int pixel = 0; pixel < LANES; pixel += VECTOR_LANES) {
        VECTOR even = vector_broadcast(bias), odd = vector_broadcast(0.0f);
        for (int lane = 0; lane < LANES; lane += 2) {
            even += vector_load(turned + lane * LANES + pixel);
            odd += vector_load(turned + (lane + 1) * LANES + pixel);
        }
        vector_store(sums + pixel, even + odd);
    }
}

/* The sums of `count` ≤ 16 pixels, where heads are few: channels stay in lanes until the end. */
static void few_heads(const struct head_row *row, int first, int count, float *sums)
{
    _Alignas(64) float products[LANES * LANES];
    const float *in = row->in + (size_t)first * LANES;
    size_t weight_stride = (size_t)kernel_blocks(row->channels) * LANES;
    if (count < LANES)
        memset(products, 0, sizeof products);
    for (int h = 0; h < row->heads; h++) {
        const float *weights = row->weights + (size_t)h * weight_stride;
        int p = 0;
        for (; p + PIXELS_AT_ONCE <= count; p += PIXELS_AT_ONCE)
            multiply_lanes(row, in + p * LANES, weights, PIXELS_AT_ONCE, products + p * LANES);
        for (; p < count; p++)
            multiply_lanes(row, in + p * LANES, weights, 1, products + p * LANES);
        add_lanes(sums + h * LANES, products, row->bias[h]);
    }
}

/* The sums of `count` ≤ 16 pixels, `heads` ≤ HEADS_AT_ONCE heads from `first` on. */
static void head_pixels(const struct head_row *row, int p, int count, int first, int heads,
                        float *sums)
{
    _Alignas(64) float block[LANES * LANES];
    size_t weight_stride = (size_t)kernel_blocks(row->channels) * LANES;
    for (int h = 0; h < heads; h++)
        for (int pixel = 0; pixel < LANES; pixel++)
            sums[h * LANES + pixel] = row->bias[first + h];
    for (int c = 0; c < row->channels; c += LANES) {
        int channels = row->channels - c < LANES ? row->channels - c : LANES;
        const float *in = row->in + (size_t)(c / LANES) * row->block_stride;
        turn_pixels(block, in + (size_t)p * LANES, count);
        if (row->relu)
            copy_f32(block, block, LANES * LANES, true);
        for (int h = 0; h < heads; h++)
            add_block(sums + h * LANES, block,
                      row->weights + (size_t)(first + h) * weight_stride + c, channels);
    }
}

static void head_to_planes(const struct head_row *row, int p, int first, int heads,
                           const float *sums, int count)
{
    for (int h = 0; h < heads; h++)
        copy_floats(row->out + (size_t)(first + h) * row->plane_stride + p, sums + h * LANES,
                    count);
}

static void head_of_row(const struct head_row *row, int pixels)
{
    _Alignas(64) float sums[HEADS_AT_ONCE * LANES];
    struct best best;
    /* A transpose a head instead of one a block. */
    bool few = row->heads <= kernel_blocks(row->channels) && row->heads <= HEADS_AT_ONCE;
    for (int p = 0; p < pixels; p += LANES) {
        int count = pixels - p < LANES ? pixels - p : LANES;
        for (int first = 0; first < row->heads; first += HEADS_AT_ONCE) {
            int left = row->heads - first;
            int heads = left < HEADS_AT_ONCE ? left : HEADS_AT_ONCE;
            if (few)
                few_heads(row, p, count, sums);
            else
                head_pixels(row, p, count, first, heads, sums);
            if (row->mask.classes != NULL)
                pick_best(&best, sums, first, heads, row->heads, row->mask.above);
            else
                head_to_planes(row, p, first, heads, sums, count);
        }
        if (row->mask.classes != NULL)
            store_best(&best, row->mask.classes + p, count);
    }
}

#define TYPED_ROW_OPS(type)                                                                        \
    {                                                                                              \
        .copy = copy_##type, .copy_stream = copy_stream_##type,                                    \
        .max_pool_sums = max_pool_sums_##type, .max_pool = max_pool_##type,                        \
        .upsample = upsample_##type, .interleave = interleave_##type,                              \
        .from_planes = from_planes_##type, .to_planes = to_planes_##type,                          \
        .from_pixels = from_pixels_##type, .to_mask = to_mask_##type,                              \
    }

const struct row_ops ROW_OPS = {
    .of = {[KERNEL_F32] = TYPED_ROW_OPS(f32),
           [KERNEL_BF16] = TYPED_ROW_OPS(bf16),
           [KERNEL_U8] = TYPED_ROW_OPS(u8)},
    .head = head_of_row,
};

#endif
