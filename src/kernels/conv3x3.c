/* The direct 3×3 convolution, stride 1, padding 1: the way through the tensors. The arithmetic is
 * in the tiles (tile.h), the finish in conv_finish.h; docs/performance.md has the numbers.
 *
 * A task is a strip of rows × a group of up to 4 blocks of output channels (all of them where a
 * head needs every channel of a pixel). The strip is cut into PIECES of about 256 pixels. For each
 * piece and each block of 16 input channels the tiles sweep over the piece:
 *
 *     for each piece:                    input, 3 rows a row: comes from L2, once a sweep
 *       for each 16 input channels:      weights, 9·16·64 floats = 36 KiB: stay in L1 for the sweep
 *         for each tile of the piece:    sums, 24 registers: from and to scratch (64 KiB: L2),
 *           9 taps × 16 channels           once in 144 steps, 12 cycles each
 *       finish
 *
 * In 1,728 cycles of multiply-adds a tile of 4 × 6 moves 3 KiB of sums and 1.5 KiB of input between
 * L1 and L2, under 3 bytes a cycle. With bf16 all of that but the sums is halved: weights, input
 * and steps. With bytes the weights of four blocks take the room of one, and a sweep is of four:
 * the sums of 64 input channels never leave their registers. */
#include "kernels/conv_finish.h"
#include "kernels/list.h"
#include "kernels/planar.h"
#include "kernels/strips.h"
#include "kernels/tile.h"
#include "kernels/upsampled.h"

/* What an instruction tier brings. */
struct direct {
    const struct tile_set *tiles;
    const struct row_ops *ops;
};

#define TAPS 9

/* Blocks of 16 input channels in a sweep of bytes: 36 KiB of weights, as one block of floats. */
#define SWEEP_BLOCKS 4

/* A piece: enough pixels to pay for loading a sweep's weights into L1, few enough that its sums
 * stay in L2. */
#define PIECE_PIXELS 256
#define MOST_COLUMNS 512
/* A multiple of every tile's pixels, and even for the pool. */
#define COLUMN_STEP 24

/* Strips: enough of them that threads finish together, none so small that its weights and the two
 * rows around it cost more than they must. */
#define TASKS_A_THREAD 16
#define STRIP_PIXELS   256

/* Rows of the caller's input that are loaded at once, the one above and the one below included:
 * they stay in L2 with the sums. Those two are loaded twice. Even, as rows that a pool pairs are.
 */
#define LOADED_ROWS 10

static const char *refuse(const struct kernel *kernel, const struct kernel_desc *desc)
{
    const struct direct *direct = kernel->method;
    return conv3x3_refuse(desc, direct->tiles->type);
}

static int piece_columns(int width)
{
    if (width <= MOST_COLUMNS)
        return width;
    int pieces = (width + PIECE_PIXELS - 1) / PIECE_PIXELS;
    int columns = (width + pieces - 1) / pieces;
    return (columns + COLUMN_STEP - 1) / COLUMN_STEP * COLUMN_STEP;
}

static int piece_rows(const struct kernel_desc *desc, int height, int columns)
{
    int rows = PIECE_PIXELS / columns;
    if (desc->pool)
        rows &= ~1;
    int least = desc->pool ? 2 : 1;
    if (rows < least)
        rows = least;
    return rows < height ? rows : height;
}

/* The largest piece's sums. Blocks of a tile lie 16 cache lines apart modulo the 64 sets of L1, so
 * that they do not push each other, or the weights, out. */
static struct blocked piece_sums(const struct kernel_desc *desc, const struct kernel_args *args,
                                 int blocks)
{
    int columns = piece_columns(args->sources[0].width);
    int rows = piece_rows(desc, args->sources[0].height, columns);
    size_t lines = (size_t)rows * (size_t)columns;
    return (struct blocked){
        .channels = blocks * KERNEL_BLOCK,
        .height = rows,
        .width = columns,
        .row_stride = (size_t)columns * KERNEL_BLOCK,
        .block_stride = ((lines + 63) / 64 * 64 + 16) * KERNEL_BLOCK,
    };
}

static int scratch_blocks(const struct direct *direct, const struct kernel_desc *desc)
{
    int blocks = kernel_blocks(desc->out_channels);
    int most = direct->tiles->max_blocks;
    return desc->head_channels > 0 || blocks < most ? blocks : most;
}

static size_t sums_bytes(const struct blocked *sums)
{
    return sums->block_stride * (size_t)kernel_blocks(sums->channels) * sizeof(float);
}

/* Whether the caller's input may be read: more channels than a block's are loaded beforehand. */
static bool may_read_input(const struct kernel_desc *desc)
{
    return desc->source_count == 1 && desc->source_channels[0] <= KERNEL_BLOCK;
}

/* Input blocks of a sweep from `block` on; one that is not whole has a sweep of its own. */
static int sweep_blocks(const struct direct *direct, int channels, int block)
{
    int whole = channels / KERNEL_BLOCK - block;
    int most = direct->tiles->type == KERNEL_U8 ? SWEEP_BLOCKS : 1;
    if (whole > most)
        return most;
    return whole > 0 ? whole : 1;
}

/* Behind the sums: rows of the caller's input, or a window of an up-sampled source, which is never
 * the only one. */
static size_t scratch_bytes(const struct kernel *kernel, const struct kernel_desc *desc,
                            const struct kernel_args *args)
{
    const struct direct *direct = kernel->method;
    struct blocked sums = piece_sums(desc, args, scratch_blocks(direct, desc));
    size_t bytes = sums_bytes(&sums);
    int window_blocks = sweep_blocks(direct, desc->source_channels[desc->upsampled], 0);
    if (!may_read_input(desc))
        return bytes + upsampled_bytes(desc, args, sums.height + 2, sums.width + 2, window_blocks);
    size_t pixels = LOADED_ROWS * ((size_t)args->sources[0].width + 2 * KERNEL_BORDER);
    return bytes + pixels * KERNEL_BLOCK * kernel_type_bytes(desc->in_type);
}

/* Tasks that share a strip, one a group. */
static int task_parts(const struct direct *direct, const struct kernel_desc *desc)
{
    return desc->head_channels > 0 ? 1 : conv_group_count(desc, direct->tiles->max_blocks);
}

static int task_count(const struct kernel *kernel, const struct kernel_desc *desc,
                      const struct kernel_args *args)
{
    const struct direct *direct = kernel->method;
    const struct blocked *in = &args->sources[0];
    int parts = task_parts(direct, desc);
    int strips = (TASKS_A_THREAD * args->threads + parts - 1) / parts;
    int64_t most = (int64_t)in->height * in->width / STRIP_PIXELS;
    if (strips > most)
        strips = most < 1 ? 1 : (int)most;
    if (strips > conv_rows_most(desc, in->height))
        strips = conv_rows_most(desc, in->height);
    return strips * parts;
}

/* What a task works on. */
struct work {
    const struct direct *direct;
    const struct kernel_desc *desc;
    const struct kernel_args *args;
    struct upsampled upsampled;
};

/* The source, or what of it the piece reads of these blocks. */
static struct blocked piece_source(const struct work *work, int index, struct strip blocks,
                                   const struct conv_piece *piece)
{
    if (index == 0 || index != work->desc->upsampled)
        return work->args->sources[index];
    struct window window = {
        .y = {piece->y - 1, piece->y + piece->sums.height + 1},
        .x = {piece->x - 1, piece->x + piece->sums.width + 1},
        .blocks = blocks,
    };
    return upsampled_window(&work->upsampled, window);
}

/* One sweep: what these blocks of a source add to the piece. */
static void add_blocks(const struct direct *direct, const struct blocked *source,
                       struct strip blocks, const struct conv_piece *piece, struct tile *tile)
{
    ptrdiff_t taps[SWEEP_BLOCKS * TAPS];
    tile->tap_count = (blocks.last - blocks.first) * TAPS;
    for (int i = 0; i < tile->tap_count; i++)
        taps[i] = tile_words(direct->tiles, i / TAPS * (ptrdiff_t)source->block_stride +
                                                i % TAPS / 3 * (ptrdiff_t)source->row_stride +
                                                i % 3 * KERNEL_BLOCK);
    tile->taps = taps;
    int left = source->channels - blocks.first * KERNEL_BLOCK;
    tile->channels = kernel_words(direct->tiles->type, left < KERNEL_BLOCK ? left : KERNEL_BLOCK);
    for (int y = 0; y < piece->sums.height; y++) {
        tile->in = blocked_at(source, piece->y + y - 1, blocks.first, piece->x - 1);
        tile->sum = blocked_at(&piece->sums, y, 0, 0);
        tile_row(direct->tiles, tile, kernel_blocks(piece->sums.channels), piece->sums.width);
    }
    tile->weights += (size_t)(tile->tap_count * tile->channels) *
                     (size_t)kernel_blocks(piece->sums.channels) * KERNEL_BLOCK;
}

static void sum_piece(const struct work *work, struct conv_group group,
                      const struct conv_piece *piece)
{
    const struct kernel_desc *desc = work->desc;
    struct conv_packed packed = conv_packed_parts(desc, work->args->packed);
    size_t lane = (size_t)group.first * KERNEL_BLOCK;
    struct tile_scale scale = {packed.steps + lane, packed.bias + lane};
    struct tile tile = {
        .weights = packed.weights + conv_steps(desc) * lane,
        .bias = packed.bias + lane,
        .sum_stride = piece->sums.block_stride,
    };
    for (int s = 0; s < desc->source_count; s++) {
        int end = kernel_blocks(desc->source_channels[s]);
        struct strip blocks = {0, 0};
        for (; blocks.first < end; blocks.first = blocks.last) {
            blocks.last =
                blocks.first + sweep_blocks(work->direct, desc->source_channels[s], blocks.first);
            if (s + 1 == desc->source_count && blocks.last == end)
                tile.scale = &scale;
            struct blocked source = piece_source(work, s, blocks, piece);
            add_blocks(work->direct, &source, blocks, piece, &tile);
            tile.bias = NULL;
        }
    }
}

/* The part of the piece that belongs to one group: its blocks of the scratch where a head gathers
 * all of them, else the scratch. */
static void run_group(const struct work *work, int group_index, const struct conv_piece *whole)
{
    const struct kernel_desc *desc = work->desc;
    struct conv_group group = conv_group(desc, work->direct->tiles->max_blocks, group_index);
    struct conv_piece piece = *whole;
    piece.first_block = group.first;
    piece.sums.channels = group.count * KERNEL_BLOCK;
    if (desc->head_channels > 0)
        piece.sums.data = blocked_at(&whole->sums, 0, group.first, 0);
    sum_piece(work, group, &piece);
    conv_finish_blocks(work->direct->ops, desc, work->args, &piece);
}

static void run_piece(const struct work *work, int part, const struct conv_piece *piece)
{
    const struct kernel_desc *desc = work->desc;
    const struct blocked *in = &work->args->sources[0];
    if (desc->head_channels == 0) {
        run_group(work, part, piece);
        return;
    }
    for (int group = 0; group < conv_group_count(desc, work->direct->tiles->max_blocks); group++)
        run_group(work, group, piece);
    conv_finish_head(work->direct->ops, desc, work->args, piece, in->height, in->width);
}

/* Rows [first, last) of the output. */
static void run_rows(const struct direct *direct, const struct kernel_desc *desc,
                     const struct kernel_args *args, int part, struct strip rows, void *scratch)
{
    const struct blocked *in = &args->sources[0];
    struct work work = {.direct = direct, .desc = desc, .args = args};
    struct conv_piece piece = {.sums = piece_sums(desc, args, scratch_blocks(direct, desc))};
    int most_rows = piece.sums.height, most_columns = piece.sums.width;
    piece.sums.data = scratch;
    work.upsampled =
        upsampled_begin(direct->ops, desc, args, (char *)scratch + sums_bytes(&piece.sums));
    for (piece.y = rows.first; piece.y < rows.last; piece.y += most_rows) {
        int left = rows.last - piece.y;
        piece.sums.height = left < most_rows ? left : most_rows;
        for (piece.x = 0; piece.x < in->width; piece.x += most_columns) {
            left = in->width - piece.x;
            piece.sums.width = left < most_columns ? left : most_columns;
            run_piece(&work, part, &piece);
        }
    }
}

/* A row with its border columns, or a border row. */
static void load_row(const struct typed_row_ops *ops, const struct kernel_args *args, int y)
{
    const struct blocked *to = &args->sources[0];
    if (y < 0 || y >= to->height) {
        kernel_zero_pixels(to, y, 0, -KERNEL_BORDER, to->width + 2 * KERNEL_BORDER);
        return;
    }
    kernel_zero_pixels(to, y, 0, -KERNEL_BORDER, KERNEL_BORDER);
    planar_load_row(ops, args, to, y);
    kernel_zero_pixels(to, y, 0, to->width, KERNEL_BORDER);
}

/* The same from the caller's planes or pixels: some rows are loaded into scratch, as if all of the
 * source lay around them, and used up while they are in cache. */
static void run_loaded_rows(const struct direct *direct, const struct kernel_desc *desc,
                            const struct kernel_args *args, int part, struct strip rows,
                            char *scratch)
{
    const struct typed_row_ops *ops = &direct->ops->of[desc->in_type];
    struct kernel_args local = *args;
    struct blocked *in = &local.sources[0];
    struct blocked sums = piece_sums(desc, args, scratch_blocks(direct, desc));
    char *loaded = scratch + sums_bytes(&sums);
    in->row_stride = ((size_t)in->width + 2 * KERNEL_BORDER) * KERNEL_BLOCK;
    for (int y = rows.first; y < rows.last; y += LOADED_ROWS - 2) {
        int left = rows.last - y, height = left < LOADED_ROWS - 2 ? left : LOADED_ROWS - 2;
        ptrdiff_t origin = (1 - y) * (ptrdiff_t)in->row_stride + KERNEL_BORDER * KERNEL_BLOCK;
        in->data = loaded + origin * (ptrdiff_t)kernel_type_bytes(in->type);
        for (int row = y - 1; row <= y + height; row++)
            load_row(ops, &local, row);
        run_rows(direct, desc, &local, part, (struct strip){y, y + height}, scratch);
    }
}

static void run(const struct kernel *kernel, const struct kernel_desc *desc,
                const struct kernel_args *args, int task, int tasks, void *scratch)
{
    const struct direct *direct = kernel->method;
    int parts = task_parts(direct, desc), part = task % parts;
    struct conv_rows rows = conv_rows(desc, args->sources[0].height, task / parts, tasks / parts);
    struct strip strip = {rows.first, rows.last};
    if (args->from_input)
        run_loaded_rows(direct, desc, args, part, strip, scratch);
    else
        run_rows(direct, desc, args, part, strip, scratch);
    struct conv_group blocks = {.first = 0, .count = kernel_blocks(desc->out_channels)};
    if (desc->head_channels == 0)
        blocks = conv_group(desc, direct->tiles->max_blocks, part);
    conv_finish_borders(desc, args, rows, blocks);
}

static size_t packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    return conv_packed_bytes(desc);
}

static void pack(const struct kernel *kernel, const struct kernel_desc *desc,
                 const struct kernel_weights *weights, void *packed)
{
    const struct direct *direct = kernel->method;
    conv_pack(desc, weights, direct->tiles->max_blocks, packed);
}

/* ---------------------------------------------------------------- the tiers */

#define DIRECT_KERNEL(method_name, lower, upper, tile_set, row_ops, needs, fast)                   \
    static const struct direct method_name##_##lower = {&tile_set, &row_ops};                      \
    const struct kernel conv3x3_##method_name##_##lower = {                                        \
        .name = "conv3x3." #method_name "." #lower,                                                \
        .op = KERNEL_CONV,                                                                         \
        .tier = CPU_TIER_##upper,                                                                  \
        .features = needs,                                                                         \
        .fast_type = fast,                                                                         \
        .method = &method_name##_##lower,                                                          \
        .reads_input = true,                                                                       \
        .refuse = refuse,                                                                          \
        .packed_bytes = packed_bytes,                                                              \
        .pack = pack,                                                                              \
        .scratch_bytes = scratch_bytes,                                                            \
        .task_count = task_count,                                                                  \
        .run = run,                                                                                \
    };

DIRECT_KERNEL(direct, c, C, tile_set_c, row_ops_c, 0, KERNEL_F32)
DIRECT_KERNEL(direct, avx2, AVX2, tile_set_avx2, row_ops_avx2, 0, KERNEL_F32)
DIRECT_KERNEL(direct, avx512, AVX512, tile_set_avx512, row_ops_avx512, 0, KERNEL_F32)
DIRECT_KERNEL(direct_bf16, c, C, tile_set_bf16_c, row_ops_c, 0, KERNEL_F32)
DIRECT_KERNEL(direct_u8, c, C, tile_set_u8_c, row_ops_c, 0, KERNEL_F32)
DIRECT_KERNEL(direct_u8, avx2, AVX2, tile_set_u8_avx2, row_ops_avx2, 0, KERNEL_U8)
DIRECT_KERNEL(direct_u8_vnni, avx2, AVX2, tile_set_avxvnni, row_ops_avx2, CPU_AVX_VNNI, KERNEL_U8)
DIRECT_KERNEL(direct_u8, avx512, AVX512, tile_set_avx512vnni, row_ops_avx512, CPU_AVX512_VNNI,
              KERNEL_U8)
DIRECT_KERNEL(direct_bf16, avx512, AVX512, tile_set_avx512bf16, row_ops_avx512bf16, CPU_AVX512_BF16,
              KERNEL_BF16)
