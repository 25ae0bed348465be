/* Bilinear ×2 with aligned corners, placed in a larger (or smaller) tensor. */
#include "kernels/list.h"
#include "kernels/upsampled.h"

static const char *refuse(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    if (desc->source_count != 1)
        return "one source only";
    if (desc->source_channels[0] != desc->out_channels)
        return "as many channels out as in";
    return desc->relu ? "no ReLU" : rows_refuse_types(desc);
}

static size_t scratch_bytes(const struct kernel *kernel, const struct kernel_desc *desc,
                            const struct kernel_args *args)
{
    (void)kernel;
    (void)desc;
    return 2 * (size_t)args->sources[0].width * sizeof(struct upsample_column);
}

static int task_count(const struct kernel *kernel, const struct kernel_desc *desc,
                      const struct kernel_args *args)
{
    (void)kernel;
    (void)desc;
    return strip_count(args->out.height, args->threads);
}

/* Row y of the result into row y + result.y of `out`, columns clipped. */
static void upsample_row(const struct typed_row_ops *ops, const struct kernel_args *args,
                         struct placed result, const struct upsample_column *columns, int y)
{
    const struct blocked *in = &args->sources[0], *out = &args->out;
    int begin = result.x < 0 ? -result.x : 0;
    int end = result.x + result.width > out->width ? out->width - result.x : result.width;
    if (begin >= end)
        return;
    for (int block = 0; block < kernel_blocks(out->channels); block++)
        upsampled_row(ops, in, columns, y, block, (struct strip){begin, end},
                      blocked_at(out, y + result.y, block, begin + result.x));
}

static void run(const struct kernel *kernel, const struct kernel_desc *desc,
                const struct kernel_args *args, int task, int tasks, void *scratch)
{
    const struct row_ops *all = kernel->method;
    const struct typed_row_ops *ops = &all->of[desc->out_type];
    struct upsample_column *columns = scratch;
    const struct blocked *in = &args->sources[0], *out = &args->out;
    struct placed result = {args->offset_y, args->offset_x, 2 * in->height, 2 * in->width};
    struct strip rows = strip_rows(out->height, task, tasks);
    upsampled_columns(columns, in->width);
    for (int y = rows.first; y < rows.last; y++)
        if (y >= result.y && y < result.y + result.height)
            upsample_row(ops, args, result, columns, y - result.y);
    zero_around(out, result, rows, 0, kernel_blocks(out->channels));
}

/* Where AVX512_BF16 is missing, upsample_avx512 rounds to bf16 in seven instructions instead of
 * one. */
static const char *refuse_but_bf16(const struct kernel *kernel, const struct kernel_desc *desc)
{
    return desc->in_type != KERNEL_BF16 ? "bf16 only" : refuse(kernel, desc);
}

#define UPSAMPLE_KERNEL(lower, upper)                                                              \
    const struct kernel upsample_##lower = {                                                       \
        .name = "upsample2x.bilinear." #lower,                                                     \
        .op = KERNEL_UPSAMPLE,                                                                     \
        .tier = CPU_TIER_##upper,                                                                  \
        .method = &row_ops_##lower,                                                                \
        .refuse = refuse,                                                                          \
        .packed_bytes = kernel_no_packed_bytes,                                                    \
        .pack = kernel_no_pack,                                                                    \
        .scratch_bytes = scratch_bytes,                                                            \
        .task_count = task_count,                                                                  \
        .run = run,                                                                                \
    };

const struct kernel upsample_bf16_avx512 = {
    .name = "upsample2x.bilinear_bf16.avx512",
    .op = KERNEL_UPSAMPLE,
    .tier = CPU_TIER_AVX512,
    .features = CPU_AVX512_BF16,
    .method = &row_ops_avx512bf16,
    .refuse = refuse_but_bf16,
    .packed_bytes = kernel_no_packed_bytes,
    .pack = kernel_no_pack,
    .scratch_bytes = scratch_bytes,
    .task_count = task_count,
    .run = run,
};

UPSAMPLE_KERNEL(c, C)
UPSAMPLE_KERNEL(avx2, AVX2)
UPSAMPLE_KERNEL(avx512, AVX512)
