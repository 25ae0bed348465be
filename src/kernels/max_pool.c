/* 2×2 max-pool with stride 2 that no convolution could take along. */
#include "kernels/list.h"
#include "kernels/rows.h"
#include "kernels/strips.h"

static const char *refuse(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    if (desc->source_count != 1)
        return "one source only";
    if (desc->source_channels[0] != desc->out_channels)
        return "as many channels out as in";
    if (desc->kernel_h != 2 || desc->kernel_w != 2 || desc->stride != 2 || desc->padding != 0)
        return "2×2 with stride 2 only";
    return desc->relu ? "no ReLU" : rows_refuse_types(desc);
}

static int task_count(const struct kernel *kernel, const struct kernel_desc *desc,
                      const struct kernel_args *args)
{
    (void)kernel;
    (void)desc;
    return strip_count(args->out.height, args->threads);
}

static void run(const struct kernel *kernel, const struct kernel_desc *desc,
                const struct kernel_args *args, int task, int tasks, void *scratch)
{
    (void)scratch;
    const struct row_ops *all = kernel->method;
    const struct typed_row_ops *ops = &all->of[desc->out_type];
    const struct blocked *in = &args->sources[0], *out = &args->out;
    struct strip rows = strip_rows(out->height, task, tasks);
    int blocks = kernel_blocks(out->channels);
    for (int y = rows.first; y < rows.last; y++)
        for (int block = 0; block < blocks; block++)
            ops->max_pool(blocked_at(out, y, block, 0), blocked_at(in, 2 * y, block, 0),
                          blocked_at(in, 2 * y + 1, block, 0), out->width);
    kernel_zero_border(out, rows.first, rows.last, 0, blocks);
}

#define MAX_POOL_KERNEL(lower, upper)                                                              \
    const struct kernel max_pool_##lower = {                                                       \
        .name = "max_pool2x2.rows." #lower,                                                        \
        .op = KERNEL_MAX_POOL,                                                                     \
        .tier = CPU_TIER_##upper,                                                                  \
        .method = &row_ops_##lower,                                                                \
        .refuse = refuse,                                                                          \
        .packed_bytes = kernel_no_packed_bytes,                                                    \
        .pack = kernel_no_pack,                                                                    \
        .scratch_bytes = kernel_no_scratch,                                                        \
        .task_count = task_count,                                                                  \
        .run = run,                                                                                \
    };

MAX_POOL_KERNEL(c, C)
MAX_POOL_KERNEL(avx2, AVX2)
MAX_POOL_KERNEL(avx512, AVX512)
