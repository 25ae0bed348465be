#include "kernels/cuda/view.h"

_Static_assert((int)GPU_F32 == (int)KERNEL_F32 && (int)GPU_F16 == (int)KERNEL_F16 &&
                   (int)GPU_BF16 == (int)KERNEL_BF16 && (int)GPU_U8 == (int)KERNEL_U8 &&
                   (int)GPU_E4M3 == (int)KERNEL_E4M3,
               "both sides number types alike");
_Static_assert(GPU_MAX_SOURCES == KERNEL_MAX_SOURCES, "both sides have as many sources");

struct gpu_tensor gpu_view(const struct blocked *t)
{
    size_t bytes = kernel_type_bytes(t->type);
    return (struct gpu_tensor){
        .data = t->data,
        .row_bytes = t->row_stride * bytes,
        .image_bytes = t->image_stride * bytes,
        .pixel_bytes = (int)(t->pixel_stride * bytes),
        .channels = t->channels,
        .height = t->height,
        .width = t->width,
        .images = t->images,
        .type = (int)t->type,
        .is_signed = t->type == KERNEL_U8 && t->zero != 0,
    };
}

struct gpu_pixels gpu_pixels_of(const struct kernel_pixels *pixels)
{
    return (struct gpu_pixels){pixels->bytes, pixels->values, pixels->step};
}

struct gpu_planes gpu_planes_of(const struct kernel_args *args)
{
    return (struct gpu_planes){args->planar_out, args->mask_out.classes, args->mask_out.above};
}

const char *refuse_all_but_one(const struct kernel_desc *desc)
{
    if (desc->source_count != 1)
        return "one source only";
    if (desc->source_channels[0] != desc->out_channels)
        return "as many channels out as in";
    return desc->relu ? "no ReLU" : NULL;
}
