/* The direct 3×3 convolution, stride 1, padding 1, on a matrix unit (amx.h): the way through the
 * tensors.
 *
 * A task is a strip of rows × a part of the groups of up to 2 blocks of output channels (all of
 * them where a head needs every channel of a pixel). It gathers its input rows into a panel of
 * pixels of 64 bytes, once for all groups: blocks of 16 channels alone would leave half of the unit
 * idle. Then:
 *
 *     for each group:
 *       for each sweep:                     weights, 16 words of channels × 9 taps, twice: 36 KiB,
 *         for each two tiles of the strip,  stay in L1; sums, 16 pixels × 32 channels a tile: 4
 * KiB, up to 18 steps                  from and to scratch, which stays in L2 finish
 *
 * A CHUNK is 16 words of channels of one source: its blocks, and zeros where there are too few.
 * Sums of bytes are int32 in the floats' places; the last sweep of a group makes floats of them. */
#include "kernels/amx.h"
#include "kernels/byte_weights.h"
#include "kernels/conv_finish.h"
#include "kernels/list.h"
#include "kernels/share.h"
#include "kernels/upsampled.h"

#include <string.h>

#define TAPS 9

/* Chunks of a sweep. */
#define SWEEP_CHUNKS 2

/* A strip at most: its panel and a group's sums (at most 256 KiB) share L2. The rows above and
 * below are gathered twice, so not much less either. */
#define STRIP_PIXELS 2048
#define PANEL_BYTES  ((size_t)768 << 10)

/* Gathering a strip for a part again, as a share of what a group's products take: 64 bytes a pixel
 * and chunk to move beside 18 tiles to multiply. */
#define GATHER_SHARE 0.3

static const char *refuse(const struct kernel *kernel, const struct kernel_desc *desc)
{
    const struct amx_method *method = kernel->method;
    return conv3x3_refuse(desc, method->amx->type);
}

/* ---------------------------------------------------------------- packing
 *
 *     | as conv_pack.h up to the weights | group 0 | group 1 | … |
 *
 * A group: source, chunk, tap, and then as amx.h says. */

static int chunk_channels(const struct kernel_desc *desc)
{
    return AMX_WORDS * kernel_word_channels(desc->in_type);
}

static int chunk_count(const struct kernel_desc *desc)
{
    int sum = 0;
    for (int s = 0; s < desc->source_count; s++)
        sum += divide_up(desc->source_channels[s], chunk_channels(desc));
    return sum;
}

static size_t block_bytes(const struct kernel_desc *desc)
{
    return (size_t)chunk_count(desc) * TAPS * AMX_STEP_BYTES;
}

static size_t packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    return conv_constant_floats(desc) * sizeof(float) +
           block_bytes(desc) * (size_t)kernel_blocks(desc->out_channels);
}

/* What is packed; steps NULL: not of bytes. */
struct weights {
    const struct kernel_desc *desc;
    const float *weight, *steps;
    size_t out_stride;
};

/* `channels` of a word are there, for output channel o; `from` is the first one's weight. */
static float pack_word(const struct weights *weights, const float *from, int channels, int o)
{
    if (weights->steps != NULL)
        return byte_weights_word(from, TAPS, channels, weights->steps[o]);
    return conv_pack_word(weights->desc->in_type, from, TAPS, channels);
}

/* One step of one block: `channels` of them are there from the input channel on that `from` is the
 * weight of, for output channel 0 of the block. */
static float *pack_step(float *to, const struct weights *weights, const float *from, int channels,
                        int block)
{
    int word = kernel_word_channels(weights->desc->in_type), first = block * KERNEL_BLOCK;
    for (int w = 0; w < AMX_WORDS; w++)
        for (int o = first; o < first + KERNEL_BLOCK; o++) {
            bool there = from != NULL && o < weights->desc->out_channels && channels > w * word;
            size_t place = (size_t)(o - first) * weights->out_stride + (size_t)(w * word) * TAPS;
            *to++ =
                pack_word(weights, there ? from + place : NULL, there ? channels - w * word : 0, o);
        }
    return to;
}

static float *pack_chunk(float *to, const struct weights *weights, struct conv_group group,
                         int first, int channels)
{
    for (int tap = 0; tap < TAPS; tap++)
        for (int block = group.first; block < group.first + group.count; block++) {
            const float *from = weights->weight;
            if (from != NULL)
                from += (size_t)(block * KERNEL_BLOCK) * weights->out_stride +
                        (size_t)(first * TAPS + tap);
            to = pack_step(to, weights, from, channels, block);
        }
    return to;
}

static float *pack_group(float *to, const struct weights *weights, struct conv_group group)
{
    const struct kernel_desc *desc = weights->desc;
    int first = 0;
    for (int s = 0; s < desc->source_count; first += desc->source_channels[s++])
        for (int c = 0; c < desc->source_channels[s]; c += chunk_channels(desc))
            to = pack_chunk(to, weights, group, first + c, desc->source_channels[s] - c);
    return to;
}

static void pack(const struct kernel *kernel, const struct kernel_desc *desc,
                 const struct kernel_weights *weights, void *packed)
{
    (void)kernel;
    float *to = conv_pack_constants(desc, weights, packed);
    struct weights from = {.desc = desc, .weight = weights->weight};
    for (int s = 0; s < desc->source_count; s++)
        from.out_stride += (size_t)desc->source_channels[s] * TAPS;
    if (desc->in_type == KERNEL_U8) {
        conv_correct_bias(desc, weights, packed);
        from.steps = conv_packed_parts(desc, packed).steps;
    }
    for (int index = 0; index < conv_group_count(desc, AMX_MOST_BLOCKS); index++)
        to = pack_group(to, &from, conv_group(desc, AMX_MOST_BLOCKS, index));
}

/* ---------------------------------------------------------------- sizes */

/* How a call is cut up; follows from the description and the size alone. */
struct cut {
    struct share_limits limits;
    int strip_rows; /* the most that a strip has */
    int chunks, groups;
    int tiles;                     /* of a row */
    size_t panel_row, panel_chunk; /* strides in bytes */
    size_t panel_bytes;
    struct blocked sums; /* of the largest strip */
};

static int most_rows(const struct kernel_desc *desc, const struct cut *cut)
{
    int rows = STRIP_PIXELS / (cut->tiles * AMX_PIXELS);
    int64_t fit = (int64_t)(PANEL_BYTES / (cut->panel_row * (size_t)cut->chunks)) - 2;
    int least = desc->pool ? 2 : 1;
    if (rows > fit)
        rows = (int)fit;
    rows = rows < least ? least : rows;
    return rows - rows % least;
}

/* Units are what strips are made of: rows, or pairs of them. With a pool an odd last row goes with
 * the pair above it: one row more. */
static void cut_rows(const struct kernel_desc *desc, int height, struct cut *cut)
{
    int rows = most_rows(desc, cut);
    int units = conv_rows_most(desc, height);
    int least = divide_up(height, rows);
    cut->limits = (struct share_limits){
        .rows = units,
        .least_strips = least < units ? least : units,
        .most_strips = units,
        .groups = desc->head_channels > 0 ? 1 : cut->groups,
        .repeat = GATHER_SHARE,
    };
    cut->strip_rows = rows + (desc->pool ? 1 : 0);
    if (cut->strip_rows > height)
        cut->strip_rows = height;
}

static struct cut make_cut(const struct kernel_desc *desc, const struct kernel_args *args)
{
    const struct blocked *in = &args->sources[0];
    struct cut cut = {
        .chunks = chunk_count(desc),
        .groups = conv_group_count(desc, AMX_MOST_BLOCKS),
        .tiles = divide_up(in->width, AMX_PIXELS),
    };
    int blocks = kernel_blocks(desc->out_channels), columns = cut.tiles * AMX_PIXELS;
    if (desc->head_channels == 0 && blocks > AMX_MOST_BLOCKS)
        blocks = AMX_MOST_BLOCKS;
    /* An odd number of lines, so that rows and chunks do not meet in the same sets of L1. */
    cut.panel_row = (size_t)((columns + 2) | 1) * AMX_PIXEL_BYTES;
    cut_rows(desc, in->height, &cut);
    cut.panel_chunk = cut.panel_row * ((size_t)cut.strip_rows + 2);
    cut.panel_bytes = cut.panel_chunk * (size_t)cut.chunks;
    size_t row = (size_t)columns * KERNEL_BLOCK;
    cut.sums = (struct blocked){
        .channels = blocks * KERNEL_BLOCK,
        .height = cut.strip_rows,
        .width = in->width,
        .row_stride = row,
        .block_stride = row * (size_t)cut.strip_rows + KERNEL_BLOCK,
    };
    return cut;
}

/* The panel and the sums. */
static size_t work_bytes(const struct cut *cut)
{
    size_t blocks = (size_t)kernel_blocks(cut->sums.channels);
    return cut->panel_bytes + cut->sums.block_stride * blocks * sizeof(float);
}

static size_t scratch_bytes(const struct kernel *kernel, const struct kernel_desc *desc,
                            const struct kernel_args *args)
{
    (void)kernel;
    struct cut cut = make_cut(desc, args);
    int columns = args->sources[0].width + 2 * KERNEL_BORDER;
    return work_bytes(&cut) +
           upsampled_bytes(desc, args, 1, columns, chunk_channels(desc) / KERNEL_BLOCK);
}

static int task_count(const struct kernel *kernel, const struct kernel_desc *desc,
                      const struct kernel_args *args)
{
    (void)kernel;
    struct cut cut = make_cut(desc, args);
    return share_tasks(&cut.limits, args->threads);
}

/* ---------------------------------------------------------------- one task */

struct work {
    const struct amx_method *method;
    const struct kernel_desc *desc;
    const struct kernel_args *args;
    struct cut cut;
    struct conv_rows rows;
    char *panel;
    float *sums;
    struct upsampled upsampled;
};

/* The source, or a row of these blocks of it. */
static struct blocked row_source(const struct work *work, int index, int y, struct strip blocks)
{
    if (index == 0 || index != work->desc->upsampled)
        return work->args->sources[index];
    struct window window = {
        .y = {y, y + 1},
        .x = {-KERNEL_BORDER, work->upsampled.whole.width + KERNEL_BORDER},
        .blocks = blocks,
    };
    return upsampled_window(&work->upsampled, window);
}

/* One chunk of a source: the strip's rows and the two around them, with their borders. */
static void gather_chunk(const struct work *work, int index, int first_block, char *panel)
{
    int most = chunk_channels(work->desc) / KERNEL_BLOCK;
    int count = kernel_blocks(work->desc->source_channels[index]) - first_block;
    count = count < most ? count : most;
    for (int y = work->rows.first - 1; y <= work->rows.last; y++, panel += work->cut.panel_row) {
        const void *blocks[AMX_WORDS];
        struct strip strip = {first_block, first_block + count};
        struct blocked source = row_source(work, index, y, strip);
        for (int b = 0; b < count; b++)
            blocks[b] = blocked_at(&source, y, first_block + b, -1);
        work->method->amx->gather(panel, blocks, count, source.width + 2);
    }
}

static void gather(const struct work *work)
{
    int blocks = chunk_channels(work->desc) / KERNEL_BLOCK;
    char *panel = work->panel;
    for (int s = 0; s < work->desc->source_count; s++) {
        for (int b = 0; b < kernel_blocks(work->desc->source_channels[s]); b += blocks) {
            gather_chunk(work, s, b, panel);
            panel += work->cut.panel_chunk;
        }
    }
}

/* Of a group: what makes floats of its sums; `step` NULL: they are. */
struct scaling {
    const float *step, *bias;
    int blocks;
};

/* `tiles` of them that lie side by side. */
static void scale(const struct work *work, const struct scaling *scaling, float *sums, int tiles)
{
    for (int block = 0; block < scaling->blocks; block++)
        work->method->amx->scale(sums + (size_t)block * work->cut.sums.block_stride,
                                 scaling->step + block * KERNEL_BLOCK,
                                 scaling->bias + block * KERNEL_BLOCK, tiles * AMX_PIXELS);
}

static void place_tile(const struct work *work, const struct amx_product *whole, int tile,
                       struct amx_product *product, int i)
{
    int row = tile / work->cut.tiles, column = tile % work->cut.tiles;
    product->panel[i] = whole->panel[0] + (size_t)row * work->cut.panel_row +
                        (size_t)column * AMX_PIXELS * AMX_PIXEL_BYTES;
    product->sums[i] = whole->sums[0] + (size_t)tile * AMX_PIXELS * KERNEL_BLOCK;
}

/* One sweep of a group over all pixels of the strip. Tiles are scaled, if at all, while the unit
 * works at the next ones. */
static void sweep(const struct work *work, const struct amx_product *whole, int blocks,
                  const struct scaling *scaling)
{
    struct amx_product product = *whole;
    int tiles = (work->rows.last - work->rows.first) * work->cut.tiles, count = 0;
    for (int tile = 0; tile < tiles; tile += count) {
        float *before = product.sums[0];
        count = tiles - tile < AMX_MOST_TILES ? tiles - tile : AMX_MOST_TILES;
        for (int i = 0; i < count; i++)
            place_tile(work, whole, tile + i, &product, i);
        work->method->amx->multiply[count - 1][blocks - 1](&product);
        if (scaling != NULL && tile > 0)
            scale(work, scaling, before, AMX_MOST_TILES);
    }
    if (scaling != NULL)
        scale(work, scaling, product.sums[0], count);
}

/* All sums of a group, to `sums`. */
static void sum_group(const struct work *work, struct conv_group group, float *sums)
{
    static const float zeros[AMX_MOST_BLOCKS * KERNEL_BLOCK];
    const struct cut *cut = &work->cut;
    struct conv_packed packed = conv_packed_parts(work->desc, work->args->packed);
    const char *weights =
        (const char *)packed.weights + block_bytes(work->desc) * (size_t)group.first;
    bool whole = work->method->amx->scale != NULL;
    struct scaling scaling = {packed.steps + group.first * KERNEL_BLOCK,
                              packed.bias + group.first * KERNEL_BLOCK, group.count};
    for (int chunk = 0; chunk < cut->chunks; chunk += SWEEP_CHUNKS) {
        ptrdiff_t steps[SWEEP_CHUNKS * TAPS];
        int chunks = cut->chunks - chunk < SWEEP_CHUNKS ? cut->chunks - chunk : SWEEP_CHUNKS;
        for (int i = 0; i < chunks * TAPS; i++)
            steps[i] = i / TAPS * (ptrdiff_t)cut->panel_chunk +
                       i % TAPS / 3 * (ptrdiff_t)cut->panel_row + i % 3 * AMX_PIXEL_BYTES;
        struct amx_product product = {
            .panel = {work->panel + (size_t)chunk * cut->panel_chunk},
            .steps = steps,
            .step_count = chunks * TAPS,
            .weights = weights,
            .sums = {sums},
            .sum_stride = cut->sums.block_stride,
        };
        if (chunk == 0)
            product.begin = whole ? zeros : scaling.bias;
        bool last = chunk + chunks == cut->chunks;
        sweep(work, &product, group.count, whole && last ? &scaling : NULL);
        weights += (size_t)(chunks * TAPS * group.count) * AMX_STEP_BYTES;
    }
}

static void run_group(const struct work *work, int index)
{
    struct conv_group group = conv_group(work->desc, AMX_MOST_BLOCKS, index);
    struct conv_piece piece = {.sums = work->cut.sums, .y = work->rows.first};
    piece.first_block = group.first;
    piece.sums.channels = group.count * KERNEL_BLOCK;
    piece.sums.height = work->rows.last - work->rows.first;
    piece.sums.data = work->sums;
    if (work->desc->head_channels > 0)
        piece.sums.data = work->sums + (size_t)group.first * work->cut.sums.block_stride;
    sum_group(work, group, piece.sums.data);
    conv_finish_blocks(work->method->ops, work->desc, work->args, &piece);
}

static void finish_head(const struct work *work)
{
    const struct blocked *in = &work->args->sources[0];
    struct conv_piece piece = {.sums = work->cut.sums, .y = work->rows.first};
    piece.sums.height = work->rows.last - work->rows.first;
    piece.sums.data = work->sums;
    conv_finish_head(work->method->ops, work->desc, work->args, &piece, in->height, in->width);
}

static void run(const struct kernel *kernel, const struct kernel_desc *desc,
                const struct kernel_args *args, int task, int tasks, void *scratch)
{
    struct work work = {
        .method = kernel->method, .desc = desc, .args = args, .cut = make_cut(desc, args)};
    struct share share = share_of(&work.cut.limits, args->threads, tasks);
    int part = task % share.parts;
    work.rows = conv_rows(desc, args->sources[0].height, task / share.parts, share.strips);
    work.panel = scratch;
    work.sums = (float *)(work.panel + work.cut.panel_bytes);
    work.upsampled =
        upsampled_begin(work.method->ops, desc, args, work.panel + work_bytes(&work.cut));
    int first = (int)((int64_t)work.cut.groups * part / share.parts);
    int last = (int)((int64_t)work.cut.groups * (part + 1) / share.parts);
    gather(&work);
    work.method->amx->begin();
    for (int group = first; group < last; group++)
        run_group(&work, group);
    work.method->amx->end();
    if (desc->head_channels > 0)
        finish_head(&work);
    struct conv_group begin = conv_group(desc, AMX_MOST_BLOCKS, first);
    struct conv_group end = conv_group(desc, AMX_MOST_BLOCKS, last - 1);
    begin.count = end.first + end.count - begin.first;
    conv_finish_borders(desc, args, work.rows, begin);
}

#define AMX_KERNEL(type_name, row_ops, needs, fast)                                                \
    static const struct amx_method method_##type_name = {&amx_ops_##type_name, &row_ops};          \
    const struct kernel conv3x3_direct_##type_name##_amx = {                                       \
        .name = "conv3x3.direct_" #type_name ".amx",                                               \
        .op = KERNEL_CONV,                                                                         \
        .tier = CPU_TIER_AVX512,                                                                   \
        .features = CPU_AMX_TILE | (needs),                                                        \
        .fast_type = fast,                                                                         \
        .method = &method_##type_name,                                                             \
        .refuse = refuse,                                                                          \
        .packed_bytes = packed_bytes,                                                              \
        .pack = pack,                                                                              \
        .scratch_bytes = scratch_bytes,                                                            \
        .task_count = task_count,                                                                  \
        .run = run,                                                                                \
    };

AMX_KERNEL(bf16, row_ops_avx512bf16, CPU_AVX512_BF16 | CPU_AMX_BF16, KERNEL_BF16)
AMX_KERNEL(u8, row_ops_avx512, CPU_AMX_INT8, KERNEL_U8)
