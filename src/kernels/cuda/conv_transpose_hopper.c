/* Hopper's transposed convolution: conv_transpose_sm90a.cu. */
#include "kernels/cuda/conv_transpose_hopper.h"

#include "kernels/cuda/gemm.h"
#include "kernels/cuda/list.h"
#include "kernels/cuda/tensor_map.h"
#include "kernels/cuda/view.h"

#include <string.h>

#define SWIZZLED_ROWS 8 /* that rotate their pieces differently */

struct hopper_gemm_method {
    const struct gemm_method *gemm;
    hopper_gemm_function *enqueue;
};

static const char *refuse(const struct kernel *kernel, const struct kernel_desc *desc)
{
    const struct hopper_gemm_method *method = kernel->method;
    if (desc->kernel_h != 2 || desc->kernel_w != 2 || desc->stride != 2 || desc->padding != 0)
        return "2×2 with stride 2 only";
    return desc->source_count != 1 ? "one source only" : gemm_refuse(method->gemm, desc);
}

static size_t chunks(const struct kernel_desc *desc)
{
    size_t bytes = (size_t)desc->source_channels[0] * kernel_type_bytes(desc->in_type);
    return (bytes + HOPPER_GEMM_CHUNK - 1) / HOPPER_GEMM_CHUNK;
}

/* The common layout, in which weights take as much for two of its chunks as for one of these: where
 * the last one is half empty, they take more. */
static size_t constants_at(const struct kernel_desc *desc)
{
    return chunks(desc) * (size_t)gemm_layout(desc).outputs * HOPPER_GEMM_CHUNK;
}

/* How far everything behind the weights lies behind its place in the common layout. */
static size_t moved(const struct kernel_desc *desc)
{
    return constants_at(desc) - gemm_layout(desc).bias;
}

static size_t packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    return gemm_layout(desc).bytes + moved(desc);
}

/* A row of output n, as the copy engine would swizzle it. */
static void swizzle(char *row, size_t n)
{
    char plain[HOPPER_GEMM_CHUNK];
    memcpy(plain, row, sizeof plain);
    for (size_t piece = 0; piece < HOPPER_GEMM_CHUNK / GPU_PIECE; piece++)
        memcpy(row + (piece ^ n % SWIZZLED_ROWS) * GPU_PIECE, plain + piece * GPU_PIECE, GPU_PIECE);
}

static void pack(const struct kernel *kernel, const struct kernel_desc *desc,
                 const struct kernel_weights *weights, void *packed)
{
    const struct hopper_gemm_method *method = kernel->method;
    char *to = packed;
    struct gemm_packing packing = gemm_begin_packing(method->gemm, desc, weights, to + moved(desc));
    size_t per = HOPPER_GEMM_CHUNK / kernel_type_bytes(desc->in_type);
    size_t inputs = (size_t)desc->source_channels[0], outputs = (size_t)packing.layout.outputs;
    for (size_t tile = 0; tile < outputs; tile += HOPPER_GEMM_OUTPUTS)
        for (size_t first = 0; first < inputs; first += per)
            for (size_t n = tile; n < tile + HOPPER_GEMM_OUTPUTS; n++, to += HOPPER_GEMM_CHUNK) {
                gemm_pack_row(&packing, 0, n, 0, first, inputs, HOPPER_GEMM_CHUNK, to);
                swizzle(to, n);
            }
}

static struct gpu_gemm gemm_of(const struct kernel_desc *desc, const struct kernel_args *args)
{
    struct kernel_args behind = *args;
    behind.packed = (const char *)args->packed + moved(desc);
    struct gpu_gemm gemm = gemm_begin(desc, &behind);
    gemm.weights = args->packed;
    gemm.out = gpu_view(&args->out);
    gemm.rows = gemm.sources[0].height;
    gemm.columns = gemm.sources[0].width;
    gemm.offset_y = args->offset_y;
    gemm.offset_x = args->offset_x;
    return gemm;
}

static unet_status launch(const struct kernel *kernel, const struct kernel_desc *desc,
                          const struct kernel_args *args, struct device_stream *stream,
                          unet_error *error)
{
    const struct hopper_gemm_method *method = kernel->method;
    struct gpu_gemm gemm = gemm_of(desc, args);
    CUtensorMap map;
    TRY_CUDA(tensor_map_encode(&map, &gemm.sources[0], HOPPER_GEMM_CHUNK, GPU_GEMM_COLUMNS,
                               GPU_GEMM_ROWS),
             kernel->name);
    TRY_CUDA(method->enqueue(&gemm, &map, stream->stream), kernel->name);
    TRY_CUDA(gpu_clear_around(&gemm.out, args->offset_y, args->offset_x, 2 * gemm.rows,
                              2 * gemm.columns, stream->stream),
             kernel->name);
    return UNET_OK;
}

#define HOPPER_TRANSPOSED(type)                                                                    \
    static const struct hopper_gemm_method method_##type = {&gemm_##type, hopper_gemm_##type};     \
    const struct kernel cuda_conv_transpose_wgmma_##type = {                                       \
        .name = "conv_transpose2x2.wgmma_" #type ".sm90",                                          \
        .op = KERNEL_CONV_TRANSPOSE,                                                               \
        .method = &method_##type,                                                                  \
        .refuse = refuse,                                                                          \
        .packed_bytes = packed_bytes,                                                              \
        .pack = pack,                                                                              \
        .scratch_bytes = kernel_no_scratch,                                                        \
        .launch = launch,                                                                          \
        .compute_least = 90,                                                                       \
        .compute_most = 90,                                                                        \
    };

HOPPER_TRANSPOSED(f16)
HOPPER_TRANSPOSED(bf16)
HOPPER_TRANSPOSED(u8)
HOPPER_TRANSPOSED(e4m3)
HOPPER_TRANSPOSED(tf32)
