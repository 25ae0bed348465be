/* Transposed convolution, 2×2 with stride 2: a GEMM whose four blocks of outputs are a pixel's four
 * results (conv_gemm.cuh). */
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/list.h"
#include "kernels/cuda/view.h"

static const char *refuse(const struct kernel *kernel, const struct kernel_desc *desc)
{
    if (desc->kernel_h != 2 || desc->kernel_w != 2 || desc->stride != 2 || desc->padding != 0)
        return "2×2 with stride 2 only";
    return gemm_refuse(kernel->method, desc);
}

static unet_status launch(const struct kernel *kernel, const struct kernel_desc *desc,
                          const struct kernel_args *args, struct device_stream *stream,
                          unet_error *error)
{
    struct gpu_gemm gemm = gemm_begin(desc, args);
    const struct gpu_tensor *in = &gemm.sources[0];
    gemm.out = gpu_view(&args->out);
    gemm.rows = in->height;
    gemm.columns = in->width;
    gemm.offset_y = args->offset_y;
    gemm.offset_x = args->offset_x;
    TRY(gemm_enqueue(kernel, &gemm, stream, error));
    TRY_CUDA(gpu_clear_around(&gemm.out, args->offset_y, args->offset_x, 2 * in->height,
                              2 * in->width, stream->stream),
             kernel->name);
    return UNET_OK;
}

#define CONV_TRANSPOSE_KERNEL(type, text, compute)                                                 \
    const struct kernel cuda_conv_transpose_##type = {                                             \
        .name = text,                                                                              \
        .op = KERNEL_CONV_TRANSPOSE,                                                               \
        .method = &gemm_##type,                                                                    \
        .refuse = refuse,                                                                          \
        .packed_bytes = gemm_packed_bytes,                                                         \
        .pack = gemm_pack,                                                                         \
        .scratch_bytes = kernel_no_scratch,                                                        \
        .launch = launch,                                                                          \
        .compute_least = compute,                                                                  \
    };

CONV_TRANSPOSE_KERNEL(f16, "conv_transpose2x2.mma_f16.cuda", 75)
CONV_TRANSPOSE_KERNEL(bf16, "conv_transpose2x2.mma_bf16.cuda", 80)
CONV_TRANSPOSE_KERNEL(tf32, "conv_transpose2x2.mma_tf32.cuda", 80)
CONV_TRANSPOSE_KERNEL(u8, "conv_transpose2x2.mma_u8.cuda", 80)
CONV_TRANSPOSE_KERNEL(e4m3, "conv_transpose2x2.mma_e4m3.cuda", 89)
CONV_TRANSPOSE_KERNEL(f32, "conv_transpose2x2.fma_f32.cuda", 75)
