/* Convolutions by cuDNN, as candidates like any other: a kernel for each of the plans that it
 * offers. Of one source, with bias and ReLU; a pool is a launch of its own. */
#include "base/bf16.h"
#include "base/f16.h"
#include "kernels/conv_pack.h"
#include "kernels/cuda/cudnn_plans.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/list.h"
#include "kernels/cuda/view.h"

#include <string.h>

static const char *refuse(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    const char *reason = conv_refuse_numbers(desc);
    if (reason != NULL)
        return reason;
    if (desc->in_type != desc->out_type || desc->in_type > KERNEL_BF16)
        return "f32, f16 or bf16 for all";
    if (desc->in_type == KERNEL_F32 && !desc->tf32)
        return "multiplies with 10 bits of mantissa";
    if (desc->source_count != 1)
        return "one source only";
    if (desc->head_channels > 0 || !desc->store_out)
        return "a stored result and no head";
    if (desc->pool && desc->pooled_type != desc->out_type)
        return "one type for both results";
    return NULL;
}

static size_t padded(int channels, enum kernel_type type)
{
    size_t piece = GPU_PIECE / kernel_type_bytes(type);
    return ((size_t)channels + piece - 1) / piece * piece;
}

static size_t taps(const struct kernel_desc *desc)
{
    return (size_t)desc->kernel_h * (size_t)desc->kernel_w;
}

/* Weights are a multiple of a piece: the bias follows them. */
static size_t weight_bytes(const struct kernel_desc *desc)
{
    return padded(desc->out_channels, desc->out_type) * taps(desc) *
           padded(desc->source_channels[0], desc->in_type) * kernel_type_bytes(desc->in_type);
}

static size_t packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    return weight_bytes(desc) + padded(desc->out_channels, desc->out_type) * sizeof(float);
}

static void put(enum kernel_type type, char *to, float value)
{
    uint16_t half = type == KERNEL_F16 ? f16_from_float(value) : bf16_from_float(value);
    if (type == KERNEL_F32)
        memcpy(to, &value, sizeof value);
    else
        memcpy(to, &half, sizeof half);
}

/* [output][tap][input], padded with zeros. */
static void pack(const struct kernel *kernel, const struct kernel_desc *desc,
                 const struct kernel_weights *weights, void *packed)
{
    size_t outs = (size_t)desc->out_channels, ins = (size_t)desc->source_channels[0];
    size_t all = taps(desc), wide = padded(desc->source_channels[0], desc->in_type);
    size_t bytes = kernel_type_bytes(desc->in_type);
    char *to = packed;
    memset(to, 0, packed_bytes(kernel, desc));
    for (size_t o = 0; o < outs && weights->weight != NULL; o++)
        for (size_t tap = 0; tap < all; tap++)
            for (size_t i = 0; i < ins; i++)
                put(desc->in_type, to + ((o * all + tap) * wide + i) * bytes,
                    weights->weight[(o * ins + i) * all + tap]);
    if (weights->bias != NULL)
        memcpy(to + weight_bytes(desc), weights->bias, outs * sizeof(float));
}

/* Not what the plan takes, which only a device knows, but what it may. */
static size_t scratch_bytes(const struct kernel *kernel, const struct kernel_desc *desc,
                            const struct kernel_args *args)
{
    (void)kernel;
    (void)desc;
    (void)args;
    return CUDNN_WORKSPACE;
}

static struct cudnn_conv conv_of(const struct kernel_desc *desc, const struct kernel_args *args)
{
    const struct blocked *in = &args->sources[0], *out = &args->out;
    return (struct cudnn_conv){
        .type = desc->in_type,
        .images = in->images,
        .in_channels = (int64_t)in->pixel_stride,
        .in_height = in->height,
        .in_width = in->width,
        .out_channels = (int64_t)out->pixel_stride,
        .out_height = out->height,
        .out_width = out->width,
        .x_stride = {(int64_t)in->image_stride, (int64_t)in->row_stride, (int64_t)in->pixel_stride},
        .y_stride = {(int64_t)out->image_stride, (int64_t)out->row_stride,
                     (int64_t)out->pixel_stride},
        .kernel_h = desc->kernel_h,
        .kernel_w = desc->kernel_w,
        .padding = desc->padding,
        .stride = desc->stride,
        .relu = desc->relu,
    };
}

static unet_status launch(const struct kernel *kernel, const struct kernel_desc *desc,
                          const struct kernel_args *args, struct device_stream *stream,
                          unet_error *error)
{
    int plan = (int)(kernel - cuda_conv_cudnn);
    struct cudnn_conv conv = conv_of(desc, args);
    struct cudnn_tensors tensors = {
        .x = args->sources[0].data,
        .weights = args->packed,
        .bias = (const char *)args->packed + weight_bytes(desc),
        .y = args->out.data,
        .workspace = args->scratch,
    };
    TRY(cudnn_plans_run(stream, &conv, plan, &tensors, error));
    if (!desc->pool)
        return UNET_OK;
    struct gpu_tensor out = gpu_view(&args->out), pooled = gpu_view(&args->pooled);
    TRY_CUDA(gpu_max_pool(&out, &pooled, stream->stream), kernel->name);
    return UNET_OK;
}

/* No fast_type: one cannot say beforehand that there is an engine for a type. */
#define CUDNN_KERNEL(number)                                                                       \
    {                                                                                              \
        .name = "conv.cudnn" #number ".cuda", .op = KERNEL_CONV, .refuse = refuse,                 \
        .packed_bytes = packed_bytes, .pack = pack, .scratch_bytes = scratch_bytes,                \
        .launch = launch, .compute_least = 75,                                                     \
    }

const struct kernel cuda_conv_cudnn[CUDNN_PLANS] = {
    CUDNN_KERNEL(0),  CUDNN_KERNEL(1),  CUDNN_KERNEL(2),  CUDNN_KERNEL(3),
    CUDNN_KERNEL(4),  CUDNN_KERNEL(5),  CUDNN_KERNEL(6),  CUDNN_KERNEL(7),
    CUDNN_KERNEL(8),  CUDNN_KERNEL(9),  CUDNN_KERNEL(10), CUDNN_KERNEL(11),
    CUDNN_KERNEL(12), CUDNN_KERNEL(13), CUDNN_KERNEL(14), CUDNN_KERNEL(15),
};
