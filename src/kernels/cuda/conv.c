/* Convolution of any window: conv_gemm.cuh. Pool and a small head are taken along; a large head is
 * a launch of its own, and so is a pool of another type than what is stored or goes into the
 * head. */
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/list.h"
#include "kernels/cuda/view.h"

static const char *refuse(const struct kernel *kernel, const struct kernel_desc *desc)
{
    if (desc->head_channels > 0 && desc->out_channels > GPU_HEAD_INPUTS)
        return "heads of at most 1,024 inputs";
    return gemm_refuse(kernel->method, desc);
}

/* A block of threads applies the head if it has all of a pixel's outputs. */
static bool takes_head_along(const struct kernel_desc *desc)
{
    return desc->head_channels <= GPU_HEAD_CHANNELS &&
           gemm_layout(desc).outputs <= 2 * GPU_GEMM_CHANNELS;
}

static bool needs_scratch(const struct kernel_desc *desc)
{
    return desc->head_channels > 0 && !desc->store_out && !takes_head_along(desc);
}

/* What comes out, be it wanted or not; without data. */
static size_t shape_result(const struct kernel_desc *desc, const struct kernel_args *args,
                           enum kernel_type type, struct blocked *result)
{
    const struct blocked *in = &args->sources[0];
    int height = (in->height + 2 * desc->padding - desc->kernel_h) / desc->stride + 1;
    int width = (in->width + 2 * desc->padding - desc->kernel_w) / desc->stride + 1;
    *result = (struct blocked){0};
    return nhwc_init(result, type, desc->out_channels, height, width, in->images);
}

static size_t scratch_bytes(const struct kernel *kernel, const struct kernel_desc *desc,
                            const struct kernel_args *args)
{
    (void)kernel;
    struct blocked result;
    size_t bytes = shape_result(desc, args, desc->out_type, &result);
    return needs_scratch(desc) ? bytes : 0;
}

static struct gpu_head head_of(const struct kernel_desc *desc, const struct kernel_args *args)
{
    struct gemm_layout layout = gemm_layout(desc);
    const char *packed = args->packed;
    return (struct gpu_head){
        .weight = (const float *)(const void *)(packed + layout.head_weight),
        .bias = (const float *)(const void *)(packed + layout.head_bias),
        .channels = desc->head_channels,
        .to = gpu_planes_of(args),
    };
}

static struct gpu_tensor result_of(const struct kernel_desc *desc, const struct kernel_args *args)
{
    if (desc->store_out)
        return gpu_view(&args->out);
    struct blocked result;
    shape_result(desc, args, desc->out_type, &result);
    result.data = needs_scratch(desc) ? args->scratch : NULL;
    return gpu_view(&result);
}

/* What is pooled, in the type and with the zero that it is pooled to; nobody stores it. */
static struct gpu_tensor pooled_from(const struct kernel_desc *desc, const struct kernel_args *args)
{
    struct blocked result;
    shape_result(desc, args, desc->pooled_type, &result);
    result.zero = args->pooled.zero;
    return gpu_view(&result);
}

static unet_status enqueue(const struct kernel *kernel, const struct kernel_desc *desc,
                           const struct kernel_args *args, struct gpu_gemm *gemm,
                           struct device_stream *stream, unet_error *error)
{
    gemm->rows = gemm->out.height;
    gemm->columns = gemm->out.width;
    if (desc->pool)
        gemm->pooled = gpu_view(&args->pooled);
    return gemm_enqueue(kernel, gemm, stream, error);
}

static unet_status launch_pool(const struct kernel *kernel, const struct kernel_desc *desc,
                               const struct kernel_args *args, struct device_stream *stream,
                               unet_error *error)
{
    struct gpu_gemm gemm = gemm_begin(desc, args);
    gemm.out = pooled_from(desc, args);
    return enqueue(kernel, desc, args, &gemm, stream, error);
}

static unet_status launch(const struct kernel *kernel, const struct kernel_desc *desc,
                          const struct kernel_args *args, struct device_stream *stream,
                          unet_error *error)
{
    bool others = desc->store_out || desc->head_channels > 0;
    if (!others)
        return launch_pool(kernel, desc, args, stream, error);
    struct kernel_desc rest = *desc;
    struct gpu_gemm gemm = gemm_begin(desc, args);
    struct gpu_head head = head_of(desc, args);
    gemm.out = result_of(desc, args);
    bool apart = desc->pool && pooled_from(desc, args).is_signed != gemm.out.is_signed;
    if (desc->pool && (apart || desc->pooled_type != desc->out_type)) {
        TRY(launch_pool(kernel, desc, args, stream, error));
        rest.pool = false;
    }
    if (takes_head_along(desc))
        gemm.head = head;
    TRY(enqueue(kernel, &rest, args, &gemm, stream, error));
    if (head.channels > 0 && !takes_head_along(desc))
        TRY_CUDA(gpu_apply_head(&gemm.out, &head, stream->stream), kernel->name);
    return UNET_OK;
}

#define CONV_KERNEL(type, text, fast, compute)                                                     \
    const struct kernel cuda_conv_##type = {                                                       \
        .name = text,                                                                              \
        .op = KERNEL_CONV,                                                                         \
        .fast_type = fast,                                                                         \
        .method = &gemm_##type,                                                                    \
        .refuse = refuse,                                                                          \
        .packed_bytes = gemm_packed_bytes,                                                         \
        .pack = gemm_pack,                                                                         \
        .scratch_bytes = scratch_bytes,                                                            \
        .launch = launch,                                                                          \
        .compute_least = compute,                                                                  \
    };

CONV_KERNEL(f16, "conv.mma_f16.cuda", KERNEL_F16, 75)
CONV_KERNEL(bf16, "conv.mma_bf16.cuda", KERNEL_BF16, 80)
CONV_KERNEL(tf32, "conv.mma_tf32.cuda", KERNEL_F32, 80)
CONV_KERNEL(u8, "conv.mma_u8.cuda", KERNEL_U8, 80)
CONV_KERNEL(e4m3, "conv.mma_e4m3.cuda", KERNEL_E4M3, 89)
CONV_KERNEL(f32, "conv.fma_f32.cuda", KERNEL_F32, 75)
