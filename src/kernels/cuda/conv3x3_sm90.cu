#include "kernels/cuda/conv3x3_sm90.h"

#include "kernels/cuda/conv3x3_sm90.cuh"

#include <cuda_runtime.h>
#include <string.h>

/* ---- packed weights ---- */

static int chunks_of(const struct conv3x3_sm90 *conv)
{
    int chunks = 0;
    for (int s = 0; s < conv->source_count; s++)
        chunks += (conv->channels[s] + 63) / 64;
    return chunks;
}

static int output_tiles(const struct conv3x3_sm90 *conv)
{
    return (conv->out_channels + 63) / 64;
}

static size_t pieces_bytes(const struct conv3x3_sm90 *conv)
{
    return (size_t)output_tiles(conv) * chunks_of(conv) * 9 * conv3x3_device::piece_bytes;
}

size_t conv3x3_sm90_packed_bytes(const struct conv3x3_sm90 *conv)
{
    return pieces_bytes(conv) + (size_t)output_tiles(conv) * 64 * sizeof(float);
}

/* Where channel CHANNEL of row ROW lies in a piece: 128 bytes a row, with the 128-byte swizzle. */
static size_t piece_offset(int row, int channel)
{
    return (size_t)row * 128 + (size_t)(((channel / 8) ^ (row % 8)) * 16 + channel % 8 * 2);
}

/* Channels FIRST.. of one source, 64 at the most, are chunk CHUNK. */
static void pack_chunk(const struct conv3x3_sm90 *conv, const float *weights, int first, int count,
                       int total, int chunk, int chunks, uint8_t *packed)
{
    for (int o = 0; o < conv->out_channels; o++)
        for (int tap = 0; tap < 9; tap++) {
            size_t piece = ((size_t)(o / 64) * chunks + chunk) * 9 + tap;
            uint8_t *to = packed + piece * conv3x3_device::piece_bytes;
            for (int c = 0; c < count; c++) {
                __half v = __float2half_rn(weights[((size_t)o * total + first + c) * 9 + tap]);
                memcpy(to + piece_offset(o % 64, c), &v, sizeof v);
            }
        }
}

void conv3x3_sm90_pack(const struct conv3x3_sm90 *conv, const float *weights, const float *bias,
                       void *packed)
{
    int chunks = chunks_of(conv), total = 0, chunk = 0, first = 0;
    for (int s = 0; s < conv->source_count; s++)
        total += conv->channels[s];
    memset(packed, 0, conv3x3_sm90_packed_bytes(conv));
    for (int s = 0; s < conv->source_count; s++) {
        for (int c = 0; c < conv->channels[s]; c += 64, chunk++) {
            int count = conv->channels[s] - c < 64 ? conv->channels[s] - c : 64;
            pack_chunk(conv, weights, first + c, count, total, chunk, chunks, (uint8_t *)packed);
        }
        first += conv->channels[s];
    }
    if (bias)
        memcpy((uint8_t *)packed + pieces_bytes(conv), bias, conv->out_channels * sizeof(float));
}

/* ---- tensor maps ---- */

typedef CUresult encode_function(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *,
                                 const cuuint64_t *, const cuuint64_t *, const cuuint32_t *,
                                 const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
                                 CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/* The driver is not linked: the runtime finds its functions. */
static encode_function *find_encode(void)
{
    void *function = NULL;
    cudaDriverEntryPointQueryResult result;
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                         cudaEnableDefault, &result) ||
        result != cudaDriverEntryPointSuccess)
        return NULL;
    return (encode_function *)function;
}

/* NHWC of 16-bit floats, fetched and stored in boxes of 64 channels x COLUMNS x ROWS. */
static bool encode(CUtensorMap *map, const void *data, int channels, int width, int height,
                   int images, int columns, int rows)
{
    static encode_function *function = find_encode();
    cuuint64_t pixel = (cuuint64_t)(channels + 7) / 8 * 16;
    cuuint64_t size[4] = {pixel / 2, (cuuint64_t)width, (cuuint64_t)height, (cuuint64_t)images};
    cuuint64_t stride[3] = {pixel, pixel * width, pixel * width * height};
    cuuint32_t box[4] = {64, (cuuint32_t)columns, (cuuint32_t)rows, 1}, step[4] = {1, 1, 1, 1};
    return function &&
           function(map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 4, (void *)data, size, stride, box, step,
                    CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                    CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                    CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

static bool encode_maps(const struct conv3x3_sm90 *c, struct conv3x3_sm90_choice choice,
                        struct conv3x3_sm90_args *args)
{
    int rows = choice.pixels / 8, parts = choice.way == CONV3X3_WAY_SPLIT ? choice.cluster * 2 : 1;
    for (int s = 0; s < c->source_count; s++)
        if (!encode(&args->source[s], c->source[s], c->channels[s], c->width, c->height, c->images,
                    10, rows + 2))
            return false;
    if (c->out && !encode(&args->output, c->out, c->out_channels, c->width, c->height, c->images, 8,
                          rows / parts))
        return false;
    return !c->pooled || encode(&args->pooled, c->pooled, c->out_channels, c->width / 2,
                                c->height / 2, c->images, 4, rows / parts / 2);
}

/* ---- launches ---- */

typedef void kernel_function(const conv3x3_sm90_args);

struct variant {
    struct conv3x3_sm90_choice choice;
    kernel_function *kernel;
    int shared_bytes;
};

#define VARIANT(pixels, mode, cluster)                                                             \
    {                                                                                              \
        {pixels, CONV3X3_WAY_##mode, cluster},                                                     \
            conv3x3_device::kernel<conv3x3_device::f16, pixels, CONV3X3_##mode, cluster>,              \
            conv3x3_device::sizes<pixels, CONV3X3_##mode>::shared_bytes                              \
    }

static const struct variant variants[] = {
    VARIANT(256, STREAMED, 1), VARIANT(256, STREAMED, 2), VARIANT(256, STREAMED, 4),
    VARIANT(256, RESIDENT, 1), VARIANT(256, SPLIT, 1),    VARIANT(256, SPLIT, 2),
    VARIANT(256, SPLIT, 4),    VARIANT(128, STREAMED, 1), VARIANT(128, STREAMED, 2),
    VARIANT(128, RESIDENT, 1), VARIANT(128, SPLIT, 1),    VARIANT(128, SPLIT, 2),
    VARIANT(64, STREAMED, 1),  VARIANT(64, STREAMED, 2),
};

static const struct variant *find(struct conv3x3_sm90_choice choice)
{
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        const struct conv3x3_sm90_choice *c = &variants[i].choice;
        if (c->pixels == choice.pixels && c->way == choice.way && c->cluster == choice.cluster)
            return &variants[i];
    }
    return NULL;
}

bool conv3x3_sm90_can(const struct conv3x3_sm90 *conv, struct conv3x3_sm90_choice choice)
{
    if (!find(choice))
        return false;
    if (choice.way == CONV3X3_WAY_RESIDENT)
        return chunks_of(conv) == 1;
    return choice.way == CONV3X3_WAY_STREAMED ||
           (chunks_of(conv) >= 2 * choice.cluster && !conv->pooled);
}

static void fill_args(const struct conv3x3_sm90 *c, struct conv3x3_sm90_choice choice,
                      struct conv3x3_sm90_args *args)
{
    int rows = choice.pixels / 8, cluster = choice.way == CONV3X3_WAY_SPLIT ? 1 : choice.cluster;
    for (int s = 0; s < c->source_count; s++)
        args->source_chunks[s] = (c->channels[s] + 63) / 64;
    args->chunks = chunks_of(c);
    args->output_tiles = output_tiles(c);
    args->tiles_x = (c->width + 7) / 8;
    args->tiles_y = (c->height + rows - 1) / rows;
    int tiles = args->tiles_x * args->tiles_y * c->images;
    args->items = (tiles + cluster - 1) / cluster * args->output_tiles;
    args->weights = (const uint8_t *)c->weights;
    args->bias = (const float *)(args->weights + pieces_bytes(c));
    args->relu = c->relu;
    args->store = c->out != NULL;
    args->pool = c->pooled != NULL;
}

/* How many blocks: all items at once where each block has one, else as many as run at a time; where
 * weights stay, a multiple of the output tiles. */
static int block_count(const struct conv3x3_sm90_args *args, struct conv3x3_sm90_choice choice,
                       int multiprocessors)
{
    if (choice.way == CONV3X3_WAY_SPLIT)
        return args->items * choice.cluster;
    int clusters = multiprocessors / choice.cluster;
    if (clusters > args->items)
        clusters = args->items;
    if (choice.way == CONV3X3_WAY_RESIDENT)
        clusters -= clusters % args->output_tiles;
    return clusters * choice.cluster;
}

cudaError_t conv3x3_sm90_launch(const struct conv3x3_sm90 *conv, struct conv3x3_sm90_choice choice,
                                int multiprocessors, bool early, cudaStream_t stream)
{
    struct conv3x3_sm90_args args;
    const struct variant *variant = find(choice);
    memset(&args, 0, sizeof args);
    fill_args(conv, choice, &args);
    if (!variant || !encode_maps(conv, choice, &args))
        return cudaErrorInvalidValue;
    cudaError_t error = cudaFuncSetAttribute(
        (const void *)variant->kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
        variant->shared_bytes);
    if (error)
        return error;
    cudaLaunchAttribute attributes[2];
    attributes[0].id = cudaLaunchAttributeClusterDimension;
    attributes[0].val.clusterDim.x = (unsigned)choice.cluster;
    attributes[0].val.clusterDim.y = attributes[0].val.clusterDim.z = 1;
    attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[1].val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)block_count(&args, choice, multiprocessors));
    config.blockDim = dim3(conv3x3_device::threads);
    config.dynamicSmemBytes = (size_t)variant->shared_bytes;
    config.stream = stream;
    config.attrs = attributes;
    config.numAttrs = early ? 2 : 1;
    void *parameters[] = {&args};
    return cudaLaunchKernelExC(&config, (const void *)variant->kernel, parameters);
}
