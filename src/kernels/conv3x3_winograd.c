/* The 3×3 convolution, stride 1, padding 1, by Winograd's F(m×m, 3×3), m = 2, 4, 6: the way through
 * the tensors, for all three. winograd.h has the algebra, tile.h the products, conv_finish.h the
 * finish.
 *
 * A task is a strip of tiles, row by row, × a part of the groups of output channels. Strips end
 * where they will, not at ends of rows: 86 rows shared out to 16 threads would make one thread wait
 * for every tenth; and where there are enough of them they taper (share.h). A task goes through
 * its strip's tiles in CHUNKS, which cross tile rows as well:
 *
 *     for each chunk:
 *       input transform               V: all positions × all input channels × chunk
 *       for each set of groups:
 *         for each position:
 *           products                  M: all positions × the set's channels × chunk
 *         output transform            ReLU, pool and store of whole tiles in registers; the others
 *                                     and what a head reads go by way of scratch to conv_finish.h
 *
 * Where that lets many threads read much of the same memory each for itself, they do it together,
 * in phases: winograd_phases.c.
 *
 * The bias is put into M at the position of the points 1 and 1: Aᵀ has ones there, and so it comes
 * out in each of the outputs; where M is integers, when the output transform scales it.
 * docs/performance.md has the numbers. */
#include "kernels/list.h"
#include "kernels/share.h"
#include "kernels/winograd_phases.h"

/* A multiple of the pixels of tile.h's largest tiles for four blocks. */
#define CHUNK_STEP 6

/* Of a strip, unless there are fewer. */
#define LEAST_CHUNK 24

/* Tiles that strips are made of: few enough to be even, and half of the shortest chunk. */
#define STRIP_UNIT (2 * CHUNK_STEP)

/* The input transform for a part again, as a share of what a group's products take. */
#define TRANSFORM_SHARE 0.1

/* Fewer channels: the transforms cost more than they save. 16 gain half of the direct method's
 * speed, and up to 16 cost the same. */
#define LEAST_CHANNELS 12

static const char *refuse(const struct kernel *kernel, const struct kernel_desc *desc)
{
    const struct winograd_method *method = kernel->method;
    const char *reason = conv3x3_refuse(desc, method->winograd->type);
    if (reason != NULL)
        return reason;
    if (desc->in_type == KERNEL_U8 && winograd_coarse(desc, method->winograd->out))
        return "too many input channels for sums of 32 bits";
    int channels = 0;
    for (int s = 0; s < desc->source_count; s++)
        channels += desc->source_channels[s];
    return channels < LEAST_CHANNELS ? "too few input channels to pay for transforms" : NULL;
}

/* ---------------------------------------------------------------- sizes */

static size_t scratch_bytes(const struct kernel *kernel, const struct kernel_desc *desc,
                            const struct kernel_args *args)
{
    struct winograd_cut cut = winograd_cut(kernel->method, desc, args);
    return winograd_product_floats(&cut) * sizeof(float) + winograd_piece_bytes(desc, args, &cut);
}

static int tile_count(const struct winograd_cut *cut)
{
    return cut->tile_rows * cut->tile_columns;
}

/* Each strip fills a chunk or at least half of one, in the mean where they taper, so that U is not
 * read more often than it must. */
static struct share_limits share_limits(const struct kernel_desc *desc,
                                        const struct winograd_cut *cut)
{
    int least = cut->chunk / 2 > LEAST_CHUNK ? cut->chunk / 2 : LEAST_CHUNK;
    int tiles = tile_count(cut), strips = tiles / least;
    return (struct share_limits){
        .rows = divide_up(tiles, STRIP_UNIT),
        .least_strips = 1,
        .most_strips = strips < 1 ? 1 : strips,
        .may_taper = true,
        .groups = desc->head_channels > 0 ? 1 : cut->groups,
        .repeat = TRANSFORM_SHARE,
    };
}

static int task_count(const struct kernel *kernel, const struct kernel_desc *desc,
                      const struct kernel_args *args)
{
    struct winograd_cut cut = winograd_cut(kernel->method, desc, args);
    struct share_limits limits = share_limits(desc, &cut);
    return share_tasks(&limits, args->threads);
}

/* ---------------------------------------------------------------- one chunk */

static void transform_input(const struct winograd_work *work)
{
    for (int block = 0; block < work->cut.in_blocks; block++) {
        for (int offset = 0; offset < work->tiles;) {
            struct winograd_run run = winograd_run_at(work, offset);
            winograd_transform(work, block, run, offset);
            offset += run.tiles;
        }
    }
}

static struct conv_group group_at(const struct winograd_work *work, int index)
{
    return conv_group(work->desc, work->method->tiles->max_blocks, index);
}

/* The blocks of groups [first, last). */
static struct conv_group blocks_of(const struct winograd_work *work, int first, int last)
{
    struct conv_group blocks = group_at(work, first), end = group_at(work, last - 1);
    blocks.count = end.first + end.count - blocks.first;
    return blocks;
}

static void multiply_set(const struct winograd_work *work, int first_group, int last_group)
{
    const struct winograd_cut *cut = &work->cut;
    struct conv_group group = group_at(work, first_group);
    int first = group.first;
    for (int position = 0; position < cut->positions; position++) {
        float *m = work->scratch.m + (size_t)position * cut->m_position;
        for (int g = first_group; g < last_group; g++) {
            if (last_group - first_group > 1)
                group = group_at(work, g);
            /* The next position's are next in memory, and behind the last one's the next
             * group's. */
            const float *next = winograd_weights(work, group, position + 1);
            winograd_multiply(work, group, position,
                              m + (size_t)(group.first - first) * cut->m_block, next);
        }
    }
}

static void run_set(const struct winograd_work *work, int first_group, int last_group)
{
    const struct winograd_cut *cut = &work->cut;
    struct conv_group blocks = blocks_of(work, first_group, last_group);
    multiply_set(work, first_group, last_group);
    for (int offset = 0; offset < work->tiles;) {
        struct winograd_run run = winograd_run_at(work, offset);
        for (int i = 0; i < blocks.count; i++)
            winograd_finish_block(work, run, blocks.first + i,
                                  work->scratch.m + (size_t)i * cut->m_block +
                                      (size_t)offset * KERNEL_BLOCK);
        if (work->desc->head_channels > 0)
            winograd_finish_head(work, run);
        offset += run.tiles;
    }
}

static void run_chunk(const struct winograd_work *work)
{
    transform_input(work);
    for (int g = work->first_group; g < work->last_group; g += work->cut.set_groups)
        run_set(work, g, at_most(g + work->cut.set_groups, work->last_group));
}

/* ---------------------------------------------------------------- one task */

/* The rows that begin in a strip are its own to finish. */
static struct strip rows_beginning(const struct winograd_cut *cut, struct strip tiles)
{
    return (struct strip){divide_up(tiles.first, cut->tile_columns),
                          divide_up(tiles.last, cut->tile_columns)};
}

/* As many chunks as it takes, as even as steps of the tiles' size let them be. */
static struct strip chunk_at(struct strip tiles, int index, int count)
{
    struct strip steps = strip_rows(divide_up(tiles.last - tiles.first, CHUNK_STEP), index, count);
    return (struct strip){tiles.first + steps.first * CHUNK_STEP,
                          at_most(tiles.first + steps.last * CHUNK_STEP, tiles.last)};
}

static void run_strip(struct winograd_work *work, struct strip tiles)
{
    int count = divide_up(tiles.last - tiles.first, work->cut.chunk);
    for (int i = 0; i < count; i++) {
        struct strip chunk = chunk_at(tiles, i, count), next = chunk_at(tiles, i + 1, count);
        work->first_tile = chunk.first;
        work->tiles = chunk.last - chunk.first;
        work->next_tiles = i + 1 < count ? next.last - next.first : 0;
        run_chunk(work);
    }
    struct strip rows = rows_beginning(&work->cut, tiles);
    winograd_finish_borders(work, rows.first, rows.last,
                            blocks_of(work, work->first_group, work->last_group));
}

static void run(const struct kernel *kernel, const struct kernel_desc *desc,
                const struct kernel_args *args, int task, int tasks, void *memory)
{
    if (args->phases > 0) {
        winograd_run_phase(kernel->method, desc, args, task, tasks, memory);
        return;
    }
    struct winograd_cut cut = winograd_cut(kernel->method, desc, args);
    float *pieces = (float *)memory + winograd_product_floats(&cut);
    struct winograd_work work = winograd_begin(kernel->method, desc, args, &cut, memory, pieces);
    work.fetch = !cut.wide && kernel_is_large(args, &args->sources[0]);
    struct share_limits limits = share_limits(desc, &cut);
    struct share share = share_of(&limits, args->threads, tasks);
    int strip = task / share.parts, part = task % share.parts;
    work.first_group = (int)((int64_t)cut.groups * part / share.parts);
    work.last_group = (int)((int64_t)cut.groups * (part + 1) / share.parts);
    work.first_block = group_at(&work, work.first_group).first;
    struct strip units = share_strip(&limits, share, strip);
    run_strip(&work, (struct strip){units.first * STRIP_UNIT,
                                    at_most(units.last * STRIP_UNIT, tile_count(&cut))});
}

static size_t packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc)
{
    const struct winograd_method *method = kernel->method;
    return winograd_packed_bytes(desc, method->winograd->out);
}

static void pack(const struct kernel *kernel, const struct kernel_desc *desc,
                 const struct kernel_weights *weights, void *packed)
{
    const struct winograd_method *method = kernel->method;
    winograd_pack(desc, weights, method->winograd->out, method->tiles->max_blocks, packed);
}

/* ---------------------------------------------------------------- sizes and tiers */

#define WINOGRAD_KERNEL(size, suffix, lower, set, upper, needs, fast)                              \
    static const struct winograd_method method##size##_##set = {&tile_set_##set, &row_ops_##set,   \
                                                                &winograd##size##_ops_##set};      \
    WINOGRAD_KERNEL_OF(method##size##_##set, size, suffix, lower, upper, needs, fast)
/* Of bytes. */
#define WINOGRAD_U8_KERNEL(size, lower, tiles, upper, needs, fast)                                 \
    static const struct winograd_method method##size##_u8_##lower = {                              \
        &tile_set_##tiles, &row_ops_##lower, &winograd##size##_ops_u8_##lower};                    \
    WINOGRAD_KERNEL_OF(method##size##_u8_##lower, size, _u8, lower, upper, needs, fast)
#define WINOGRAD_KERNEL_OF(how, size, suffix, lower, upper, needs, fast)                           \
    const struct kernel conv3x3_winograd##size##suffix##_##lower = {                               \
        .name = "conv3x3.winograd" #size #suffix "." #lower,                                       \
        .op = KERNEL_CONV,                                                                         \
        .tier = CPU_TIER_##upper,                                                                  \
        .features = needs,                                                                         \
        .fast_type = fast,                                                                         \
        .method = &how,                                                                            \
        .refuse = refuse,                                                                          \
        .packed_bytes = packed_bytes,                                                              \
        .pack = pack,                                                                              \
        .scratch_bytes = scratch_bytes,                                                            \
        .task_count = task_count,                                                                  \
        .share = winograd_share,                                                                   \
        .run = run,                                                                                \
    };
#define WINOGRAD_KERNELS(suffix, lower, set, upper, needs, fast)                                   \
    WINOGRAD_KERNEL(2, suffix, lower, set, upper, needs, fast)                                     \
    WINOGRAD_KERNEL(4, suffix, lower, set, upper, needs, fast)

WINOGRAD_KERNELS(, c, c, C, 0, KERNEL_F32)
WINOGRAD_KERNELS(, avx2, avx2, AVX2, 0, KERNEL_F32)
WINOGRAD_KERNELS(, avx512, avx512, AVX512, 0, KERNEL_F32)
WINOGRAD_KERNEL(6, , c, c, C, 0, KERNEL_F32)
WINOGRAD_KERNEL(6, , avx2, avx2, AVX2, 0, KERNEL_F32)
WINOGRAD_KERNEL(6, , avx512, avx512, AVX512, 0, KERNEL_F32)
/* In bf16 F(6,3) changes too many pixels of a mask: docs/performance.md. */
WINOGRAD_KERNELS(_bf16, avx512, avx512bf16, AVX512, CPU_AVX512_BF16, KERNEL_BF16)
WINOGRAD_U8_KERNEL(2, c, i16_c, C, 0, KERNEL_F32)
WINOGRAD_U8_KERNEL(4, c, i16_c, C, 0, KERNEL_F32)
WINOGRAD_U8_KERNEL(6, c, i16_c, C, 0, KERNEL_F32)
WINOGRAD_U8_KERNEL(2, avx2, i16_avx2, AVX2, 0, KERNEL_U8)
WINOGRAD_U8_KERNEL(4, avx2, i16_avx2, AVX2, 0, KERNEL_U8)
WINOGRAD_U8_KERNEL(6, avx2, i16_avx2, AVX2, 0, KERNEL_U8)
WINOGRAD_U8_KERNEL(2, avx512, i16_avx512vnni, AVX512, CPU_AVX512_VNNI, KERNEL_U8)
WINOGRAD_U8_KERNEL(4, avx512, i16_avx512vnni, AVX512, CPU_AVX512_VNNI, KERNEL_U8)
WINOGRAD_U8_KERNEL(6, avx512, i16_avx512vnni, AVX512, CPU_AVX512_VNNI, KERNEL_U8)
