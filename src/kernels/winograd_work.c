#include "kernels/winograd_work.h"

#include "kernels/conv_finish.h"

/* Blocks of input channels in one sweep over a chunk: their weights, at most 32 KiB, stay in L1. */
#define MOST_SWEEP_BLOCKS 16
static const int sweep_blocks[KERNEL_TYPE_COUNT] = {
    [KERNEL_F32] = 8, [KERNEL_BF16] = 16, [KERNEL_U8] = 16};

/* Tiles of a sweep that fetch input of the next chunk meanwhile. */
#define FETCHES 2

static const float no_bias[TILE_MAX_BLOCKS * KERNEL_BLOCK] __attribute__((aligned(64)));

/* ---------------------------------------------------------------- begin */

/* Tiles whose patches are up-sampled at once: what the input transform takes at once. */
static int window_tiles(const struct winograd_cut *cut)
{
    return WINOGRAD_RUN_COLUMNS / cut->out;
}

size_t winograd_piece_bytes(const struct kernel_desc *desc, const struct kernel_args *args,
                            const struct winograd_cut *cut)
{
    int columns = window_tiles(cut) * cut->out + WINOGRAD_TAPS - 1;
    return winograd_piece_floats(desc, cut) * sizeof(float) +
           upsampled_bytes(desc, args, winograd_patch(cut->out), columns, 1);
}

struct winograd_work winograd_begin(const struct winograd_method *method,
                                    const struct kernel_desc *desc, const struct kernel_args *args,
                                    const struct winograd_cut *cut, float *products, float *pieces)
{
    return (struct winograd_work){
        .method = method,
        .desc = desc,
        .args = args,
        .cut = *cut,
        .packed = conv_packed_parts(desc, args->packed),
        .scratch = winograd_lay_out(cut, products, pieces),
        .upsampled =
            upsampled_begin(method->ops, desc, args, pieces + winograd_piece_floats(desc, cut)),
        .last_group = cut->groups,
        .stream = desc->store_out && kernel_is_large(args, &args->out),
    };
}

/* ---------------------------------------------------------------- input */

struct winograd_run winograd_run_at(const struct winograd_work *work, int offset)
{
    int tile = work->first_tile + offset, columns = work->cut.tile_columns;
    struct winograd_run run = {.y = tile / columns, .x = tile % columns};
    run.tiles = at_most(columns - run.x, work->tiles - offset);
    return run;
}

/* V of one block of a run of a source that is up-sampled. */
static void transform_upsampled(const struct winograd_work *work, int block,
                                struct winograd_run run, float *to)
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

static bool is_upsampled(const struct winograd_work *work, int source)
{
    return source > 0 && source == work->desc->upsampled;
}

static void transform_run(const struct winograd_work *work, int source, int block,
                          struct winograd_run run, float *to)
{
    if (is_upsampled(work, source))
        transform_upsampled(work, block, run, to);
    else
        work->method->winograd->input(&work->args->sources[source], block, run,
                                      work->scratch.columns, to, work->cut.v_position);
}

void winograd_transform(const struct winograd_work *work, int block, struct winograd_run run,
                        int offset)
{
    float *to =
        work->scratch.v + (size_t)block * work->cut.v_block + (size_t)offset * work->cut.v_tile;
    int source = 0;
    for (; block >= kernel_blocks(work->args->sources[source].channels); source++)
        block -= kernel_blocks(work->args->sources[source].channels);
    transform_run(work, source, block, run, to);
}

/* ---------------------------------------------------------------- products */

/* Piece `index`, of so many lines, of the first run of the next chunk's input, but for the rows
 * that it shares with the tile row above; NULL past the last one, and where the source is stored
 * nowhere. */
static const float *next_input(const struct winograd_work *work, int index, int lines)
{
    if (work->next_tiles == 0)
        return NULL;
    struct winograd_work next = *work;
    next.first_tile += work->tiles;
    next.tiles = work->next_tiles;
    struct winograd_run run = winograd_run_at(&next, 0);
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

/* One sweep: tile_row, while what comes next is fetched into the caches: the next sweep's weights
 * where U is wide; else a part of the next chunk's input, by the sweeps from `slot` 0 on. */
static void run_sweep(const struct winograd_work *work, struct tile *tile, int blocks, int slot,
                      const float *next)
{
    const struct tile_set *set = work->method->tiles;
    size_t steps = (size_t)tile->tap_count * (size_t)tile->channels;
    int count = (work->tiles + set->max_pixels[blocks] - 1) / set->max_pixels[blocks];
    int least = work->tiles / count, longer = work->tiles % count;
    for (int i = 0; i < count; i++) {
        int size = least + (i < longer);
        tile->ahead = NULL;
        if (work->cut.wide && i < blocks)
            tile->ahead = next + (size_t)i * steps * KERNEL_BLOCK;
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

const float *winograd_weights(const struct winograd_work *work, struct conv_group group,
                              int position)
{
    const struct winograd_cut *cut = &work->cut;
    size_t lanes = (size_t)group.count * KERNEL_BLOCK, in = (size_t)cut->in_blocks * cut->v_tile;
    return work->packed.weights + winograd_scale_floats(work->desc, cut->out) +
           (size_t)cut->positions * in * (size_t)group.first * KERNEL_BLOCK +
           (size_t)position * in * lanes;
}

/* The bias of a group where M is floats: zeros but for one position. */
static const float *group_bias(const struct winograd_work *work, struct conv_group group,
                               int position)
{
    bool whole = work->method->winograd->type == KERNEL_U8;
    if (position != bias_position(work->cut.out) || whole)
        return no_bias;
    return work->packed.bias + group.first * KERNEL_BLOCK;
}

/* Input channels a sweep after the other. */
void winograd_multiply(const struct winograd_work *work, struct conv_group group, int position,
                       float *m, const float *next)
{
    const struct winograd_cut *cut = &work->cut;
    size_t lanes = (size_t)group.count * KERNEL_BLOCK;
    int most = sweep_blocks[work->method->winograd->type];
    ptrdiff_t taps[MOST_SWEEP_BLOCKS];
    for (int i = 0; i < most; i++)
        taps[i] = i * (ptrdiff_t)cut->v_block;
    struct tile tile = {
        .taps = taps,
        .channels = (int)cut->v_tile,
        .weights = winograd_weights(work, group, position),
        .bias = group_bias(work, group, position),
        .sum_stride = cut->m_block,
    };
    int sweeps = (cut->in_blocks + most - 1) / most, done = 0;
    bool first = group.first == work->first_block;
    for (int sweep = 0; sweep < sweeps; sweep++) {
        int end = cut->in_blocks * (sweep + 1) / sweeps;
        tile.tap_count = end - done;
        tile.in =
            work->scratch.v + (size_t)position * cut->v_position + (size_t)done * cut->v_block;
        tile.sum = m;
        const float *behind = tile.weights + (size_t)tile.tap_count * cut->v_tile * lanes;
        run_sweep(work, &tile, group.count, first ? position * sweeps + sweep : -1,
                  sweep + 1 < sweeps ? behind : next);
        tile.weights = behind;
        tile.bias = NULL;
        done = end;
    }
}

/* ---------------------------------------------------------------- outputs */

/* What the output transform needs for one block, wherever it writes. */
static struct winograd_target block_target(const struct winograd_work *work, int block)
{
    return (struct winograd_target){
        .scales = work->packed.weights + (size_t)(block * work->cut.positions) * KERNEL_BLOCK,
        .bias = work->packed.bias + block * KERNEL_BLOCK,
    };
}

/* A run's outputs in scratch, the head's place for all blocks. */
static struct conv_piece run_piece(const struct winograd_work *work, struct winograd_run run)
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
static void finish_piece(const struct winograd_work *work, struct winograd_run run, int block,
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
static int whole_tiles(const struct winograd_work *work, struct winograd_run run)
{
    const struct blocked *in = &work->args->sources[0];
    if (!stores_outputs(work->desc) || (run.y + 1) * work->cut.out > in->height)
        return 0;
    return at_most(in->width / work->cut.out - run.x, run.tiles);
}

void winograd_finish_block(const struct winograd_work *work, struct winograd_run run, int block,
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

void winograd_finish_head(const struct winograd_work *work, struct winograd_run run)
{
    const struct blocked *in = &work->args->sources[0];
    struct conv_piece piece = run_piece(work, run);
    conv_finish_head(work->method->ops, work->desc, work->args, &piece, in->height, in->width);
}

void winograd_finish_borders(const struct winograd_work *work, int first_row, int last_row,
                             struct conv_group blocks)
{
    int height = work->args->sources[0].height;
    struct conv_rows rows = {
        .first = first_row * work->cut.out,
        .last = at_most(last_row * work->cut.out, height),
    };
    rows.pooled_first = rows.first / 2;
    rows.pooled_last = rows.last / 2;
    conv_finish_borders(work->desc, work->args, rows, blocks);
}
