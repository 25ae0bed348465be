/* The 3x3 convolutions of compute capability 9.0 as kernels: what they refuse, their tensor
 * maps, and how many blocks. */
#include "kernels/conv_pack.h"
#include "kernels/cuda/conv3x3_hopper_pack.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/list.h"
#include "kernels/cuda/tensor_map.h"
#include "kernels/cuda/view.h"

#include <string.h>

#ifndef HOPPER_EARLY
#define HOPPER_EARLY true
#endif
#define COLUMNS    8 /* of a tile */
#define STRIP_ROWS 4 /* of what is the least that is stored */

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

static struct hopper_shape shape_of(const struct hopper_method *method,
                                    const struct kernel_desc *desc)
{
    return (struct hopper_shape){method->mode, method->pixels, hopper_row_bytes(desc),
                                 method->cluster};
}

/* ---- what is refused ---- */

static const char *refuse_types(const struct hopper_method *method, const struct kernel_desc *desc)
{
    if (desc->in_type != method->in)
        return "sources of another type";
    if (desc->in_type == KERNEL_F32 && !gemm_may_use_tf32(desc))
        return "multiplies with 10 bits of mantissa";
    if (desc->in_type == KERNEL_U8 && conv_may_overflow(desc))
        return "too many channels for sums of 32 bits";
    return NULL;
}

static const char *refuse_mode(const struct hopper_method *method, const struct kernel_desc *desc)
{
    struct hopper_shape shape = shape_of(method, desc);
    int chunks = hopper_chunks(desc, shape.row_bytes);
    if (shape.row_bytes == HOPPER_NARROW && (method->mode == HOPPER_SPLIT || method->pixels != 256))
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

/* ---- tensor maps ---- */

/* Of the channels of an output tile that lie together in shared memory. */
static int block_bytes(const struct gpu_tensor *t)
{
    return t->type == GPU_U8 || t->type == GPU_E4M3 ? HOPPER_NARROW : HOPPER_WIDE;
}

/* Of `rows` rows of a tile, how many are stored at a time. */
static int rows_together(const struct gpu_tensor *t, int rows)
{
    return t->type == GPU_F32 && rows > STRIP_ROWS ? rows / 2 : rows;
}

static cudaError_t encode_maps(const struct hopper_shape *shape, const struct gpu_tensor *sources,
                               int count, struct hopper_conv *conv)
{
    cudaError_t result = cudaSuccess;
    int rows = shape->pixels / COLUMNS;
    int stored = rows / (shape->mode == HOPPER_SPLIT ? 2 * shape->cluster : 1);
    for (int s = 0; s < count && result == cudaSuccess; s++)
        result = tensor_map_encode(&conv->source[s], &sources[s], shape->row_bytes, COLUMNS + 2,
                                   rows + 2);
    if (conv->out.data != NULL && result == cudaSuccess)
        result = tensor_map_encode(&conv->output, &conv->out, block_bytes(&conv->out), COLUMNS,
                                   rows_together(&conv->out, stored));
    if (conv->pool.data != NULL && result == cudaSuccess)
        result = tensor_map_encode(&conv->pooled, &conv->pool, block_bytes(&conv->pool),
                                   COLUMNS / 2, rows_together(&conv->pool, stored) / 2);
    return result;
}

/* ---- launches ---- */

static void fill_weights(const struct kernel_desc *desc, const struct kernel_args *args,
                         struct hopper_conv *conv)
{
    struct hopper_packing p = hopper_packing_of(desc);
    const char *packed = args->packed;
    conv->weights = args->packed;
    conv->bias = (const float *)(const void *)(packed + p.bias);
    if (hopper_has_steps(desc))
        conv->step = (const float *)(const void *)(packed + p.step);
    if (desc->in_type == KERNEL_U8)
        conv->shift = (const int32_t *)(const void *)(packed + p.shift);
    conv->chunks = p.chunks;
    conv->output_tiles = hopper_output_tiles(desc);
    conv->head = (struct gpu_head){
        .weight = (const float *)(const void *)(packed + p.head_weight),
        .bias = (const float *)(const void *)(packed + p.head_bias),
        .channels = desc->head_channels,
        .to = gpu_planes_of(args),
    };
    int chunk = 0;
    for (int s = 0; s < desc->source_count; s++) {
        bool is_signed = gpu_view(&args->sources[s]).is_signed;
        conv->source_chunks[s] = hopper_source_chunks(desc, s, p.row_bytes);
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
    conv->head_type = (int)desc->out_type;
}

static void add_result(struct hopper_conv *conv, enum kernel_type type, bool out, bool pool)
{
    if (out || pool)
        conv->results[conv->result_count++] = (struct hopper_result){(int)type, out, pool};
}

static void fill_results(const struct kernel_desc *desc, const struct kernel_args *args,
                         struct hopper_conv *conv)
{
    bool together = desc->pool && desc->pooled_type == desc->out_type;
    if (desc->store_out)
        conv->out = gpu_view(&args->out);
    if (desc->pool)
        conv->pool = gpu_view(&args->pooled);
    add_result(conv, desc->out_type, desc->store_out, together);
    add_result(conv, desc->pooled_type, false, desc->pool && !together);
}

/* As many as run at a time, where there is work for them. Where weights stay, a block stays with
 * its output tile: with one item, or with every so many. */
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
    fill_results(desc, args, &conv);
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
        .packed_bytes = hopper_packed_bytes,                                                       \
        .pack = hopper_pack,                                                                       \
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
HOPPER_KERNELS(e4m3, E4M3)
