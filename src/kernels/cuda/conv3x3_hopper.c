/* The 3x3 convolutions of compute capability 9.0 as kernels: what they refuse, their packed weights,
 * their tensor maps, and how many blocks. */
#include "kernels/cuda/conv3x3_hopper.h"

#include "base/bf16.h"
#include "base/f16.h"
#include "kernels/byte_weights.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/list.h"
#include "kernels/cuda/view.h"

#include <cudaTypedefs.h>
#include <string.h>

#ifndef HOPPER_EARLY
#define HOPPER_EARLY true
#endif
#define COLUMNS    8 /* of a tile */
#define STRIP_ROWS 4 /* of what is the least that is stored */
#define WIDE    128
#define NARROW  64

/* What sets the kernels apart. The width of chunks is the description's. */
struct hopper_method {
    enum kernel_type in;
    enum hopper_mode mode;
    int pixels, cluster;
    hopper_function *enqueue;
};

static int divide_up(int value, int by)
{
    return (value + by - 1) / by;
}

static int chunks_of(const struct kernel_desc *desc, int row_bytes)
{
    int chunks = 0;
    for (int s = 0; s < desc->source_count; s++)
        chunks += divide_up(desc->source_channels[s] * (int)kernel_type_bytes(desc->in_type),
                            row_bytes);
    return chunks;
}

/* Narrow chunks where they save a quarter of the products at least. */
static int row_bytes_of(const struct kernel_desc *desc)
{
    int narrow = chunks_of(desc, NARROW), wide = 2 * chunks_of(desc, WIDE);
    return 4 * narrow <= 3 * wide ? NARROW : WIDE;
}

static struct hopper_shape shape_of(const struct hopper_method *method,
                                    const struct kernel_desc *desc)
{
    return (struct hopper_shape){method->mode, method->pixels, row_bytes_of(desc),
                                 method->cluster};
}

static int output_tiles(const struct kernel_desc *desc)
{
    return divide_up(desc->out_channels, HOPPER_OUTPUTS);
}

static enum kernel_type result_type(const struct kernel_desc *desc)
{
    return !desc->store_out && desc->pool ? desc->pooled_type : desc->out_type;
}

/* ---- what is refused ---- */

static const char *refuse_types(const struct hopper_method *method, const struct kernel_desc *desc)
{
    if (desc->in_type != method->in)
        return "sources of another type";
    if (desc->in_type == KERNEL_F32 && !gemm_may_use_tf32(desc))
        return "multiplies with 10 bits of mantissa";
    if (desc->store_out && desc->pool && desc->pooled_type != desc->out_type)
        return "one type for both results";
    return NULL;
}

static const char *refuse_mode(const struct hopper_method *method, const struct kernel_desc *desc)
{
    struct hopper_shape shape = shape_of(method, desc);
    int chunks = chunks_of(desc, shape.row_bytes);
    if (shape.row_bytes == NARROW && (method->mode == HOPPER_SPLIT || method->pixels != 256))
        return "wider sources only";
    if (method->mode == HOPPER_RESIDENT && chunks * HOPPER_TAPS > hopper_resident(shape))
        return "more weights than stay in shared memory";
    if (method->mode == HOPPER_SPLIT && chunks < 2 * method->cluster)
        return "too few channels to share out";
    return chunks > HOPPER_MAX_CHUNKS ? "too many channels" : NULL;
}

static const char *refuse_head(const struct hopper_method *method, const struct kernel_desc *desc)
{
    if (desc->head_channels == 0)
        return NULL;
    if (desc->store_out || desc->pool)
        return "a head alone";
    if (desc->head_channels > HOPPER_HEAD || desc->out_channels > HOPPER_OUTPUTS)
        return "heads of at most 8 classes and 64 inputs";
    return method->mode == HOPPER_SPLIT ? "no head" : NULL;
}

static const char *refuse(const struct kernel *kernel, const struct kernel_desc *desc)
{
    const struct hopper_method *method = kernel->method;
    if (desc->kernel_h != 3 || desc->kernel_w != 3 || desc->stride != 1 || desc->padding != 1)
        return "3×3 only";
    if (desc->upsampled != 0)
        return "no up-sampled source";
    const char *refusal = refuse_types(method, desc);
    if (refusal == NULL)
        refusal = refuse_mode(method, desc);
    return refusal != NULL ? refusal : refuse_head(method, desc);
}

/* ---- packed weights ---- */

/* Rows are those of all output tiles. `shift` is, for each source of bytes, what its rows' sums lose
 * where its bytes are stored 128 less. */
struct packing {
    int row_bytes, chunks, rows;
    size_t piece, bias, step, shift, head_weight, head_bias, bytes;
};

static struct packing packing_of(const struct kernel_desc *desc)
{
    struct packing p = {.row_bytes = row_bytes_of(desc)};
    bool whole = desc->in_type == KERNEL_U8;
    p.chunks = chunks_of(desc, p.row_bytes);
    p.rows = output_tiles(desc) * HOPPER_OUTPUTS;
    p.piece = (size_t)HOPPER_OUTPUTS * (size_t)p.row_bytes;
    size_t floats = (size_t)p.rows * sizeof(float), heads = (size_t)desc->head_channels;
    p.bias = p.piece * HOPPER_TAPS * (size_t)(p.chunks * output_tiles(desc));
    p.step = p.bias + floats;
    p.shift = p.step + (whole ? floats : 0);
    p.head_weight = p.shift + (whole ? floats * (size_t)desc->source_count : 0);
    p.head_bias = p.head_weight + heads * HOPPER_OUTPUTS * sizeof(float);
    p.bytes = p.head_bias + heads * sizeof(float);
    return p;
}

static size_t packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    return packing_of(desc).bytes;
}

/* The channel that a row stands for: rows r and r + 8 of a warp's 16 are neighbours, unless 16 bits
 * come out. */
static int output_of(const struct kernel_desc *desc, int row)
{
    enum kernel_type result = result_type(desc);
    if (desc->head_channels == 0 && (result == KERNEL_F16 || result == KERNEL_BF16))
        return row;
    return row / 16 * 16 + row % 8 * 2 + row / 8 % 2;
}

/* Where a piece's 16 bytes number `part` of row `row` lie, as the copy engine would put them. */
static size_t swizzled(int row_bytes, int row, int part)
{
    int at = row_bytes == WIDE ? part ^ row % 8 : part ^ row / 2 % 4;
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
        } else if (type != KERNEL_U8) {
            memcpy(to + (size_t)i * sizeof half, &half, sizeof half);
        } else if (i % 4 == 0) {
            value = byte_weights_word(from + (size_t)i * stride, stride, count - i, step);
            memcpy(to + i, &value, sizeof value);
        }
    }
}

/* One source's weights of one output: its rows of the pieces of the chunks from `chunk` on. */
static void pack_row(const struct packing *p, const struct kernel_desc *desc,
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
    for (int i = 0; i < from->inputs * from->taps; i++) {
        float word = byte_weights_word(from->first + i, 0, 1, step);
        int8_t weight;
        memcpy(&weight, &word, sizeof weight);
        sum += weight;
    }
    return 128 * sum;
}

/* A row of all sources: weights, and what bytes need beside them. */
static void pack_output(const struct packing *p, const struct kernel_desc *desc,
                        const struct kernel_weights *weights, int row, char *packed)
{
    int inputs = 0, first = 0, chunk = 0, output = output_of(desc, row);
    bool whole = desc->in_type == KERNEL_U8;
    int32_t *shift = (int32_t *)(void *)(packed + p->shift);
    float step = 1.0f;
    for (int s = 0; s < desc->source_count; s++)
        inputs += desc->source_channels[s];
    const float *own = weights->weight + (size_t)output * (size_t)inputs * HOPPER_TAPS;
    struct weight_row all = {own, HOPPER_TAPS, inputs, HOPPER_TAPS};
    float bias = weights->bias != NULL ? weights->bias[output] : 0.0f;
    if (whole) {
        step = byte_weights_step(weights, output, &all);
        bias = (float)((double)bias + byte_weights_lost(weights, step, &all));
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
        chunk += divide_up(from.inputs * (int)kernel_type_bytes(desc->in_type), p->row_bytes);
    }
}

static void pack(const struct kernel *kernel, const struct kernel_desc *desc,
                 const struct kernel_weights *weights, void *packed)
{
    (void)kernel;
    struct packing p = packing_of(desc);
    char *to = packed;
    memset(to, 0, p.bytes);
    for (int row = 0; row < p.rows && weights->weight != NULL; row++)
        if (output_of(desc, row) < desc->out_channels)
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

/* ---- tensor maps ---- */

/* The driver is not linked: the runtime finds its functions. */
static cudaError_t find_encode(PFN_cuTensorMapEncodeTiled_v12000 *encode)
{
    enum cudaDriverEntryPointQueryResult found;
    void *function = NULL;
    cudaError_t result = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                          12000, cudaEnableDefault, &found);
    if (result == cudaSuccess && (found != cudaDriverEntryPointSuccess || function == NULL))
        result = cudaErrorSymbolNotFound;
    memcpy(encode, &function, sizeof function);
    return result;
}

/* Boxes of row_bytes of channels × columns × rows, swizzled. */
static cudaError_t encode_map(PFN_cuTensorMapEncodeTiled_v12000 encode, CUtensorMap *map,
                              const struct gpu_tensor *t, int row_bytes, int columns, int rows)
{
    static const CUtensorMapDataType types[] = {
        [GPU_F32] = CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
        [GPU_F16] = CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        [GPU_BF16] = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        [GPU_U8] = CU_TENSOR_MAP_DATA_TYPE_UINT8,
    };
    int bytes = (int)kernel_type_bytes((enum kernel_type)t->type);
    const cuuint64_t size[] = {(cuuint64_t)(t->pixel_bytes / bytes), (cuuint64_t)t->width,
                               (cuuint64_t)t->height, (cuuint64_t)t->images};
    const cuuint64_t stride[] = {(cuuint64_t)t->pixel_bytes, t->row_bytes, t->image_bytes};
    const cuuint32_t box[] = {(cuuint32_t)(row_bytes / bytes), (cuuint32_t)columns,
                              (cuuint32_t)rows, 1};
    const cuuint32_t step[] = {1, 1, 1, 1};
    CUresult result = encode(
        map, types[t->type], 4, t->data, size, stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
        row_bytes == WIDE ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B,
        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

static cudaError_t encode_maps(const struct hopper_shape *shape, const struct gpu_tensor *sources,
                               int count, struct hopper_conv *conv)
{
    PFN_cuTensorMapEncodeTiled_v12000 encode;
    cudaError_t result = find_encode(&encode);
    int rows = shape->pixels / COLUMNS;
    int stored = rows / (shape->mode == HOPPER_SPLIT ? 2 * shape->cluster : 1);
    int bytes = conv->result_type == GPU_U8 ? NARROW : WIDE;
    if (conv->result_type == GPU_F32 && stored > STRIP_ROWS)
        stored /= 2;
    for (int s = 0; s < count && result == cudaSuccess; s++)
        result = encode_map(encode, &conv->source[s], &sources[s], shape->row_bytes, COLUMNS + 2,
                            rows + 2);
    if (conv->out.data != NULL && result == cudaSuccess)
        result = encode_map(encode, &conv->output, &conv->out, bytes, COLUMNS, stored);
    if (conv->pool.data != NULL && result == cudaSuccess)
        result = encode_map(encode, &conv->pooled, &conv->pool, bytes, COLUMNS / 2, stored / 2);
    return result;
}

/* ---- launches ---- */

static void fill_weights(const struct kernel_desc *desc, const struct kernel_args *args,
                         struct hopper_conv *conv)
{
    struct packing p = packing_of(desc);
    const char *packed = args->packed;
    conv->weights = args->packed;
    conv->bias = (const float *)(const void *)(packed + p.bias);
    if (desc->in_type == KERNEL_U8) {
        conv->step = (const float *)(const void *)(packed + p.step);
        conv->shift = (const int32_t *)(const void *)(packed + p.shift);
    }
    conv->chunks = p.chunks;
    conv->output_tiles = output_tiles(desc);
    conv->head = (struct gpu_head){
        .weight = (const float *)(const void *)(packed + p.head_weight),
        .bias = (const float *)(const void *)(packed + p.head_bias),
        .channels = desc->head_channels,
        .to = gpu_planes_of(args),
    };
    int chunk = 0;
    for (int s = 0; s < desc->source_count; s++) {
        bool is_signed = gpu_view(&args->sources[s]).is_signed;
        conv->source_chunks[s] = divide_up(
            desc->source_channels[s] * (int)kernel_type_bytes(desc->in_type), p.row_bytes);
        conv->source_signed[s] = is_signed;
        for (int i = 0; i < conv->source_chunks[s]; i++)
            conv->chunk_signed[chunk++] = is_signed;
    }
}

static void fill_tiles(const struct kernel_desc *desc, const struct kernel_args *args,
                       const struct hopper_shape *shape, struct hopper_conv *conv)
{
    const struct blocked *in = &args->sources[0];
    int together = shape->mode == HOPPER_SPLIT ? 1 : shape->cluster;
    conv->width = in->width;
    conv->height = in->height;
    conv->images = in->images;
    conv->tiles_x = divide_up(in->width, COLUMNS);
    conv->tiles_y = divide_up(in->height, shape->pixels / COLUMNS);
    conv->items =
        divide_up(conv->tiles_x * conv->tiles_y * in->images, together) * conv->output_tiles;
    conv->relu = desc->relu;
    conv->result_type = (int)result_type(desc);
    if (desc->store_out)
        conv->out = gpu_view(&args->out);
    if (desc->pool)
        conv->pool = gpu_view(&args->pooled);
}

/* As many as run at a time, where there is work for them. Where weights stay, a block stays with its
 * output tile: with one item, or with every so many. */
static int block_count(const struct hopper_shape *shape, const struct hopper_conv *conv,
                       int multiprocessors)
{
    if (shape->mode == HOPPER_SPLIT)
        return conv->items * shape->cluster;
    int clusters = multiprocessors / shape->cluster;
    if (clusters > conv->items)
        clusters = conv->items;
    if (shape->mode == HOPPER_RESIDENT && clusters < conv->output_tiles)
        clusters = conv->items;
    else if (shape->mode == HOPPER_RESIDENT)
        clusters -= clusters % conv->output_tiles;
    return clusters * shape->cluster;
}

static unet_status launch(const struct kernel *kernel, const struct kernel_desc *desc,
                          const struct kernel_args *args, struct device_stream *stream,
                          unet_error *error)
{
    const struct hopper_method *method = kernel->method;
    struct hopper_shape shape = shape_of(method, desc);
    struct gpu_tensor sources[KERNEL_MAX_SOURCES];
    struct hopper_conv conv;
    memset(&conv, 0, sizeof conv);
    for (int s = 0; s < desc->source_count; s++)
        sources[s] = gpu_view(&args->sources[s]);
    fill_weights(desc, args, &conv);
    fill_tiles(desc, args, &shape, &conv);
    TRY_CUDA(encode_maps(&shape, sources, desc->source_count, &conv), kernel->name);
    int blocks = block_count(&shape, &conv, stream->device->facts.multiprocessors);
    TRY_CUDA(method->enqueue(&conv, shape, blocks, HOPPER_EARLY, stream->stream), kernel->name);
    return UNET_OK;
}

#define HOPPER_KERNEL(type, TYPE, way, mode_, pixels_, cluster_)                                   \
    static const struct hopper_method method_##way##_##type = {                                    \
        KERNEL_##TYPE, HOPPER_##mode_, pixels_, cluster_, hopper_conv_##type};                     \
    const struct kernel cuda_conv3x3_##way##_##type = {                                            \
        .name = "conv3x3.wgmma_" #way "_" #type ".sm90",                                           \
        .op = KERNEL_CONV,                                                                         \
        .fast_type = KERNEL_##TYPE,                                                                \
        .method = &method_##way##_##type,                                                          \
        .refuse = refuse,                                                                          \
        .packed_bytes = packed_bytes,                                                              \
        .pack = pack,                                                                              \
        .scratch_bytes = kernel_no_scratch,                                                        \
        .launch = launch,                                                                          \
        .compute_least = 90,                                                                       \
        .compute_most = 90,                                                                        \
    };

/* s: streamed, r: resident, k: split over the K of the product; pixels of a tile. */
#define HOPPER_KERNELS(type, TYPE)                                                                 \
    HOPPER_KERNEL(type, TYPE, s256, STREAMED, 256, 1)                                              \
    HOPPER_KERNEL(type, TYPE, r256, RESIDENT, 256, 1)                                              \
    HOPPER_KERNEL(type, TYPE, k256, SPLIT, 256, 2)                                                 \
    HOPPER_KERNEL(type, TYPE, s128, STREAMED, 128, 1)                                              \
    HOPPER_KERNEL(type, TYPE, k128, SPLIT, 128, 2)                                                 \
    HOPPER_KERNEL(type, TYPE, s64, STREAMED, 64, 1)

HOPPER_KERNELS(f16, F16)
HOPPER_KERNELS(bf16, BF16)
HOPPER_KERNELS(u8, U8)
HOPPER_KERNELS(tf32, F32)
