#include "kernels/kernel.h"

#include <stdio.h>
#include <string.h>

#define TENSOR_ALIGNMENT 64
#define NHWC_ALIGNMENT   256
#define NHWC_PIXEL_BYTES 16
#define LARGE_BYTES      ((size_t)24 << 20)

const char *kernel_type_name(enum kernel_type type)
{
    static const char *const names[KERNEL_TYPE_COUNT] = {
        [KERNEL_F32] = "f32", [KERNEL_F16] = "f16",   [KERNEL_BF16] = "bf16",
        [KERNEL_U8] = "u8",   [KERNEL_E4M3] = "e4m3",
    };
    return names[type];
}

size_t blocked_init(struct blocked *t, enum kernel_type type, int channels, int height, int width)
{
    t->type = type;
    t->channels = channels;
    t->height = height;
    t->width = width;
    t->images = 1;
    t->pixel_stride = t->image_stride = 0;
    t->block_stride = ((size_t)width + 2 * KERNEL_BORDER) * KERNEL_BLOCK;
    t->row_stride = t->block_stride * (size_t)kernel_blocks(channels);
    size_t bytes = t->row_stride * ((size_t)height + 2 * KERNEL_BORDER) * kernel_type_bytes(type);
    return (bytes + TENSOR_ALIGNMENT - 1) / TENSOR_ALIGNMENT * TENSOR_ALIGNMENT;
}

size_t blocked_origin(const struct blocked *t)
{
    size_t elements = t->row_stride * KERNEL_BORDER + (size_t)KERNEL_BORDER * KERNEL_BLOCK;
    return elements * kernel_type_bytes(t->type);
}

bool kernel_is_large(const struct kernel_args *args, const struct blocked *t)
{
    size_t limit = args->cache_bytes > 0 ? args->cache_bytes : LARGE_BYTES;
    return t->row_stride * (size_t)t->height * kernel_type_bytes(t->type) >= limit;
}

size_t nhwc_init(struct blocked *t, enum kernel_type type, int channels, int height, int width,
                 int images)
{
    size_t step = NHWC_PIXEL_BYTES / kernel_type_bytes(type);
    t->type = type;
    t->channels = channels;
    t->height = height;
    t->width = width;
    t->images = images;
    t->block_stride = 0;
    t->pixel_stride = ((size_t)channels + step - 1) / step * step;
    t->row_stride = t->pixel_stride * (size_t)width;
    t->image_stride = t->row_stride * (size_t)height;
    size_t bytes = t->image_stride * (size_t)images * kernel_type_bytes(type);
    return (bytes + NHWC_ALIGNMENT - 1) / NHWC_ALIGNMENT * NHWC_ALIGNMENT;
}

void kernel_zero_pixels(const struct blocked *t, int y, int block, int x, int count)
{
    if (count <= 0)
        return;
    memset(blocked_at(t, y, block, x), t->zero,
           (size_t)count * KERNEL_BLOCK * kernel_type_bytes(t->type));
}

void kernel_zero_border(const struct blocked *t, int first_row, int last_row, int first_block,
                        int last_block)
{
    for (int y = first_row; y < last_row; y++) {
        for (int block = first_block; block < last_block; block++) {
            kernel_zero_pixels(t, y, block, -1, 1);
            kernel_zero_pixels(t, y, block, t->width, 1);
        }
    }
    for (int block = first_block; block < last_block; block++) {
        if (first_row == 0 && last_row > 0)
            kernel_zero_pixels(t, -1, block, -1, t->width + 2);
        if (last_row == t->height && first_row < last_row)
            kernel_zero_pixels(t, t->height, block, -1, t->width + 2);
    }
}

size_t kernel_no_packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    (void)desc;
    return 0;
}

void kernel_no_pack(const struct kernel *kernel, const struct kernel_desc *desc,
                    const struct kernel_weights *weights, void *packed)
{
    (void)kernel;
    (void)desc;
    (void)weights;
    (void)packed;
}

size_t kernel_no_scratch(const struct kernel *kernel, const struct kernel_desc *desc,
                         const struct kernel_args *args)
{
    (void)kernel;
    (void)desc;
    (void)args;
    return 0;
}

struct kernel_share kernel_share(const struct kernel *kernel, const struct kernel_desc *desc,
                                 const struct kernel_args *args)
{
    struct kernel_share share = {0};
    if (kernel->share != NULL && kernel->share(kernel, desc, args, &share))
        return share;
    return (struct kernel_share){
        .phases = 1,
        .tasks = kernel->task_count != NULL ? kernel->task_count(kernel, desc, args) : 0,
        .scratch_bytes = kernel->scratch_bytes(kernel, desc, args),
    };
}

const char *kernel_machine_refusal(const struct kernel *kernel, enum cpu_tier tier, char *text,
                                   size_t bytes)
{
    if (kernel->tier > tier) {
        snprintf(text, bytes, "needs %s, the tier is %s", cpu_tier_name(kernel->tier),
                 cpu_tier_name(tier));
        return text;
    }
    uint32_t missing = kernel->features & ~cpu_features_allowed();
    if (missing != 0) {
        char names[128];
        bool masked = (missing & ~cpu_features()) == 0;
        cpu_feature_names(missing, names, sizeof names);
        snprintf(text, bytes, "needs %s, which %s", names,
                 masked ? "UNET_CPU rules out" : "this machine lacks");
        return text;
    }
    return NULL;
}
