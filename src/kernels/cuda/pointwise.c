/* Kernels without weights: load, store, max-pool, up-sampling. */
#include "kernels/cuda/list.h"
#include "kernels/cuda/view.h"

static const char *refuse_planes(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    enum kernel_type planes = desc->op == KERNEL_LOAD ? desc->in_type : desc->out_type;
    return planes != KERNEL_F32 ? "float32 planes only" : refuse_all_but_one(desc);
}

static const char *refuse_types(const struct kernel_desc *desc)
{
    return desc->in_type != desc->out_type ? "one type for all" : refuse_all_but_one(desc);
}

static const char *refuse_max_pool(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    if (desc->kernel_h != 2 || desc->kernel_w != 2 || desc->stride != 2 || desc->padding != 0)
        return "2×2 with stride 2 only";
    return refuse_types(desc);
}

static const char *refuse_upsample(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    return refuse_types(desc);
}

static unet_status launch_load(const struct kernel *kernel, const struct kernel_desc *desc,
                               const struct kernel_args *args, struct device_stream *stream,
                               unet_error *error)
{
    (void)desc;
    struct gpu_tensor out = gpu_view(&args->out);
    struct gpu_pixels pixels = gpu_pixels_of(&args->pixels_in);
    TRY_CUDA(gpu_load(&out, args->planar_in, &pixels, stream->stream), kernel->name);
    return UNET_OK;
}

static unet_status launch_store(const struct kernel *kernel, const struct kernel_desc *desc,
                                const struct kernel_args *args, struct device_stream *stream,
                                unet_error *error)
{
    (void)desc;
    struct gpu_tensor in = gpu_view(&args->sources[0]);
    struct gpu_planes to = gpu_planes_of(args);
    TRY_CUDA(gpu_store(&in, &to, stream->stream), kernel->name);
    return UNET_OK;
}

static unet_status launch_max_pool(const struct kernel *kernel, const struct kernel_desc *desc,
                                   const struct kernel_args *args, struct device_stream *stream,
                                   unet_error *error)
{
    (void)desc;
    struct gpu_tensor in = gpu_view(&args->sources[0]), out = gpu_view(&args->out);
    TRY_CUDA(gpu_max_pool(&in, &out, stream->stream), kernel->name);
    return UNET_OK;
}

static unet_status launch_upsample(const struct kernel *kernel, const struct kernel_desc *desc,
                                   const struct kernel_args *args, struct device_stream *stream,
                                   unet_error *error)
{
    (void)desc;
    struct gpu_tensor in = gpu_view(&args->sources[0]), out = gpu_view(&args->out);
    TRY_CUDA(gpu_upsample(&in, &out, args->offset_y, args->offset_x, stream->stream), kernel->name);
    TRY_CUDA(gpu_clear_around(&out, args->offset_y, args->offset_x, 2 * in.height, 2 * in.width,
                              stream->stream),
             kernel->name);
    return UNET_OK;
}

#define POINTWISE_KERNEL(verb, VERB, text, refused)                                                \
    const struct kernel cuda_##verb = {                                                            \
        .name = text,                                                                              \
        .op = KERNEL_##VERB,                                                                       \
        .refuse = refused,                                                                         \
        .packed_bytes = kernel_no_packed_bytes,                                                    \
        .pack = kernel_no_pack,                                                                    \
        .scratch_bytes = kernel_no_scratch,                                                        \
        .launch = launch_##verb,                                                                   \
        .compute_least = 75,                                                                       \
    };

POINTWISE_KERNEL(load, LOAD, "load.transpose.cuda", refuse_planes)
POINTWISE_KERNEL(store, STORE, "store.transpose.cuda", refuse_planes)
POINTWISE_KERNEL(max_pool, MAX_POOL, "max_pool2x2.rows.cuda", refuse_max_pool)
POINTWISE_KERNEL(upsample, UPSAMPLE, "upsample2x.bilinear.cuda", refuse_upsample)
