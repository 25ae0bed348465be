/* The 3×3 convolution, stride 1, padding 1, by Winograd's F(m×m, 3×3), m = 2, 4, 6: the way through
 * the tensors, for all three. winograd.h has the algebra, tile.h the products, conv_finish.h the
 * finish.
 *
 * A task is a strip of tile rows × a part of the groups of output channels. It goes through the
 * strip's tiles in CHUNKS, which cross tile rows as they come:
 *
 *     for each chunk:
 *       input transform               V: all positions × all input channels × chunk
 *       for each set of groups:
 *         for each position:
 *           products                  M: all positions × the set's channels × chunk
 *         output transform            ReLU, pool and store of whole tiles in registers; the others
 *                                     and what a head reads go by way of scratch to conv_finish.h
 *
 * The bias is put into M at the position of the points 1 and 1: Aᵀ has ones there, and so it comes
 * out in each of the outputs; where M is integers, when the output transform scales it.
 * docs/performance.md has the numbers. */
#include "kernels/conv_finish.h"
#include "kernels/list.h"
#include "kernels/share.h"
#include "kernels/upsampled.h"
#include "kernels/winograd_cut.h"

/* Blocks of input channels in one sweep over a chunk: their weights, at most 32 KiB, stay in L1. */
#define MOST_SWEEP_BLOCKS 16
static const int sweep_blocks[KERNEL_TYPE_COUNT] = {
    [KERNEL_F32] = 8, [KERNEL_BF16] = 16, [KERNEL_U8] = 16};

/* A multiple of the pixels of tile.h's largest tiles for four blocks. */
#define CHUNK_STEP 6

/* Of a strip, unless there are fewer. */
#define LEAST_CHUNK 24

/* The input transform for a part again, as a share of what a group's products take. */
#define TRANSFORM_SHARE 0.1

/* A tensor that would not wait in a last-level cache until the next layer reads it. */
#define LARGE_BYTES ((size_t)24 << 20)

/* Tiles of a sweep that fetch input of the next chunk meanwhile. */
#define FETCHES 2

/* Fewer channels: the transforms cost more than they save. 16 gain half of the direct method's
 * speed, and up to 16 cost the same. */
#define LEAST_CHANNELS 12

static const float no_bias[TILE_MAX_BLOCKS * KERNEL_BLOCK] __attribute__((aligned(64)));

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

/* Tiles whose patches are up-sampled at once: what the input transform takes at once. */
static int window_tiles(const struct winograd_cut *cut)
{
    return WINOGRAD_RUN_COLUMNS / cut->out;
}

static size_t scratch_bytes(const struct kernel *kernel, const struct kernel_desc *desc,
                            const struct kernel_args *args)
{
    struct winograd_cut cut = winograd_cut(kernel->method, desc, args);
    int columns = window_tiles(&cut) * cut.out + WINOGRAD_TAPS - 1;
    return winograd_lay_out(desc, &cut, NULL).floats * sizeof(float) +
           upsampled_bytes(desc, args, winograd_patch(cut.out), columns, 1);
}

/* Each strip fills a chunk or at least half of one, so that U is not read more often than it must.
 */
static struct share_limits share_limits(const struct kernel_desc *desc,
                                        const struct winograd_cut *cut)
{
    int least = cut->chunk / 2 > LEAST_CHUNK ? cut->chunk / 2 : LEAST_CHUNK;
    int64_t strips = (int64_t)cut->tile_rows * cut->tile_columns / least;
    return (struct share_limits){
        .rows = cut->tile_rows,
        .least_strips = 1,
        .most_strips = strips < 1 ? 1 : (int)(strips < cut->tile_rows ? strips : cut->tile_rows),
        .groups = desc->head_channels > 0 ? 1 : cut->groups,
        .repeat = TRANSFORM_SHARE,
    };
}

static int task_count(const struct kernel *kernel, const struct kernel_desc *desc,
                      const struct kernel_args *args, int threads)
{
    struct winograd_cut cut = winograd_cut(kernel->method, desc, args);
    struct share_limits limits = share_limits(desc, &cut);
    return share_tasks(&limits, threads);
}

/* ---------------------------------------------------------------- one chunk */

/* What a task works on. */
struct work {
    const struct winograd_method *method;
    const struct kernel_desc *desc;
    const struct kernel_args *args;
    struct winograd_cut cut;
    struct winograd_scratch scratch;
    struct upsampled upsampled;
    int first_group, last_group;
    bool stream;           /* the output */
    bool fetch;            /* the input, a chunk ahead */
    int first_tile, tiles; /* the chunk, in the order of tile rows */
    int next_tiles;        /* of the chunk behind it */
};

/* The part of the chunk from `offset` on that lies in one tile row. */
static struct winograd_run run_at(const struct work *work, int offset)
{
    int tile = work->first_tile + offset, columns = work->cut.tile_columns;
    struct winograd_run run = {.y = tile / columns, .x = tile % columns};
    run.tiles = at_most(columns - run.x, work->tiles - offset);
    return run;
}

/* V of one block of a run of a source that is up-sampled. */
static void transform_upsampled(const struct work *work, int block, struct winograd_run run,
                                float *to)
{
    const struct blocked *whole = &work->upsampled.whole;
    int out = work->cut.out, end = run.x + run.tiles;
    int y = run.y * out - 1, y_end = y + winograd_patch(out);
    struct window window = {
        .y = {y, at_most(y_end, whole->height + 1)},
        .blocks = {block, block + 1},
    };
    for (; run.x < end; run.x += run.tiles) {
        run.tiles = at_most(end - run.x, window_tiles(&work->cut));
        int x = run.x * out - 1, x_end = x + run.tiles * out + WINOGRAD_TAPS - 1;
        window.x = (struct strip){x, at_most(x_end, whole->width + 1)};
        struct blocked made = upsampled_window(&work->upsampled, window);
        work->method->winograd->input(&made, block, run, work->scratch.columns, to,
                                      work->cut.v_position);
        to += (size_t)run.tiles * work->cut.v_tile;
    }
}

static bool is_upsampled(const struct work *work, int source)
{
    return source > 0 && source == work->desc->upsampled;
}

static void transform_run(const struct work *work, int source, int block, struct winograd_run run,
                          float *to)
{
    if (is_upsampled(work, source))
        transform_upsampled(work, block, run, to);
    else
        work->method->winograd->input(&work->args->sources[source], block, run,
                                      work->scratch.columns, to, work->cut.v_position);
}

static void transform_input(const struct work *work)
{
    float *to = work->scratch.v;
    for (int s = 0; s < work->desc->source_count; s++) {
        const struct blocked *source = &work->args->sources[s];
        for (int block = 0; block < kernel_blocks(source->channels); block++) {
            for (int offset = 0; offset < work->tiles;) {
                struct winograd_run run = run_at(work, offset);
                transform_run(work, s, block, run, to + (size_t)offset * work->cut.v_tile);
                offset += run.tiles;
            }
            to += work->cut.v_block;
        }
    }
}

/* Piece `index`, of so many lines, of the first run of the next chunk's input, but for the rows
 * that it shares with the tile row above; NULL past the last one, and where the source is stored
 * nowhere. */
static const float *next_input(const struct work *work, int index, int lines)
{
    if (work->next_tiles == 0)
        return NULL;
    struct work next = *work;
    next.first_tile += work->tiles;
    next.tiles = work->next_tiles;
    struct winograd_run run = run_at(&next, 0);
    int pixels = lines * KERNEL_BLOCK / (int)work->cut.v_tile; /* of one block */
    int out = work->cut.out, pieces = (run.tiles * out + pixels - 1) / pixels;
    int x = run.x * out + index % pieces * pixels;
    int y = run.y * out + 1 + index / pieces % out, block = index / pieces / out;
    for (int s = 0; s < work->desc->source_count; s++) {
        const struct blocked *source = &work->args->sources[s];
        if (block < kernel_blocks(source->channels))
            return y < source->height && !is_upsampled(work, s) ? blocked_at(source, y, block, x)
                                                                : NULL;
        block -= kernel_blocks(source->channels);
    }
    return NULL;
}

/* One sweep: tile_row, while what comes next is fetched into the caches: the next sweep's weights,
 * which follow, where U is wide; else a part of the next chunk's input, by the sweeps from `slot` 0
 * on. */
static void run_sweep(const struct work *work, struct tile *tile, int blocks, int slot)
{
    const struct tile_set *set = work->method->tiles;
    size_t steps = (size_t)tile->tap_count * (size_t)tile->channels;
    const float *weights = tile->weights + steps * (size_t)blocks * KERNEL_BLOCK;
    int count = (work->tiles + set->max_pixels[blocks] - 1) / set->max_pixels[blocks];
    int least = work->tiles / count, longer = work->tiles % count;
    for (int i = 0; i < count; i++) {
        int size = least + (i < longer);
        tile->ahead = NULL;
        if (work->cut.wide && i < blocks)
            tile->ahead = weights + (size_t)i * steps * KERNEL_BLOCK;
        else if (work->fetch && slot >= 0 && i < FETCHES)
            tile->ahead = next_input(work, slot * FETCHES + i, (int)steps);
        set->functions[blocks][size - 1](tile);
        tile->in += (size_t)size * work->cut.v_tile;
        tile->sum += (size_t)size * KERNEL_BLOCK;
    }
}

/* The points 1 and 1. */
static int bias_position(int out)
{
    return winograd_patch(out) + 1;
}

/* One group at one position: all input channels, a sweep after the other. */
static void multiply(const struct work *work, struct conv_group group, int position, float *m)
{
    const struct winograd_cut *cut = &work->cut;
    struct conv_packed packed = conv_packed_parts(work->desc, work->args->packed);
    size_t lanes = (size_t)group.count * KERNEL_BLOCK, in = (size_t)cut->in_blocks * cut->v_tile;
    int most = sweep_blocks[work->method->winograd->type];
    bool whole = work->method->winograd->type == KERNEL_U8;
    ptrdiff_t taps[MOST_SWEEP_BLOCKS];
    for (int i = 0; i < most; i++)
        taps[i] = i * (ptrdiff_t)cut->v_block;
    struct tile tile = {
        .taps = taps,
        .channels = (int)cut->v_tile,
        .weights = packed.weights + winograd_scale_floats(work->desc, cut->out) +
                   (size_t)cut->positions * in * (size_t)group.first * KERNEL_BLOCK +
                   (size_t)position * in * lanes,
        .bias = position == bias_position(cut->out) && !whole
                    ? packed.bias + group.first * KERNEL_BLOCK
                    : no_bias,
        .sum_stride = cut->m_block,
    };
    int sweeps = (cut->in_blocks + most - 1) / most, done = 0;
    bool first = group.first == conv_group(work->desc, work->method->tiles->max_blocks,
                                           work->first_group).first;
    for (int sweep = 0; sweep < sweeps; sweep++) {
        int end = cut->in_blocks * (sweep + 1) / sweeps;
        tile.tap_count = end - done;
        tile.in = work->scratch.v + (size_t)position * cut->v_position +
                  (size_t)done * cut->v_block;
        tile.sum = m;
        run_sweep(work, &tile, group.count, first ? position * sweeps + sweep : -1);
        tile.weights += (size_t)tile.tap_count * cut->v_tile * lanes;
        tile.bias = NULL;
        done = end;
    }
}

/* What the output transform needs for one block, wherever it writes. */
static struct winograd_target block_target(const struct work *work, int block)
{
    struct conv_packed packed = conv_packed_parts(work->desc, work->args->packed);
    return (struct winograd_target){
        .scales = packed.weights + (size_t)(block * work->cut.positions) * KERNEL_BLOCK,
        .bias = packed.bias + block * KERNEL_BLOCK,
    };
}

/* A run's outputs in scratch, the head's place for all blocks. */
static struct conv_piece run_piece(const struct work *work, struct winograd_run run)
{
    const struct blocked *in = &work->args->sources[0];
    int out = work->cut.out;
    struct conv_piece piece = {
        .sums = winograd_piece_sums(work->desc, &work->cut),
        .y = run.y * out,
        .x = run.x * out,
    };
    piece.sums.height = at_most(in->height - piece.y, out);
    piece.sums.width = at_most(in->width - piece.x, run.tiles * out);
    piece.sums.data = work->scratch.sums;
    return piece;
}

/* One block of a run by way of scratch: tiles cut off at the edge, and what a head reads. */
static void finish_piece(const struct work *work, struct winograd_run run, int block,
                         const float *m)
{
    struct conv_piece piece = run_piece(work, run);
    piece.first_block = block;
    piece.sums.channels = KERNEL_BLOCK;
    if (work->desc->head_channels > 0)
        piece.sums.data = blocked_at(&piece.sums, 0, block, 0);
    struct winograd_target to = block_target(work, block);
    to.out = piece.sums.data;
    to.out_row = piece.sums.row_stride;
    to.sums = true;
    work->method->winograd->output(m, work->cut.m_position, run.tiles, &to);
    conv_finish_blocks(work->method->ops, work->desc, work->args, &piece);
}

/* Whether the output transform stores what is wanted itself: elements of the inputs' type. */
static bool stores_outputs(const struct kernel_desc *desc)
{
    return desc->head_channels == 0 && (!desc->store_out || desc->out_type == desc->in_type) &&
           (!desc->pool || desc->pooled_type == desc->in_type);
}

/* How many tiles of a run are whole and need no scratch. */
static int whole_tiles(const struct work *work, struct winograd_run run)
{
    const struct blocked *in = &work->args->sources[0];
    if (!stores_outputs(work->desc) || (run.y + 1) * work->cut.out > in->height)
        return 0;
    return at_most(in->width / work->cut.out - run.x, run.tiles);
}

/* The outputs of one block of a run: `m` is the block's M at the run. */
static void finish_block(const struct work *work, struct winograd_run run, int block,
                         const float *m)
{
    const struct kernel_args *args = work->args;
    int whole = whole_tiles(work, run);
    if (whole > 0) {
        int y = run.y * work->cut.out, x = run.x * work->cut.out;
        struct winograd_target to = block_target(work, block);
        to.relu = work->desc->relu;
        to.stream = work->stream;
        if (work->desc->store_out) {
            to.out = blocked_at(&args->out, y, block, x);
            to.out_row = args->out.row_stride;
        }
        if (work->desc->pool) {
            to.pooled = blocked_at(&args->pooled, y / 2, block, x / 2);
            to.pooled_row = args->pooled.row_stride;
        }
        work->method->winograd->output(m, work->cut.m_position, whole, &to);
    }
    run.x += whole;
    run.tiles -= whole;
    if (run.tiles > 0)
        finish_piece(work, run, block, m + (size_t)whole * KERNEL_BLOCK);
}

static void finish_head(const struct work *work, struct winograd_run run)
{
    const struct blocked *in = &work->args->sources[0];
    struct conv_piece piece = run_piece(work, run);
    conv_finish_head(work->method->ops, work->desc, work->args, &piece, in->height, in->width);
}

static void run_set(const struct work *work, int first_group, int last_group)
{
    const struct winograd_cut *cut = &work->cut;
    int most = work->method->tiles->max_blocks;
    int first = conv_group(work->desc, most, first_group).first, end = first;
    for (int position = 0; position < cut->positions; position++) {
        float *m = work->scratch.m + (size_t)position * cut->m_position;
        for (int g = first_group; g < last_group; g++) {
            struct conv_group group = conv_group(work->desc, most, g);
            multiply(work, group, position, m + (size_t)(group.first - first) * cut->m_block);
            end = group.first + group.count;
        }
    }
    for (int offset = 0; offset < work->tiles;) {
        struct winograd_run run = run_at(work, offset);
        for (int block = first; block < end; block++)
            finish_block(work, run, block,
                         work->scratch.m + (size_t)(block - first) * cut->m_block +
                             (size_t)offset * KERNEL_BLOCK);
        if (work->desc->head_channels > 0)
            finish_head(work, run);
        offset += run.tiles;
    }
}

static void run_chunk(const struct work *work)
{
    transform_input(work);
    for (int g = work->first_group; g < work->last_group; g += work->cut.set_groups)
        run_set(work, g, at_most(g + work->cut.set_groups, work->last_group));
}

/* ---------------------------------------------------------------- one task */

static void finish_borders(const struct work *work, int first_row, int last_row)
{
    int height = work->args->sources[0].height, most = work->method->tiles->max_blocks;
    struct conv_rows rows = {
        .first = first_row * work->cut.out,
        .last = at_most(last_row * work->cut.out, height),
    };
    rows.pooled_first = rows.first / 2;
    rows.pooled_last = rows.last / 2;
    struct conv_group last = conv_group(work->desc, most, work->last_group - 1);
    struct conv_group blocks = {conv_group(work->desc, most, work->first_group).first, 0};
    blocks.count = last.first + last.count - blocks.first;
    conv_finish_borders(work->desc, work->args, rows, blocks);
}

static bool is_large(const struct blocked *t)
{
    return t->row_stride * (size_t)t->height * kernel_type_bytes(t->type) >= LARGE_BYTES;
}

/* As many chunks as `tiles` need, as even as steps of the tiles' size let them be. */
static int even_chunk(const struct winograd_cut *cut, int tiles)
{
    int count = (tiles + cut->chunk - 1) / cut->chunk;
    int even = (tiles + count - 1) / count;
    return at_most((even + CHUNK_STEP - 1) / CHUNK_STEP * CHUNK_STEP, cut->chunk);
}

static void run(const struct kernel *kernel, const struct kernel_desc *desc,
                const struct kernel_args *args, int task, int tasks, void *memory)
{
    const struct winograd_method *method = kernel->method;
    struct work work = {
        .method = method, .desc = desc, .args = args, .cut = winograd_cut(method, desc, args)};
    const struct winograd_cut *cut = &work.cut;
    work.scratch = winograd_lay_out(desc, cut, memory);
    work.upsampled =
        upsampled_begin(method->ops, desc, args, (float *)memory + work.scratch.floats);
    work.stream = desc->store_out && is_large(&args->out);
    work.fetch = !cut->wide && is_large(&args->sources[0]);
    struct share_limits limits = share_limits(desc, cut);
    struct share share = share_of(&limits, tasks);
    int strip = task / share.parts, part = task % share.parts;
    work.first_group = (int)((int64_t)cut->groups * part / share.parts);
    work.last_group = (int)((int64_t)cut->groups * (part + 1) / share.parts);
    int first_row = (int)((int64_t)cut->tile_rows * strip / share.strips);
    int last_row = (int)((int64_t)cut->tile_rows * (strip + 1) / share.strips);
    int end = last_row * cut->tile_columns;
    int chunk = even_chunk(cut, (last_row - first_row) * cut->tile_columns);
    for (int tile = first_row * cut->tile_columns; tile < end; tile += chunk) {
        work.first_tile = tile;
        work.tiles = at_most(end - tile, chunk);
        work.next_tiles = at_most(end - tile - work.tiles, chunk);
        run_chunk(&work);
    }
    finish_borders(&work, first_row, last_row);
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
    static const struct winograd_method method##size##_##set = {                                   \
        &tile_set_##set, &row_ops_##set, &winograd##size##_ops_##set};                             \
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
WINOGRAD_U8_KERNEL(2, avx2, i16_avx2, AVX2, 0, KERNEL_U8)
WINOGRAD_U8_KERNEL(4, avx2, i16_avx2, AVX2, 0, KERNEL_U8)
WINOGRAD_U8_KERNEL(2, avx512, i16_avx512vnni, AVX512, CPU_AVX512_VNNI, KERNEL_U8)
WINOGRAD_U8_KERNEL(4, avx512, i16_avx512vnni, AVX512, CPU_AVX512_VNNI, KERNEL_U8)
