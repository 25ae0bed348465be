/* The caller's planar tensors and pixels to blocked ones; and back, to planes or to a mask. */
#include "kernels/planar.h"

#include "kernels/list.h"
#include "kernels/strips.h"

static const char *refuse(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    if (desc->source_count != 1)
        return "one source only";
    if (desc->source_channels[0] != desc->out_channels)
        return "as many channels out as in";
    enum kernel_type planes = desc->op == KERNEL_LOAD ? desc->in_type : desc->out_type;
    return planes != KERNEL_F32 ? "float32 planes only" : NULL;
}

static int block_channels(const struct blocked *t, int block)
{
    int left = t->channels - block * KERNEL_BLOCK;
    return left < KERNEL_BLOCK ? left : KERNEL_BLOCK;
}

/* Where row y of a block's first plane begins. */
static size_t plane_place(const struct blocked *t, int block, int y)
{
    size_t row = (size_t)block * KERNEL_BLOCK * (size_t)t->height + (size_t)y;
    return row * (size_t)t->width;
}

void planar_load_row(const struct typed_row_ops *ops, const struct kernel_args *args,
                     const struct blocked *to, int y)
{
    const struct kernel_pixels *pixels = &args->pixels_in;
    size_t plane_stride = (size_t)to->height * (size_t)to->width;
    if (pixels->bytes != NULL) {
        size_t first = (size_t)y * (size_t)to->width * (size_t)pixels->step;
        struct pixel_row row = {pixels->bytes + first, pixels->step, to->channels, pixels->values};
        ops->from_pixels(blocked_at(to, y, 0, 0), &row, to->width);
        return;
    }
    for (int block = 0; block < kernel_blocks(to->channels); block++)
        ops->from_planes(blocked_at(to, y, block, 0), args->planar_in + plane_place(to, block, y),
                         plane_stride, block_channels(to, block), to->width);
}

static void load(const struct kernel *kernel, const struct kernel_desc *desc,
                 const struct kernel_args *args, int task, int tasks, void *scratch)
{
    (void)scratch;
    const struct row_ops *all = kernel->method;
    const struct typed_row_ops *ops = &all->of[desc->out_type];
    const struct blocked *out = &args->out;
    struct strip rows = strip_rows(out->height, task, tasks);
    for (int y = rows.first; y < rows.last; y++)
        planar_load_row(ops, args, out, y);
    kernel_zero_border(out, rows.first, rows.last, 0, kernel_blocks(out->channels));
}

static void store_row(const struct typed_row_ops *ops, const struct kernel_args *args, int y)
{
    const struct blocked *in = &args->sources[0];
    const struct kernel_mask *mask = &args->mask_out;
    size_t plane_stride = (size_t)in->height * (size_t)in->width;
    if (mask->classes != NULL) {
        uint8_t *classes = mask->classes + (size_t)y * (size_t)in->width;
        struct mask_row row = {
            blocked_at(in, y, 0, 0), in->block_stride, in->channels, {classes, mask->above}};
        ops->to_mask(&row, in->width);
        return;
    }
    for (int block = 0; block < kernel_blocks(in->channels); block++)
        ops->to_planes(args->planar_out + plane_place(in, block, y), plane_stride,
                       blocked_at(in, y, block, 0), block_channels(in, block), in->width);
}

static void store(const struct kernel *kernel, const struct kernel_desc *desc,
                  const struct kernel_args *args, int task, int tasks, void *scratch)
{
    (void)scratch;
    const struct row_ops *all = kernel->method;
    const struct typed_row_ops *ops = &all->of[desc->in_type];
    const struct blocked *in = &args->sources[0];
    struct strip rows = strip_rows(in->height, task, tasks);
    for (int y = rows.first; y < rows.last; y++)
        store_row(ops, args, y);
}

static int task_count(const struct kernel *kernel, const struct kernel_desc *desc,
                      const struct kernel_args *args)
{
    (void)kernel;
    int height = desc->op == KERNEL_LOAD ? args->out.height : args->sources[0].height;
    return strip_count(height, args->threads);
}

#define PLANAR_KERNEL(verb, VERB, lower, upper)                                                    \
    const struct kernel verb##_##lower = {                                                         \
        .name = #verb ".transpose." #lower,                                                        \
        .op = KERNEL_##VERB,                                                                       \
        .tier = CPU_TIER_##upper,                                                                  \
        .method = &row_ops_##lower,                                                                \
        .refuse = refuse,                                                                          \
        .packed_bytes = kernel_no_packed_bytes,                                                    \
        .pack = kernel_no_pack,                                                                    \
        .scratch_bytes = kernel_no_scratch,                                                        \
        .task_count = task_count,                                                                  \
        .run = verb,                                                                               \
    };

PLANAR_KERNEL(load, LOAD, c, C)
PLANAR_KERNEL(load, LOAD, avx2, AVX2)
PLANAR_KERNEL(load, LOAD, avx512, AVX512)
PLANAR_KERNEL(store, STORE, c, C)
PLANAR_KERNEL(store, STORE, avx2, AVX2)
PLANAR_KERNEL(store, STORE, avx512, AVX512)
