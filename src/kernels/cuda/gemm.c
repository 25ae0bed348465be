#include "kernels/cuda/gemm.h"

#include "base/bf16.h"
#include "base/f16.h"
#include "kernels/conv_pack.h"
#include "kernels/cuda/view.h"

#include <string.h>

#define QUARTERS 4   /* results of a transposed convolution's pixel */
#define ZERO     128 /* that a signed byte 0 stands for */

const struct gemm_method gemm_f16 = {KERNEL_F16, false, gpu_gemm_f16};
const struct gemm_method gemm_bf16 = {KERNEL_BF16, false, gpu_gemm_bf16};
const struct gemm_method gemm_tf32 = {KERNEL_F32, true, gpu_gemm_tf32};
const struct gemm_method gemm_f32 = {KERNEL_F32, false, gpu_gemm_f32};
const struct gemm_method gemm_u8 = {KERNEL_U8, false, gpu_gemm_u8};
const struct gemm_method gemm_e4m3 = {KERNEL_E4M3, false, gpu_gemm_e4m3};

bool gemm_may_use_tf32(const struct kernel_desc *desc)
{
    bool wide = desc->out_type == KERNEL_F32 || (desc->pool && desc->pooled_type == KERNEL_F32);
    return desc->tf32 || !wide;
}

const char *gemm_refuse(const struct gemm_method *method, const struct kernel_desc *desc)
{
    static const char *const reasons[KERNEL_TYPE_COUNT] = {
        [KERNEL_F32] = "float32 inputs only", [KERNEL_F16] = "f16 inputs only",
        [KERNEL_BF16] = "bf16 inputs only",   [KERNEL_U8] = "u8 inputs only",
        [KERNEL_E4M3] = "e4m3 inputs only",
    };
    if (desc->in_type != method->in)
        return reasons[method->in];
    const char *reason = conv_refuse_numbers(desc);
    if (reason != NULL)
        return reason;
    if (method->in == KERNEL_U8 && conv_may_overflow(desc))
        return "too many channels for sums of 32 bits";
    if (method->tf32 && !gemm_may_use_tf32(desc))
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
    return round_up((size_t)desc->source_channels[s] * kernel_type_bytes(desc->in_type), GPU_PIECE);
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
    size_t block =
        round_up(outs, outs <= GPU_GEMM_CHANNELS ? GPU_GEMM_CHANNELS : 2 * GPU_GEMM_CHANNELS);
    size_t outputs = desc->op == KERNEL_CONV ? block : QUARTERS * block;
    layout.block = (int)block;
    layout.outputs = (int)outputs;
    layout.bias = steps(desc) * outputs * GPU_GEMM_CHUNK;
    layout.head_weight = layout.bias + outputs * sizeof(float);
    layout.head_bias = layout.head_weight + heads * outs * sizeof(float);
    layout.step = layout.head_bias + heads * sizeof(float);
    layout.shift = layout.bytes =
        layout.step + (byte_weights_type(desc->in_type) ? outputs * sizeof(float) : 0);
    if (desc->in_type == KERNEL_U8)
        layout.bytes = layout.shift + (size_t)desc->source_count * outputs * sizeof(int32_t);
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

static void put(const struct gemm_method *method, char *to, float value, float step)
{
    if (method->in == KERNEL_F32) {
        float rounded = method->tf32 ? gemm_round_tf32(value) : value;
        memcpy(to, &rounded, sizeof rounded);
    } else if (byte_weights_type(method->in)) {
        *to = (char)byte_weights_byte(method->in, value, step);
    } else {
        uint16_t half = method->in == KERNEL_F16 ? f16_from_float(value) : bf16_from_float(value);
        memcpy(to, &half, sizeof half);
    }
}

static int all_inputs(const struct kernel_desc *desc)
{
    int inputs = 0;
    for (int s = 0; s < desc->source_count; s++)
        inputs += desc->source_channels[s];
    return inputs;
}

/* `count` taps of an output, from `tap` on, in PyTorch's order of weights. Those of a transposed
 * convolution are its results. */
static struct weight_row row_of(const struct kernel_desc *desc,
                                const struct kernel_weights *weights, size_t o, size_t tap,
                                int count)
{
    struct weight_row row = {NULL, 0, all_inputs(desc), count};
    size_t outs = (size_t)desc->out_channels, all = (size_t)desc->kernel_h * (size_t)desc->kernel_w;
    bool conv = desc->op == KERNEL_CONV;
    row.stride = conv ? all : outs * all;
    if (o < outs && weights->weight != NULL)
        row.first = weights->weight + o * (conv ? (size_t)row.inputs : 1) * all + tap;
    return row;
}

/* One for all taps. */
static float step_of(const struct kernel_desc *desc, const struct kernel_weights *weights, size_t o)
{
    struct weight_row row = row_of(desc, weights, o, 0, desc->kernel_h * desc->kernel_w);
    return o < (size_t)desc->out_channels ? byte_weights_step(desc->in_type, weights, (int)o, &row)
                                          : 1.0f;
}

static float bias_of(const struct kernel_desc *desc, const struct kernel_weights *weights, size_t n,
                     size_t block)
{
    size_t o = n % block;
    if (o >= (size_t)desc->out_channels)
        return 0.0f;
    float bias = weights->bias != NULL ? weights->bias[o] : 0.0f;
    if (!byte_weights_type(desc->in_type))
        return bias;
    struct weight_row row = row_of(desc, weights, o, n / block, (int)taps(desc));
    float step = step_of(desc, weights, o);
    return (float)((double)bias + byte_weights_lost(desc->in_type, weights, step, &row));
}

/* A transposed convolution's blocks of outputs are its taps. */
void gemm_pack_row(const struct gemm_packing *packing, int s, size_t n, size_t tap, size_t first,
                   size_t last, size_t bytes, char *to)
{
    const struct kernel_desc *desc = packing->desc;
    size_t block = (size_t)packing->layout.block, outputs = (size_t)packing->layout.outputs;
    size_t element = kernel_type_bytes(packing->method->in);
    size_t at = desc->op == KERNEL_CONV ? tap : n / block;
    struct weight_row row = row_of(desc, packing->weights, n % block, at, 1);
    float step = packing->steps != NULL ? packing->steps[n] : 1.0f;
    for (size_t i = 0; i < bytes / element; i++) {
        bool there = row.first != NULL && first + i < last;
        put(packing->method, to + i * element, there ? row.first[(first + i) * row.stride] : 0.0f,
            step);
    }
    for (size_t i = 0; i < bytes && packing->shifts != NULL; i++)
        packing->shifts[(size_t)s * outputs + n] += ZERO * (int8_t)to[i];
}

static void copy_or_clear(void *to, const float *from, size_t count)
{
    if (from != NULL && count > 0)
        memcpy(to, from, count * sizeof(float));
    else
        memset(to, 0, count * sizeof(float));
}

static void begin_steps(struct gemm_packing *packing, char *packed)
{
    const struct gemm_layout *layout = &packing->layout;
    float *steps = (float *)(void *)(packed + layout->step);
    if (packing->method->in == KERNEL_U8)
        packing->shifts = (int32_t *)(void *)(packed + layout->shift);
    for (size_t n = 0; n < (size_t)layout->outputs; n++)
        steps[n] = step_of(packing->desc, packing->weights, n % (size_t)layout->block);
    packing->steps = steps;
    memset(packed + layout->shift, 0, layout->bytes - layout->shift);
}

struct gemm_packing gemm_begin_packing(const struct gemm_method *method,
                                       const struct kernel_desc *desc,
                                       const struct kernel_weights *weights, void *packed)
{
    struct gemm_packing packing = {method, desc, weights, gemm_layout(desc), NULL, NULL};
    const struct gemm_layout *layout = &packing.layout;
    size_t outs = (size_t)desc->out_channels, heads = (size_t)desc->head_channels;
    char *bytes = packed;
    float *bias = (float *)(void *)(bytes + layout->bias);
    for (size_t n = 0; n < (size_t)layout->outputs; n++)
        bias[n] = bias_of(desc, weights, n, (size_t)layout->block);
    copy_or_clear(bytes + layout->head_weight, weights->head_weight, heads * outs);
    copy_or_clear(bytes + layout->head_bias, weights->head_bias, heads);
    if (byte_weights_type(method->in))
        begin_steps(&packing, bytes);
    return packing;
}

/* All chunks of source s, whose first channel is the `first` of all. Returns their end. */
static char *pack_source(const struct gemm_packing *packing, int s, size_t first, char *to)
{
    const struct kernel_desc *desc = packing->desc;
    size_t chunk = GPU_GEMM_CHUNK / kernel_type_bytes(packing->method->in);
    size_t last = first + (size_t)desc->source_channels[s];
    for (; first < last; first += chunk)
        for (size_t tap = 0; tap < taps(desc); tap++)
            for (size_t n = 0; n < (size_t)packing->layout.outputs; n++, to += GPU_GEMM_CHUNK)
                gemm_pack_row(packing, s, n, tap, first, last, GPU_GEMM_CHUNK, to);
    return to;
}

size_t gemm_packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    return gemm_layout(desc).bytes;
}

void gemm_pack(const struct kernel *kernel, const struct kernel_desc *desc,
               const struct kernel_weights *weights, void *packed)
{
    struct gemm_packing packing = gemm_begin_packing(kernel->method, desc, weights, packed);
    char *to = packed;
    size_t first = 0;
    for (int s = 0; s < desc->source_count; s++) {
        to = pack_source(&packing, s, first, to);
        first += (size_t)desc->source_channels[s];
    }
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
    if (byte_weights_type(desc->in_type))
        gemm.step = (const float *)(const void *)(packed + layout.step);
    if (desc->in_type == KERNEL_U8)
        gemm.shift = (const int *)(const void *)(packed + layout.shift);
    for (int s = 0; s < desc->source_count; s++)
        gemm.sources[s] = gpu_view(&args->sources[s]);
    return gemm;
}

/* The results of a tile of so many outputs wait in shared memory. */
static bool fits(const struct gpu_gemm *gemm, int tile, const struct device *device)
{
    size_t bytes = kernel_type_bytes((enum kernel_type)gemm->out.type);
    size_t results = (size_t)GPU_GEMM_ROWS * GPU_GEMM_COLUMNS * ((size_t)tile * bytes + GPU_PIECE);
    return gemm->outputs % tile == 0 && results <= device->shared_bytes;
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
