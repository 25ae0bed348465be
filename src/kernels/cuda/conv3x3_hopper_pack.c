#include "kernels/cuda/conv3x3_hopper_pack.h"

#include "base/bf16.h"
#include "base/f16.h"
#include "kernels/cuda/gemm.h"

#include <string.h>

static int divide_up(int value, int by)
{
    return (value + by - 1) / by;
}

int hopper_source_chunks(const struct kernel_desc *desc, int source, int row_bytes)
{
    int bytes = desc->source_channels[source] * (int)kernel_type_bytes(desc->in_type);
    return divide_up(bytes, row_bytes);
}

int hopper_chunks(const struct kernel_desc *desc, int row_bytes)
{
    int chunks = 0;
    for (int s = 0; s < desc->source_count; s++)
        chunks += hopper_source_chunks(desc, s, row_bytes);
    return chunks;
}

/* Narrow chunks where they save a quarter of the products at least. */
int hopper_row_bytes(const struct kernel_desc *desc)
{
    int narrow = hopper_chunks(desc, HOPPER_NARROW), wide = 2 * hopper_chunks(desc, HOPPER_WIDE);
    return 4 * narrow <= 3 * wide ? HOPPER_NARROW : HOPPER_WIDE;
}

int hopper_output_tiles(const struct kernel_desc *desc)
{
    return divide_up(desc->out_channels, HOPPER_OUTPUTS);
}

/* ---- packed weights ---- */

bool hopper_has_steps(const struct kernel_desc *desc)
{
    return byte_weights_type(desc->in_type);
}

struct hopper_packing hopper_packing_of(const struct kernel_desc *desc)
{
    struct hopper_packing p = {.row_bytes = hopper_row_bytes(desc)};
    bool whole = desc->in_type == KERNEL_U8, steps = hopper_has_steps(desc);
    p.chunks = hopper_chunks(desc, p.row_bytes);
    p.rows = hopper_output_tiles(desc) * HOPPER_OUTPUTS;
    p.piece = (size_t)HOPPER_OUTPUTS * (size_t)p.row_bytes;
    size_t floats = (size_t)p.rows * sizeof(float), heads = (size_t)desc->head_channels;
    p.bias = p.piece * HOPPER_TAPS * (size_t)(p.chunks * hopper_output_tiles(desc));
    p.step = p.bias + floats;
    p.shift = p.step + (steps ? floats : 0);
    p.head_weight = p.shift + (whole ? floats * (size_t)desc->source_count : 0);
    p.head_bias = p.head_weight + heads * HOPPER_OUTPUTS * sizeof(float);
    p.bytes = p.head_bias + heads * sizeof(float);
    return p;
}

size_t hopper_packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    return hopper_packing_of(desc).bytes;
}

/* The channel that a row stands for: rows r and r + 8 of a warp's 16 are neighbours. */
static int output_of(int row)
{
    return row / 16 * 16 + row % 8 * 2 + row / 8 % 2;
}

/* Where a piece's 16 bytes number `part` of row `row` lie, as the copy engine would put them. */
static size_t swizzled(int row_bytes, int row, int part)
{
    int at = row_bytes == HOPPER_WIDE ? part ^ row % 8 : part ^ row / 2 % 4;
    return (size_t)row * (size_t)row_bytes + (size_t)at * GPU_PIECE;
}

/* `count` channels of one tap, `stride` apart, as 16 bytes. */
static void pack_part(enum kernel_type type, const float *from, size_t stride, int count,
                      float step, char *to)
{
    memset(to, 0, GPU_PIECE);
    for (int i = 0; i < count; i++) {
        float value = from[(size_t)i * stride];
        uint16_t half = type == KERNEL_F16 ? f16_from_float(value) : bf16_from_float(value);
        if (type == KERNEL_F32) {
            value = gemm_round_tf32(value);
            memcpy(to + (size_t)i * sizeof value, &value, sizeof value);
        } else if (byte_weights_type(type)) {
            to[i] = (char)byte_weights_byte(type, value, step);
        } else {
            memcpy(to + (size_t)i * sizeof half, &half, sizeof half);
        }
    }
}

/* One source's weights of one output: its rows of the pieces of the chunks from `chunk` on. */
static void pack_row(const struct hopper_packing *p, const struct kernel_desc *desc,
                     const struct weight_row *from, int row, int chunk, float step, char *packed)
{
    int per = GPU_PIECE / (int)kernel_type_bytes(desc->in_type), parts = p->row_bytes / GPU_PIECE;
    size_t tile = (size_t)(row / HOPPER_OUTPUTS) * (size_t)p->chunks + (size_t)chunk;
    for (int part = 0; part * per < from->inputs; part++)
        for (int tap = 0; tap < HOPPER_TAPS; tap++) {
            size_t piece = (tile + (size_t)(part / parts)) * HOPPER_TAPS + (size_t)tap;
            int left = from->inputs - part * per;
            pack_part(desc->in_type, from->first + (size_t)(part * per) * from->stride + tap,
                      from->stride, left < per ? left : per, step,
                      packed + piece * p->piece +
                          swizzled(p->row_bytes, row % HOPPER_OUTPUTS, part % parts));
        }
}

/* 128 · Σ of the rounded weights. */
static int32_t shift_of(const struct weight_row *from, float step)
{
    int32_t sum = 0;
    for (int i = 0; i < from->inputs * from->taps; i++)
        sum += (int8_t)byte_weights_byte(KERNEL_U8, from->first[i], step);
    return 128 * sum;
}

/* A row of all sources: weights, and what bytes need beside them. */
static void pack_output(const struct hopper_packing *p, const struct kernel_desc *desc,
                        const struct kernel_weights *weights, int row, char *packed)
{
    int inputs = 0, first = 0, chunk = 0, output = output_of(row);
    bool whole = desc->in_type == KERNEL_U8;
    int32_t *shift = (int32_t *)(void *)(packed + p->shift);
    float step = 1.0f;
    for (int s = 0; s < desc->source_count; s++)
        inputs += desc->source_channels[s];
    const float *own = weights->weight + (size_t)output * (size_t)inputs * HOPPER_TAPS;
    struct weight_row all = {own, HOPPER_TAPS, inputs, HOPPER_TAPS};
    float bias = weights->bias != NULL ? weights->bias[output] : 0.0f;
    if (hopper_has_steps(desc)) {
        step = byte_weights_step(desc->in_type, weights, output, &all);
        bias = (float)((double)bias + byte_weights_lost(desc->in_type, weights, step, &all));
        ((float *)(void *)(packed + p->step))[row] = step;
    }
    ((float *)(void *)(packed + p->bias))[row] = bias;
    for (int s = 0; s < desc->source_count; s++) {
        struct weight_row from = {own + (size_t)first * HOPPER_TAPS, HOPPER_TAPS,
                                  desc->source_channels[s], HOPPER_TAPS};
        pack_row(p, desc, &from, row, chunk, step, packed);
        if (whole)
            shift[s * p->rows + row] = shift_of(&from, step);
        first += from.inputs;
        chunk += hopper_source_chunks(desc, s, p->row_bytes);
    }
}

void hopper_pack(const struct kernel *kernel, const struct kernel_desc *desc,
                 const struct kernel_weights *weights, void *packed)
{
    (void)kernel;
    struct hopper_packing p = hopper_packing_of(desc);
    char *to = packed;
    memset(to, 0, p.bytes);
    for (int row = 0; row < p.rows && weights->weight != NULL; row++)
        if (output_of(row) < desc->out_channels)
            pack_output(&p, desc, weights, row, to);
    for (int k = 0; k < desc->head_channels; k++) {
        size_t bytes = (size_t)desc->out_channels * sizeof(float);
        if (weights->head_weight != NULL)
            memcpy(to + p.head_weight + (size_t)k * HOPPER_OUTPUTS * sizeof(float),
                   weights->head_weight + (size_t)k * (size_t)desc->out_channels, bytes);
        if (weights->head_bias != NULL)
            memcpy(to + p.head_bias + (size_t)k * sizeof(float), weights->head_bias + k,
                   sizeof(float));
    }
}
