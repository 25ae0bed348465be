/* Convolution in plain C: any kernel size, stride and padding. A task is a strip of output rows;
 * two rows at a time (a pool needs both) go through scratch. */
#include "kernels/c/bf16_words.h"
#include "kernels/c/u8_words.h"
#include "kernels/conv_finish.h"
#include "kernels/list.h"
#include "kernels/upsampled.h"

#include <string.h>

#define MOST_BLOCKS    1 /* in a group of the packed weights */
#define PIECE_ROWS     2
#define PIXELS         2 /* summed together, so that each weight is loaded once for both */
#define SECOND         (KERNEL_BLOCK / VECTOR_LANES) /* where its vector lies, behind the first's */
#define TASKS_A_THREAD 16

struct size {
    int height, width;
};

static struct size out_size(const struct kernel_desc *desc, const struct kernel_args *args)
{
    const struct blocked *in = &args->sources[0];
    return (struct size){
        .height = (in->height + 2 * desc->padding - desc->kernel_h) / desc->stride + 1,
        .width = (in->width + 2 * desc->padding - desc->kernel_w) / desc->stride + 1,
    };
}

static struct blocked piece_sums(const struct kernel_desc *desc, struct size out)
{
    return (struct blocked){
        .channels = desc->out_channels,
        .height = PIECE_ROWS,
        .width = out.width,
        .row_stride = (size_t)out.width * KERNEL_BLOCK,
        .block_stride = (size_t)out.width * KERNEL_BLOCK * PIECE_ROWS,
    };
}

static size_t sums_bytes(const struct blocked *sums)
{
    return sums->block_stride * (size_t)kernel_blocks(sums->channels) * sizeof(float);
}

/* Input rows that a piece reads. */
static int piece_reads(const struct kernel_desc *desc)
{
    return (PIECE_ROWS - 1) * desc->stride + desc->kernel_h;
}

static size_t scratch_bytes(const struct kernel *kernel, const struct kernel_desc *desc,
                            const struct kernel_args *args)
{
    (void)kernel;
    struct blocked sums = piece_sums(desc, out_size(desc, args));
    int blocks = kernel_blocks(desc->source_channels[desc->upsampled]);
    return sums_bytes(&sums) +
           upsampled_bytes(desc, args, piece_reads(desc), args->sources[0].width, blocks);
}

static int task_count(const struct kernel *kernel, const struct kernel_desc *desc,
                      const struct kernel_args *args)
{
    (void)kernel;
    int most = conv_rows_most(desc, out_size(desc, args).height);
    return args->threads < most / TASKS_A_THREAD ? args->threads * TASKS_A_THREAD : most;
}

static const char *refuse(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    return conv_refuse_inputs(desc, desc->in_type);
}

static size_t packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    return conv_packed_bytes(desc);
}

static void pack(const struct kernel *kernel, const struct kernel_desc *desc,
                 const struct kernel_weights *weights, void *packed)
{
    (void)kernel;
    conv_pack(desc, weights, MOST_BLOCKS, packed);
}

/* sums += what one tap of `channels` inputs gives to some lanes of the two pixels. */
static void add_tap_lanes(float *sums, const float *const in[PIXELS], const float *weights,
                          int channels)
{
    VECTOR sum0 = vector_load(sums), sum1 = vector_load(sums + KERNEL_BLOCK);
    for (int c = 0; c < channels; c++, weights += KERNEL_BLOCK) {
        VECTOR weight = vector_load(weights);
        sum0 = vector_fma(vector_broadcast(in[0][c]), weight, sum0);
        sum1 = vector_fma(vector_broadcast(in[1][c]), weight, sum1);
    }
    vector_store(sums, sum0);
    vector_store(sums + KERNEL_BLOCK, sum1);
}

/* The same for words of bf16. */
static void add_tap_words(float *sums, const float *const in[PIXELS], const float *weights,
                          int words)
{
    VECTOR sum0 = vector_load(sums), sum1 = vector_load(sums + KERNEL_BLOCK);
    for (int i = 0; i < words; i++, weights += KERNEL_BLOCK) {
        words4 weight = words_load(weights);
        sum0 = words_multiply_add(words_broadcast(in[0] + i), weight, sum0);
        sum1 = words_multiply_add(words_broadcast(in[1] + i), weight, sum1);
    }
    vector_store(sums, sum0);
    vector_store(sums + KERNEL_BLOCK, sum1);
}

/* The same for words of bytes; sums are int32. */
static void add_tap_bytes(float *sums, const float *const in[PIXELS], const float *weights,
                          int words)
{
    whole4 *sum = (whole4 *)(void *)sums;
    for (int i = 0; i < words; i++, weights += KERNEL_BLOCK) {
        whole4 weight = u8_words_load(weights);
        sum[0] = u8_words_multiply_add(u8_words_broadcast(in[0] + i), weight, sum[0]);
        sum[SECOND] = u8_words_multiply_add(u8_words_broadcast(in[1] + i), weight, sum[SECOND]);
    }
}

typedef void add_tap_function(float *sums, const float *const in[PIXELS], const float *weights,
                              int steps);

static add_tap_function *const add_taps[KERNEL_TYPE_COUNT] = {
    [KERNEL_F32] = add_tap_lanes,
    [KERNEL_BF16] = add_tap_words,
    [KERNEL_U8] = add_tap_bytes,
};

/* Words. `outside` is what a tap outside the input reads: the border of a tensor is one pixel,
 * paddings may be more. */
static const float *tap_input(const struct blocked *source, int block, int y, int x,
                              const float *outside)
{
    bool inside = y >= 0 && y < source->height && x >= 0 && x < source->width;
    return inside ? blocked_at(source, y, block, x) : outside;
}

/* Adds all taps of one block of input channels to the outputs at (y, x) and (y, x + 1). */
static const float *add_block(const struct kernel_desc *desc, const struct blocked *source,
                              int block, int y, int x, float *sums, const float *weights)
{
    int left = source->channels - block * KERNEL_BLOCK;
    int steps = kernel_words(desc->in_type, left < KERNEL_BLOCK ? left : KERNEL_BLOCK);
    float outside[KERNEL_BLOCK];
    memset(outside, source->zero, sizeof outside);
    for (int ky = 0; ky < desc->kernel_h; ky++) {
        for (int kx = 0; kx < desc->kernel_w; kx++) {
            int in_y = y * desc->stride - desc->padding + ky;
            int in_x = x * desc->stride - desc->padding + kx;
            const float *const in[PIXELS] = {
                tap_input(source, block, in_y, in_x, outside),
                tap_input(source, block, in_y, in_x + desc->stride, outside),
            };
            for (int lane = 0; lane < KERNEL_BLOCK; lane += VECTOR_LANES)
                add_taps[desc->in_type](sums + lane, in, weights + lane, steps);
            weights += (size_t)steps * KERNEL_BLOCK;
        }
    }
    return weights;
}

/* Floats of sums of bytes. */
static void scale_sums(float *sums, const float *steps, const float *bias)
{
    for (int i = 0; i < PIXELS * KERNEL_BLOCK; i += VECTOR_LANES) {
        VECTOR sum = u8_words_to_float(*(const whole4 *)(const void *)(sums + i));
        vector_store(sums + i, vector_fma(sum, vector_load(steps + i % KERNEL_BLOCK),
                                          vector_load(bias + i % KERNEL_BLOCK)));
    }
}

/* One block of outputs of the pixels (y, x) and (y, x + 1). */
static void sum_pixels(const struct kernel_desc *desc, const struct kernel_args *args, int block,
                       int y, int x, float *sums)
{
    struct conv_packed packed = conv_packed_parts(desc, args->packed);
    size_t first = (size_t)block * KERNEL_BLOCK;
    const float *weights = packed.weights + conv_steps(desc) * first;
    bool bytes = desc->in_type == KERNEL_U8;
    for (int p = 0; p < PIXELS; p++)
        if (bytes)
            memset(sums + p * KERNEL_BLOCK, 0, KERNEL_BLOCK * sizeof *sums);
        else
            memcpy(sums + p * KERNEL_BLOCK, packed.bias + first, KERNEL_BLOCK * sizeof *sums);
    for (int s = 0; s < desc->source_count; s++) {
        const struct blocked *source = &args->sources[s];
        for (int b = 0; b < kernel_blocks(source->channels); b++)
            weights = add_block(desc, source, b, y, x, sums, weights);
    }
    if (bytes)
        scale_sums(sums, packed.steps + first, packed.bias + first);
}

static void sum_row(const struct kernel_desc *desc, const struct kernel_args *args,
                    const struct conv_piece *piece, int block, int y)
{
    _Alignas(16) float sums[PIXELS * KERNEL_BLOCK];
    float *to = blocked_at(&piece->sums, y, block, 0);
    for (int x = 0; x < piece->sums.width; x += PIXELS) {
        int left = piece->sums.width - x;
        size_t count = (size_t)(left < PIXELS ? left : PIXELS) * KERNEL_BLOCK;
        sum_pixels(desc, args, block, piece->y + y, x, sums);
        memcpy(to + (size_t)x * KERNEL_BLOCK, sums, count * sizeof *to);
    }
}

/* All that the piece reads of an up-sampled source; borders are never read. */
static struct blocked piece_window(const struct kernel_desc *desc, const struct upsampled *source,
                                   int y)
{
    const struct blocked *whole = &source->whole;
    struct window window = {
        .x = {0, whole->width},
        .blocks = {0, kernel_blocks(whole->channels)},
    };
    window.y.first = y * desc->stride - desc->padding;
    window.y.last = window.y.first + piece_reads(desc);
    return upsampled_window(source, window);
}

static void run(const struct kernel *kernel, const struct kernel_desc *desc,
                const struct kernel_args *args, int task, int tasks, void *scratch)
{
    (void)kernel;
    struct size out = out_size(desc, args);
    struct conv_rows rows = conv_rows(desc, out.height, task, tasks);
    struct conv_group all = {.first = 0, .count = kernel_blocks(desc->out_channels)};
    struct conv_piece piece = {.sums = piece_sums(desc, out)};
    piece.sums.data = scratch;
    struct kernel_args read = *args;
    struct upsampled upsampled =
        upsampled_begin(&row_ops_c, desc, args, (char *)scratch + sums_bytes(&piece.sums));
    for (piece.y = rows.first; piece.y < rows.last; piece.y += PIECE_ROWS) {
        int left = rows.last - piece.y;
        piece.sums.height = left < PIECE_ROWS ? left : PIECE_ROWS;
        if (desc->upsampled > 0)
            read.sources[desc->upsampled] = piece_window(desc, &upsampled, piece.y);
        for (int block = 0; block < all.count; block++)
            for (int y = 0; y < piece.sums.height; y++)
                sum_row(desc, &read, &piece, block, y);
        conv_finish_blocks(&row_ops_c, desc, args, &piece);
        if (desc->head_channels > 0)
            conv_finish_head(&row_ops_c, desc, args, &piece, out.height, out.width);
    }
    conv_finish_borders(desc, args, rows, all);
}

const struct kernel conv_direct_c = {
    .name = "conv.direct.c",
    .op = KERNEL_CONV,
    .tier = CPU_TIER_C,
    .refuse = refuse,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .scratch_bytes = scratch_bytes,
    .task_count = task_count,
    .run = run,
};
