/* Transposed convolution, 2×2 with stride 2: four 1×1 convolutions, one for each PHASE (ky, kx) of
 * the output, whose results are interleaved. Runs on the tiles of the 3×3 convolution: a tile's
 * blocks are the phases of one block of output channels, its taps are blocks of input channels.
 *
 * Packed weights: a VARIANT is a phase of an output block, number 4·block + 2·ky + kx.
 *
 *     | bias: 16 floats a variant | of U8, steps: the same | group 0 | group 1 | … |
 *
 * A group is as many variants as a tile computes together (4 or 1). In a group: input channel (of
 * bf16: pair of them; of U8: four), variant, lane. Lanes past the last output channel are zero. */
#include "kernels/byte_weights.h"
#include "kernels/conv_pack.h"
#include "kernels/list.h"
#include "kernels/rows.h"
#include "kernels/strips.h"
#include "kernels/tile.h"

struct direct {
    const struct tile_set *tiles;
    const struct row_ops *ops;
};

#define PHASES 4

/* Input blocks of one sweep: their weights, of floats 8·16 × 4·16 = 32 KiB, stay in L1. */
#define SWEEP_BLOCKS 8
#define MOST_BLOCKS  (4 * SWEEP_BLOCKS) /* of bytes */

/* As in conv3x3.c. */
#define PIECE_PIXELS 256
#define STRIP_PIXELS 256

static const char *refuse(const struct kernel *kernel, const struct kernel_desc *desc)
{
    const struct direct *direct = kernel->method;
    const char *reason = conv_refuse_inputs(desc, direct->tiles->type);
    if (reason != NULL)
        return reason;
    if (desc->source_count != 1)
        return "one source only";
    if (desc->kernel_h != 2 || desc->kernel_w != 2 || desc->stride != 2 || desc->padding != 0)
        return "2×2 with stride 2 only";
    return desc->relu ? "no ReLU" : NULL;
}

/* ---------------------------------------------------------------- packing */

static size_t variants(const struct kernel_desc *desc)
{
    return (size_t)kernel_blocks(desc->out_channels) * PHASES;
}

/* Rows of 16 words a variant before the weights: a bias, and a step where there are any. */
static size_t constant_rows(const struct kernel_desc *desc)
{
    return desc->in_type == KERNEL_U8 ? 2 : 1;
}

static size_t packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    size_t rows =
        constant_rows(desc) + (size_t)kernel_words(desc->in_type, desc->source_channels[0]);
    return variants(desc) * rows * KERNEL_BLOCK * sizeof(float);
}

/* The weights of output channel o and `taps` of its phases, from one on. The checkpoint's order is
 * input channel, output channel, ky, kx. */
static struct weight_row weight_row(const struct kernel_desc *desc,
                                    const struct kernel_weights *weights, int o, int phase,
                                    int taps)
{
    struct weight_row row = {
        .stride = (size_t)desc->out_channels * PHASES,
        .inputs = desc->source_channels[0],
        .taps = taps,
    };
    if (weights->weight != NULL && o < desc->out_channels)
        row.first = weights->weight + (size_t)o * PHASES + (size_t)phase;
    return row;
}

/* A step is one for all phases. */
static float step_of(const struct kernel_desc *desc, const struct kernel_weights *weights, int o)
{
    struct weight_row row = weight_row(desc, weights, o, 0, PHASES);
    return o < desc->out_channels ? byte_weights_step(KERNEL_U8, weights, o, &row) : 0.0f;
}

static float bias_of(const struct kernel_desc *desc, const struct kernel_weights *weights, int o,
                     int phase)
{
    if (o >= desc->out_channels)
        return 0.0f;
    float bias = weights->bias != NULL ? weights->bias[o] : 0.0f;
    if (desc->in_type != KERNEL_U8)
        return bias;
    struct weight_row row = weight_row(desc, weights, o, phase, 1);
    float step = step_of(desc, weights, o);
    return (float)((double)bias + byte_weights_lost(KERNEL_U8, weights, step, &row));
}

static float *pack_constants(float *to, const struct kernel_desc *desc,
                             const struct kernel_weights *weights)
{
    int lanes = kernel_blocks(desc->out_channels) * PHASES * KERNEL_BLOCK;
    float *steps = to + lanes;
    for (int i = 0; i < lanes; i++) {
        int variant = i / KERNEL_BLOCK;
        int o = variant / PHASES * KERNEL_BLOCK + i % KERNEL_BLOCK;
        to[i] = bias_of(desc, weights, o, variant % PHASES);
        if (desc->in_type == KERNEL_U8)
            steps[i] = step_of(desc, weights, o);
    }
    return to + (size_t)lanes * constant_rows(desc);
}

/* The weights of input channels [c, c + count); `steps` are the variant's, or NULL. */
static float *pack_variant(float *to, const struct kernel_desc *desc,
                           const struct kernel_weights *weights, int c, int count, int variant,
                           const float *steps)
{
    for (int lane = 0; lane < KERNEL_BLOCK; lane++) {
        int o = variant / PHASES * KERNEL_BLOCK + lane;
        struct weight_row row = weight_row(desc, weights, o, variant % PHASES, 1);
        const float *from = row.first;
        if (from != NULL)
            from += (size_t)c * row.stride;
        int there = from != NULL ? count : 0;
        *to++ = steps != NULL ? byte_weights_word(from, row.stride, there, steps[lane])
                              : conv_pack_word(desc->in_type, from, row.stride, there);
    }
    return to;
}

static void pack(const struct kernel *kernel, const struct kernel_desc *desc,
                 const struct kernel_weights *weights, void *packed)
{
    const struct direct *direct = kernel->method;
    int group = direct->tiles->max_blocks;
    int count = (int)variants(desc), inputs = desc->source_channels[0];
    const float *steps = (const float *)packed + (size_t)count * KERNEL_BLOCK;
    float *to = pack_constants(packed, desc, weights);
    for (int first = 0; first < count; first += group)
        for (int c = 0; c < inputs; c += kernel_word_channels(desc->in_type))
            for (int v = first; v < first + group; v++)
                to = pack_variant(to, desc, weights, c, inputs - c, v,
                                  desc->in_type == KERNEL_U8 ? steps + v * KERNEL_BLOCK : NULL);
}

/* ---------------------------------------------------------------- one task */

/* The sums of a piece: rows × columns of the input, a block for each phase. */
static struct blocked piece_sums(const struct blocked *in)
{
    int columns = in->width < PIECE_PIXELS ? in->width : PIECE_PIXELS;
    int rows = PIECE_PIXELS / columns;
    if (rows > in->height)
        rows = in->height;
    size_t lines = (size_t)rows * (size_t)columns;
    return (struct blocked){
        .channels = PHASES * KERNEL_BLOCK,
        .height = rows,
        .width = columns,
        .row_stride = (size_t)columns * KERNEL_BLOCK,
        .block_stride = ((lines + 63) / 64 * 64 + 16) * KERNEL_BLOCK,
    };
}

static size_t scratch_bytes(const struct kernel *kernel, const struct kernel_desc *desc,
                            const struct kernel_args *args)
{
    (void)kernel;
    (void)desc;
    return piece_sums(&args->sources[0]).block_stride * PHASES * sizeof(float);
}

/* Strips are of input rows; a task is a strip of one output block. */
static int task_count(const struct kernel *kernel, const struct kernel_desc *desc,
                      const struct kernel_args *args)
{
    (void)kernel;
    const struct blocked *in = &args->sources[0];
    int parts = kernel_blocks(desc->out_channels);
    int64_t most = (int64_t)in->height * in->width / STRIP_PIXELS;
    int64_t strips = (STRIPS_A_THREAD * (int64_t)args->threads + parts - 1) / parts;
    strips = strips < most ? strips : most;
    strips = strips < in->height ? strips : in->height;
    return (strips < 1 ? 1 : (int)strips) * parts;
}

struct piece {
    struct blocked sums;
    int y, x; /* in the input */
};

/* One sweep: `blocks` blocks of input channels with tile->channels words each. */
static void sweep(const struct direct *direct, const struct blocked *in, int first_block,
                  int blocks, const struct piece *piece, int first_phase, struct tile *tile)
{
    ptrdiff_t taps[MOST_BLOCKS];
    for (int i = 0; i < blocks; i++)
        taps[i] = tile_words(direct->tiles, i * (ptrdiff_t)in->block_stride);
    tile->taps = taps;
    tile->tap_count = blocks;
    for (int y = 0; y < piece->sums.height; y++) {
        tile->in = blocked_at(in, piece->y + y, first_block, piece->x);
        tile->sum = blocked_at(&piece->sums, y, first_phase, 0);
        tile_row(direct->tiles, tile, direct->tiles->max_blocks, piece->sums.width);
    }
    tile->weights += (size_t)(blocks * tile->channels * direct->tiles->max_blocks) * KERNEL_BLOCK;
    tile->bias = NULL;
}

/* The phases [first_phase, first_phase + max_blocks) of one output block. */
static void sum_phases(const struct direct *direct, const struct kernel_desc *desc,
                       const struct kernel_args *args, int block, int first_phase,
                       const struct piece *piece)
{
    const struct blocked *in = &args->sources[0];
    const float *bias = args->packed;
    size_t lanes = variants(desc) * KERNEL_BLOCK;
    size_t first = (size_t)(block * PHASES + first_phase) * KERNEL_BLOCK;
    enum kernel_type type = desc->in_type;
    struct tile_scale scale = {bias + lanes + first, bias + first};
    struct tile tile = {
        .channels = kernel_words(type, KERNEL_BLOCK),
        .weights =
            bias + lanes * constant_rows(desc) + first * (size_t)kernel_words(type, in->channels),
        .bias = bias + first,
        .sum_stride = piece->sums.block_stride,
    };
    int whole = in->channels / KERNEL_BLOCK, rest = in->channels % KERNEL_BLOCK;
    int most = SWEEP_BLOCKS * kernel_word_channels(type);
    for (int b = 0; b < whole; b += most) {
        int blocks = whole - b < most ? whole - b : most;
        if (b + blocks == whole && rest == 0)
            tile.scale = &scale;
        sweep(direct, in, b, blocks, piece, first_phase, &tile);
    }
    tile.channels = kernel_words(type, rest);
    tile.scale = &scale;
    if (tile.channels > 0)
        sweep(direct, in, whole, 1, piece, first_phase, &tile);
}

/* Interleaves two phases into row y of a block of `out`; the first pair would lie at pixel `first`,
 * which may be outside. */
static void place_row(const struct typed_row_ops *ops, const struct blocked *out, int y, int block,
                      int first, const float *even, const float *odd, int pixels)
{
    int begin = first < 0 ? -first : 0;
    int end = first + 2 * pixels > out->width ? out->width - first : 2 * pixels;
    if (begin >= end)
        return;
    if (begin % 2 != 0) {
        ops->copy(blocked_at(out, y, block, first + begin),
                  odd + (size_t)(begin / 2) * KERNEL_BLOCK, KERNEL_BLOCK, false);
        begin++;
    }
    if (end % 2 != 0) {
        end--;
        ops->copy(blocked_at(out, y, block, first + end), even + (size_t)(end / 2) * KERNEL_BLOCK,
                  KERNEL_BLOCK, false);
    }
    size_t pair = (size_t)(begin / 2) * KERNEL_BLOCK;
    ops->interleave(blocked_at(out, y, block, first + begin), even + pair, odd + pair,
                    (end - begin) / 2);
}

static void place_piece(const struct typed_row_ops *ops, const struct kernel_args *args, int block,
                        const struct piece *piece)
{
    const struct blocked *out = &args->out;
    for (int row = 0; row < 2 * piece->sums.height; row++) {
        int y = 2 * piece->y + row + args->offset_y, phase = row % 2 * 2;
        if (y < 0 || y >= out->height)
            continue;
        place_row(ops, out, y, block, 2 * piece->x + args->offset_x,
                  blocked_at(&piece->sums, row / 2, phase, 0),
                  blocked_at(&piece->sums, row / 2, phase + 1, 0), piece->sums.width);
    }
}

/* The rows of `out` that a strip of input rows answers for: the first strip takes what lies above
 * the result too, the last what lies below. */
static struct strip out_rows(const struct kernel_args *args, struct strip in)
{
    int height = args->out.height;
    int first = in.first == 0 ? 0 : 2 * in.first + args->offset_y;
    int last = in.last == args->sources[0].height ? height : 2 * in.last + args->offset_y;
    first = first < 0 ? 0 : first;
    last = last > height ? height : last;
    return (struct strip){first, last};
}

static void run(const struct kernel *kernel, const struct kernel_desc *desc,
                const struct kernel_args *args, int task, int tasks, void *scratch)
{
    const struct direct *direct = kernel->method;
    const struct blocked *in = &args->sources[0];
    int parts = kernel_blocks(desc->out_channels), block = task % parts;
    struct strip rows = strip_rows(in->height, task / parts, tasks / parts);
    struct piece piece = {.sums = piece_sums(in)};
    int most_rows = piece.sums.height, most_columns = piece.sums.width;
    piece.sums.data = scratch;
    for (piece.y = rows.first; piece.y < rows.last; piece.y += most_rows) {
        int left = rows.last - piece.y;
        piece.sums.height = left < most_rows ? left : most_rows;
        for (piece.x = 0; piece.x < in->width; piece.x += most_columns) {
            left = in->width - piece.x;
            piece.sums.width = left < most_columns ? left : most_columns;
            for (int phase = 0; phase < PHASES; phase += direct->tiles->max_blocks)
                sum_phases(direct, desc, args, block, phase, &piece);
            place_piece(&direct->ops->of[desc->out_type], args, block, &piece);
        }
    }
    struct placed result = {args->offset_y, args->offset_x, 2 * in->height, 2 * in->width};
    zero_around(&args->out, result, out_rows(args, rows), block, block + 1);
}

/* ---------------------------------------------------------------- the tiers */

#define TRANSPOSE_KERNEL(method_name, lower, upper, tile_set, row_ops, needs)                      \
    static const struct direct method_name##_##lower = {&tile_set, &row_ops};                      \
    const struct kernel conv_transpose_##method_name##_##lower = {                                 \
        .name = "conv_transpose2x2." #method_name "." #lower,                                      \
        .op = KERNEL_CONV_TRANSPOSE,                                                               \
        .tier = CPU_TIER_##upper,                                                                  \
        .features = needs,                                                                         \
        .method = &method_name##_##lower,                                                          \
        .refuse = refuse,                                                                          \
        .packed_bytes = packed_bytes,                                                              \
        .pack = pack,                                                                              \
        .scratch_bytes = scratch_bytes,                                                            \
        .task_count = task_count,                                                                  \
        .run = run,                                                                                \
    };

TRANSPOSE_KERNEL(direct, c, C, tile_set_c, row_ops_c, 0)
TRANSPOSE_KERNEL(direct, avx2, AVX2, tile_set_avx2, row_ops_avx2, 0)
TRANSPOSE_KERNEL(direct, avx512, AVX512, tile_set_avx512, row_ops_avx512, 0)
TRANSPOSE_KERNEL(direct_bf16, c, C, tile_set_bf16_c, row_ops_c, 0)
TRANSPOSE_KERNEL(direct_u8, c, C, tile_set_u8_c, row_ops_c, 0)
TRANSPOSE_KERNEL(direct_u8, avx2, AVX2, tile_set_u8_avx2, row_ops_avx2, 0)
TRANSPOSE_KERNEL(direct_u8_vnni, avx2, AVX2, tile_set_avxvnni, row_ops_avx2, CPU_AVX_VNNI)
TRANSPOSE_KERNEL(direct_u8, avx512, AVX512, tile_set_avx512vnni, row_ops_avx512, CPU_AVX512_VNNI)
TRANSPOSE_KERNEL(direct_bf16, avx512, AVX512, tile_set_avx512bf16, row_ops_avx512bf16,
                 CPU_AVX512_BF16)
