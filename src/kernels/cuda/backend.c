/* The table that libunet asks for. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/list.h"

#define CONV3X3_HOPPER(type)                                                                       \
    &cuda_conv3x3_s256_##type, &cuda_conv3x3_r256_##type, &cuda_conv3x3_k256_##type,               \
        &cuda_conv3x3_s128_##type, &cuda_conv3x3_k128_##type, &cuda_conv3x3_s64_##type

#define CUDNN_FOUR(first)                                                                          \
    &cuda_conv_cudnn[first], &cuda_conv_cudnn[first + 1], &cuda_conv_cudnn[first + 2],             \
        &cuda_conv_cudnn[first + 3]

static const struct kernel *const kernels[] = {
    &cuda_conv_first,
    CONV3X3_HOPPER(f16),
    CONV3X3_HOPPER(bf16),
    CONV3X3_HOPPER(tf32),
    CONV3X3_HOPPER(u8),
    CONV3X3_HOPPER(e4m3),
    &cuda_conv_f16,
    &cuda_conv_bf16,
    &cuda_conv_u8,
    &cuda_conv_e4m3,
    &cuda_conv_tf32,
    &cuda_conv_f32,
#ifdef UNET_HAS_CUDNN
    CUDNN_FOUR(0),
    CUDNN_FOUR(4),
    CUDNN_FOUR(8),
    CUDNN_FOUR(12),
#endif
    &cuda_conv_transpose_wgmma_f16,
    &cuda_conv_transpose_wgmma_bf16,
    &cuda_conv_transpose_wgmma_u8,
    &cuda_conv_transpose_wgmma_e4m3,
    &cuda_conv_transpose_wgmma_tf32,
    &cuda_conv_transpose_f16,
    &cuda_conv_transpose_bf16,
    &cuda_conv_transpose_u8,
    &cuda_conv_transpose_e4m3,
    &cuda_conv_transpose_tf32,
    &cuda_conv_transpose_f32,
    &cuda_upsample,
    &cuda_max_pool,
    &cuda_load,
    &cuda_store,
    NULL,
};

static const struct device_backend backend = {
    .abi = DEVICE_ABI,
    .kernel_bytes = sizeof(struct kernel),
    .desc_bytes = sizeof(struct kernel_desc),
    .args_bytes = sizeof(struct kernel_args),
    .name = "cuda",
    .kernels = kernels,
    .count = cuda_count,
    .open = cuda_open,
    .close = cuda_close,
    .facts = cuda_facts,
    .refusal = cuda_refusal,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .alloc_host = cuda_alloc_host,
    .free_host = cuda_free_host,
    .stream_open = cuda_stream_open,
    .stream_close = cuda_stream_close,
    .upload = cuda_upload,
    .download = cuda_download,
    .copy = cuda_copy,
    .clear = cuda_clear,
    .wait = cuda_wait,
    .capture_begin = cuda_capture_begin,
    .capture_end = cuda_capture_end,
    .graph_launch = cuda_graph_launch,
    .graph_free = cuda_graph_free,
    .mark = cuda_mark,
    .elapsed = cuda_elapsed,
    .gemm_rate = cuda_gemm_rate,
};

UNET_API const struct device_backend *device_backend_table(void);

const struct device_backend *device_backend_table(void)
{
    return &backend;
}
