#include "kernels/conv_pack.h"

#include "base/bf16.h"
#include "kernels/byte_weights.h"

#include <string.h>

/* Far beyond any network; keeps every product below in range. */
#define MOST_CHANNELS (1 << 20)
#define MOST_TAPS     (1 << 10)

static int in_channels(const struct kernel_desc *desc)
{
    int sum = 0;
    for (int i = 0; i < desc->source_count; i++)
        sum += desc->source_channels[i];
    return sum;
}

static bool in_range(int value, int most)
{
    return value >= 1 && value <= most;
}

const char *conv_refuse_numbers(const struct kernel_desc *desc)
{
    if (!in_range(desc->source_count, KERNEL_MAX_SOURCES))
        return "1 to 4 sources only";
    for (int i = 0; i < desc->source_count; i++)
        if (!in_range(desc->source_channels[i], MOST_CHANNELS))
            return "too many channels";
    if (desc->upsampled < 0 || desc->upsampled >= desc->source_count)
        return "no such source to up-sample";
    if (!in_range(desc->out_channels, MOST_CHANNELS))
        return "too many channels";
    if (desc->head_channels < 0 || desc->head_channels > MOST_CHANNELS)
        return "too many channels";
    if (!in_range(desc->kernel_h, MOST_TAPS) || !in_range(desc->kernel_w, MOST_TAPS) ||
        !in_range(desc->stride, MOST_TAPS) || desc->padding < 0 || desc->padding > MOST_TAPS)
        return "kernel, stride or padding out of range";
    return NULL;
}

bool conv_may_overflow(const struct kernel_desc *desc)
{
    int64_t products = (int64_t)in_channels(desc) * desc->kernel_h * desc->kernel_w;
    return products > INT32_MAX / (255 * 127);
}

const char *conv_refuse_inputs(const struct kernel_desc *desc, enum kernel_type type)
{
    static const char *const reasons[KERNEL_TYPE_COUNT] = {
        [KERNEL_F32] = "float32 inputs only",
        [KERNEL_BF16] = "bf16 inputs only",
        [KERNEL_U8] = "u8 inputs only",
    };
    if (desc->in_type != type)
        return reasons[type];
    const char *reason = conv_refuse_numbers(desc);
    if (reason == NULL && type == KERNEL_U8 && conv_may_overflow(desc))
        return "too many channels for sums of 32 bits";
    return reason;
}

const char *conv3x3_refuse(const struct kernel_desc *desc, enum kernel_type type)
{
    const char *reason = conv_refuse_inputs(desc, type);
    if (reason != NULL)
        return reason;
    if (desc->kernel_h != 3 || desc->kernel_w != 3)
        return "3×3 only";
    if (desc->stride != 1)
        return "stride 1 only";
    return desc->padding != 1 ? "padding 1 only" : NULL;
}

int conv_group_count(const struct kernel_desc *desc, int most_blocks)
{
    return (kernel_blocks(desc->out_channels) + most_blocks - 1) / most_blocks;
}

struct conv_group conv_group(const struct kernel_desc *desc, int most_blocks, int group)
{
    int blocks = kernel_blocks(desc->out_channels);
    int groups = conv_group_count(desc, most_blocks);
    int first = (int)((int64_t)blocks * group / groups);
    int end = (int)((int64_t)blocks * (group + 1) / groups);
    return (struct conv_group){.first = first, .count = end - first};
}

/* Blocks are whole words, so a source's last word is the only one that may be padded. */
size_t conv_steps(const struct kernel_desc *desc)
{
    size_t words = 0;
    for (int i = 0; i < desc->source_count; i++)
        words += (size_t)kernel_words(desc->in_type, desc->source_channels[i]);
    return (size_t)desc->kernel_h * (size_t)desc->kernel_w * words;
}

static size_t padded(int floats)
{
    return (size_t)kernel_blocks(floats) * KERNEL_BLOCK;
}

static size_t step_floats(const struct kernel_desc *desc)
{
    return desc->in_type == KERNEL_U8 ? padded(desc->out_channels) : 0;
}

static size_t weight_floats(const struct kernel_desc *desc)
{
    return conv_steps(desc) * padded(desc->out_channels);
}

struct conv_packed conv_packed_parts(const struct kernel_desc *desc, const void *packed)
{
    size_t lanes = padded(desc->out_channels);
    struct conv_packed parts = {.bias = packed};
    parts.head_bias = parts.bias + lanes;
    parts.head_weights = parts.head_bias + padded(desc->head_channels);
    parts.steps = parts.head_weights + (size_t)desc->head_channels * lanes;
    parts.weights = parts.steps + step_floats(desc);
    return parts;
}

size_t conv_constant_floats(const struct kernel_desc *desc)
{
    size_t lanes = padded(desc->out_channels);
    return lanes + padded(desc->head_channels) + (size_t)desc->head_channels * lanes +
           step_floats(desc);
}

size_t conv_packed_bytes(const struct kernel_desc *desc)
{
    return sizeof(float) * (conv_constant_floats(desc) + weight_floats(desc));
}

/* `count` values (NULL: zeros), then zeros up to the end of the block. Returns that end. */
static float *pack_vector(float *to, const float *from, int count)
{
    size_t end = padded(count);
    memset(to, 0, end * sizeof *to);
    if (from != NULL)
        memcpy(to, from, (size_t)count * sizeof *to);
    return to + end;
}

float conv_pack_word(enum kernel_type type, const float *from, size_t stride, int count)
{
    if (type == KERNEL_F32)
        return count > 0 ? from[0] : 0.0f;
    uint16_t pair[2] = {0};
    for (int i = 0; i < 2 && i < count; i++)
        pair[i] = bf16_from_float(from[(size_t)i * stride]);
    float word;
    memcpy(&word, pair, sizeof word);
    return word;
}

/* Of output channel o. */
static struct weight_row weight_row(const struct kernel_desc *desc, const float *weight, int o)
{
    struct weight_row row = {
        .inputs = in_channels(desc),
        .taps = desc->kernel_h * desc->kernel_w,
    };
    row.stride = (size_t)row.taps;
    if (weight != NULL && o < desc->out_channels)
        row.first = weight + (size_t)o * (size_t)row.inputs * row.stride;
    return row;
}

/* What a group is packed from; steps NULL: not of bytes. */
struct group_source {
    const struct kernel_desc *desc;
    const float *weight, *steps;
    struct conv_group group;
};

/* One step of a group: the weights of output channels that it holds for `count` input channels
 * from i on and one tap. */
static float *pack_step(float *to, const struct group_source *source, int i, int count, int tap)
{
    for (int lane = 0; lane < source->group.count * KERNEL_BLOCK; lane++) {
        int o = source->group.first * KERNEL_BLOCK + lane;
        struct weight_row row = weight_row(source->desc, source->weight, o);
        const float *from = row.first;
        if (from != NULL)
            from += (size_t)i * row.stride + (size_t)tap;
        int there = from != NULL ? count : 0;
        *to++ = source->steps != NULL
                    ? byte_weights_word(from, row.stride, there, source->steps[o])
                    : conv_pack_word(source->desc->in_type, from, row.stride, there);
    }
    return to;
}

static float *pack_group(float *to, const struct group_source *from)
{
    const struct kernel_desc *desc = from->desc;
    int first = 0, word = kernel_word_channels(desc->in_type);
    for (int s = 0; s < desc->source_count; first += desc->source_channels[s++]) {
        for (int block = 0; block < desc->source_channels[s]; block += KERNEL_BLOCK) {
            int end = block + KERNEL_BLOCK;
            if (end > desc->source_channels[s])
                end = desc->source_channels[s];
            for (int tap = 0; tap < desc->kernel_h * desc->kernel_w; tap++)
                for (int c = block; c < end; c += word)
                    to = pack_step(to, from, first + c, end - c, tap);
        }
    }
    return to;
}

/* Zeros past the last channel. */
static float *pack_steps(float *to, const struct kernel_desc *desc,
                         const struct kernel_weights *weights)
{
    size_t count = step_floats(desc);
    for (int o = 0; o < (int)count; o++) {
        struct weight_row row = weight_row(desc, weights->weight, o);
        *to++ = o < desc->out_channels ? byte_weights_step(KERNEL_U8, weights, o, &row) : 0.0f;
    }
    return to;
}

void conv_correct_bias(const struct kernel_desc *desc, const struct kernel_weights *weights,
                       void *packed)
{
    float *bias = packed;
    const float *steps = conv_packed_parts(desc, packed).steps;
    for (int o = 0; o < desc->out_channels; o++) {
        struct weight_row row = weight_row(desc, weights->weight, o);
        bias[o] = (float)((double)bias[o] + byte_weights_lost(KERNEL_U8, weights, steps[o], &row));
    }
}

float *conv_pack_constants(const struct kernel_desc *desc, const struct kernel_weights *weights,
                           void *packed)
{
    float *to = pack_vector(packed, weights->bias, desc->out_channels);
    to = pack_vector(to, weights->head_bias, desc->head_channels);
    for (int head = 0; head < desc->head_channels; head++) {
        const float *row = weights->head_weight;
        if (row != NULL)
            row += (size_t)head * (size_t)desc->out_channels;
        to = pack_vector(to, row, desc->out_channels);
    }
    return pack_steps(to, desc, weights);
}

void conv_pack(const struct kernel_desc *desc, const struct kernel_weights *weights,
               int most_blocks, void *packed)
{
    float *to = conv_pack_constants(desc, weights, packed);
    struct group_source from = {.desc = desc, .weight = weights->weight};
    if (desc->in_type == KERNEL_U8) {
        conv_correct_bias(desc, weights, packed);
        from.steps = conv_packed_parts(desc, packed).steps;
    }
    for (int group = 0; group < conv_group_count(desc, most_blocks); group++) {
        from.group = conv_group(desc, most_blocks, group);
        to = pack_group(to, &from);
    }
}
