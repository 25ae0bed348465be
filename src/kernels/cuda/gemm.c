#include "kernels/cuda/gemm.h"

#include "base/bf16.h"
#include "base/f16.h"
#include "kernels/cuda/view.h"

#include <string.h>

#define QUARTERS 4 /* results of a transposed convolution's pixel */

const struct gemm_method gemm_f16 = {KERNEL_F16, false, gpu_gemm_f16};
const struct gemm_method gemm_bf16 = {KERNEL_BF16, false, gpu_gemm_bf16};
const struct gemm_method gemm_tf32 = {KERNEL_F32, true, gpu_gemm_tf32};
const struct gemm_method gemm_f32 = {KERNEL_F32, false, gpu_gemm_f32};

/* Products with 10 bits of mantissa err less than rounding the result to 16 bits does. */
static bool may_use_tf32(const struct kernel_desc *desc)
{
    return desc->tf32 || desc->out_type == KERNEL_F16 || desc->out_type == KERNEL_BF16;
}

const char *gemm_refuse(const struct gemm_method *method, const struct kernel_desc *desc)
{
    if (desc->in_type != method->in)
        return method->in == KERNEL_F32    ? "float32 inputs only"
               : method->in == KERNEL_F16 ? "f16 inputs only"
                                          : "bf16 inputs only";
    if (method->tf32 && !may_use_tf32(desc))
        return "multiplies with 10 bits of mantissa";
    return desc->upsampled != 0 ? "no up-sampled source" : NULL;
}

static size_t round_up(size_t value, size_t step)
{
    return (value + step - 1) / step * step;
}

/* Bytes of a pixel of a source. */
static size_t source_bytes(const struct kernel_desc *desc, int s)
{
    return round_up((size_t)desc->source_channels[s] * kernel_type_bytes(desc->in_type),
                    GPU_PIECE);
}

static size_t taps(const struct kernel_desc *desc)
{
    return desc->op == KERNEL_CONV ? (size_t)desc->kernel_h * (size_t)desc->kernel_w : 1;
}

static size_t steps(const struct kernel_desc *desc)
{
    size_t chunks = 0;
    for (int s = 0; s < desc->source_count; s++)
        chunks += round_up(source_bytes(desc, s), GPU_GEMM_CHUNK) / GPU_GEMM_CHUNK;
    return chunks * taps(desc);
}

struct gemm_layout gemm_layout(const struct kernel_desc *desc)
{
    struct gemm_layout layout;
    size_t outs = (size_t)desc->out_channels, heads = (size_t)desc->head_channels;
    size_t block = round_up(outs, outs <= GPU_GEMM_CHANNELS ? GPU_GEMM_CHANNELS
                                                            : 2 * GPU_GEMM_CHANNELS);
    size_t outputs = desc->op == KERNEL_CONV ? block : QUARTERS * block;
    layout.block = (int)block;
    layout.outputs = (int)outputs;
    layout.bias = steps(desc) * outputs * GPU_GEMM_CHUNK;
    layout.head_weight = layout.bias + outputs * sizeof(float);
    layout.head_bias = layout.head_weight + heads * outs * sizeof(float);
    layout.bytes = layout.head_bias + heads * sizeof(float);
    return layout;
}

float gemm_round_tf32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7f800000u) != 0x7f800000u)
        bits += 0x1000u;
    bits &= ~0x1fffu;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void put(const struct gemm_method *method, char *to, float value)
{
    uint16_t half = method->in == KERNEL_F16 ? f16_from_float(value) : bf16_from_float(value);
    if (method->tf32)
        value = gemm_round_tf32(value);
    if (method->in == KERNEL_F32)
        memcpy(to, &value, sizeof value);
    else
        memcpy(to, &half, sizeof half);
}

/* What an output and a tap are in PyTorch's order of weights. */
struct row_place {
    const float *first; /* of input 0; NULL: zeros */
    size_t stride;      /* to the next input's */
};

static struct row_place row_of(const struct kernel_desc *desc, const struct kernel_weights *weights,
                               size_t block, size_t output, size_t tap)
{
    size_t inputs = 0, outs = (size_t)desc->out_channels, o = output % block;
    for (int s = 0; s < desc->source_count; s++)
        inputs += (size_t)desc->source_channels[s];
    if (o >= outs || weights->weight == NULL)
        return (struct row_place){NULL, 0};
    if (desc->op == KERNEL_CONV)
        return (struct row_place){weights->weight + o * inputs * taps(desc) + tap, taps(desc)};
    return (struct row_place){weights->weight + o * QUARTERS + output / block, outs * QUARTERS};
}

/* The chunk of channels [first, last) of all inputs, one output's. */
static void pack_chunk(const struct gemm_method *method, const struct row_place *row, size_t first,
                       size_t last, char *to)
{
    size_t bytes = kernel_type_bytes(method->in);
    for (size_t at = 0; at < GPU_GEMM_CHUNK / bytes; at++) {
        bool there = row->first != NULL && first + at < last;
        put(method, to + at * bytes, there ? row->first[(first + at) * row->stride] : 0.0f);
    }
}

/* All chunks of source s, whose first channel is the `first` of all. */
static char *pack_source(const struct gemm_method *method, const struct kernel_desc *desc,
                         const struct kernel_weights *weights, int s, size_t first, char *to)
{
    struct gemm_layout layout = gemm_layout(desc);
    size_t chunk = GPU_GEMM_CHUNK / kernel_type_bytes(method->in);
    size_t last = first + (size_t)desc->source_channels[s];
    for (; first < last; first += chunk)
        for (size_t tap = 0; tap < taps(desc); tap++)
            for (size_t n = 0; n < (size_t)layout.outputs; n++, to += GPU_GEMM_CHUNK) {
                struct row_place row = row_of(desc, weights, (size_t)layout.block, n, tap);
                pack_chunk(method, &row, first, last, to);
            }
    return to;
}

static void copy_or_clear(void *to, const float *from, size_t count)
{
    if (from != NULL && count > 0)
        memcpy(to, from, count * sizeof(float));
    else
        memset(to, 0, count * sizeof(float));
}

void gemm_pack(const struct gemm_method *method, const struct kernel_desc *desc,
               const struct kernel_weights *weights, void *packed)
{
    struct gemm_layout layout = gemm_layout(desc);
    char *bytes = packed, *to = bytes;
    size_t first = 0, outs = (size_t)desc->out_channels, heads = (size_t)desc->head_channels;
    for (int s = 0; s < desc->source_count; s++) {
        to = pack_source(method, desc, weights, s, first, to);
        first += (size_t)desc->source_channels[s];
    }
    memset(bytes + layout.bias, 0, (size_t)layout.outputs * sizeof(float));
    for (size_t at = 0; at < (size_t)layout.outputs; at += (size_t)layout.block)
        copy_or_clear(bytes + layout.bias + at * sizeof(float), weights->bias, outs);
    copy_or_clear(bytes + layout.head_weight, weights->head_weight, heads * outs);
    copy_or_clear(bytes + layout.head_bias, weights->head_bias, heads);
}

struct gpu_gemm gemm_begin(const struct kernel_desc *desc, const struct kernel_args *args)
{
    struct gemm_layout layout = gemm_layout(desc);
    const char *packed = args->packed;
    bool conv = desc->op == KERNEL_CONV;
    struct gpu_gemm gemm = {
        .source_count = desc->source_count,
        .kernel_h = conv ? desc->kernel_h : 1,
        .kernel_w = conv ? desc->kernel_w : 1,
        .stride = conv ? desc->stride : 1,
        .padding = conv ? desc->padding : 0,
        .outputs = layout.outputs,
        .block = layout.block,
        .scale = conv ? 1 : 2,
        .weights = packed,
        .bias = (const float *)(const void *)(packed + layout.bias),
        .relu = desc->relu,
    };
    for (int s = 0; s < desc->source_count; s++)
        gemm.sources[s] = gpu_view(&args->sources[s]);
    return gemm;
}

/* The results of a tile of so many outputs wait in shared memory. */
static bool fits(const struct gpu_gemm *gemm, int tile, const struct device *device)
{
    size_t bytes = kernel_type_bytes((enum kernel_type)gemm->out.type);
    size_t results = (size_t)GPU_GEMM_ROWS * GPU_GEMM_COLUMNS * ((size_t)tile * bytes + GPU_PIECE);
    return gemm->block % tile == 0 && results <= device->shared_bytes;
}

static long tiles(const struct gpu_gemm *gemm, int tile)
{
    long rows = (gemm->rows + GPU_GEMM_ROWS - 1) / GPU_GEMM_ROWS;
    long columns = (gemm->columns + GPU_GEMM_COLUMNS - 1) / GPU_GEMM_COLUMNS;
    return rows * columns * (gemm->outputs / tile) * gemm->out.images;
}

unet_status gemm_enqueue(const struct kernel *kernel, const struct gpu_gemm *gemm,
                         struct device_stream *stream, unet_error *error)
{
    int tile = 4 * GPU_GEMM_CHANNELS, least = 2 * GPU_GEMM_CHANNELS;
    if (gemm->head.channels > 0)
        least = gemm->outputs;
    while (tile > GPU_GEMM_CHANNELS &&
           (!fits(gemm, tile, stream->device) ||
            (tile > least && tiles(gemm, tile) < stream->device->facts.multiprocessors)))
        tile /= 2;
    const struct gemm_method *method = kernel->method;
    TRY_CUDA(method->enqueue(gemm, tile, stream->stream), kernel->name);
    return UNET_OK;
}
