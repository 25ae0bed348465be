#include "kernels/winograd.h"

#include "kernels/conv_pack.h"

#include <string.h>

/* The finite ones. Those of F(2,3) begin both. */
static const double four_points[] = {0.0, 1.0, -1.0, 0.5, -2.0};
static const double six_points[] = {0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5};

typedef double g_matrix[WINOGRAD_MOST_PATCH][WINOGRAD_TAPS];

/* G of winograd.h. */
static void make_g(int out, g_matrix g)
{
    const double *points = out == 6 ? six_points : four_points;
    int finite = winograd_patch(out) - 1;
    for (int j = 0; j < finite; j++) {
        double value = 1.0;
        for (int l = 0; l < finite; l++)
            if (l != j)
                value /= points[j] - points[l];
        for (int k = 0; k < WINOGRAD_TAPS; k++, value *= points[j])
            g[j][k] = value;
    }
    for (int k = 0; k < WINOGRAD_TAPS; k++)
        g[finite][k] = k == WINOGRAD_TAPS - 1 ? 1.0 : 0.0;
}

int winograd_in_blocks(const struct kernel_desc *desc)
{
    int sum = 0;
    for (int s = 0; s < desc->source_count; s++)
        sum += kernel_blocks(desc->source_channels[s]);
    return sum;
}

/* Words of U of one position for so many output channels. */
static size_t position_words(const struct kernel_desc *desc, size_t lanes)
{
    int block_words = KERNEL_BLOCK / kernel_word_channels(desc->in_type);
    return (size_t)(winograd_in_blocks(desc) * block_words) * lanes;
}

static size_t u_words(const struct kernel_desc *desc, int out, size_t lanes)
{
    return (size_t)winograd_positions(out) * position_words(desc, lanes);
}

size_t winograd_packed_bytes(const struct kernel_desc *desc, int out)
{
    size_t lanes = (size_t)kernel_blocks(desc->out_channels) * KERNEL_BLOCK;
    return sizeof(float) * (conv_constant_floats(desc) + u_words(desc, out, lanes));
}

/* U of one filter. */
static void transform_filter(float *to, int patch, g_matrix g, const float *filter)
{
    g_matrix half;
    for (int i = 0; i < patch; i++)
        for (int x = 0; x < WINOGRAD_TAPS; x++)
            half[i][x] = g[i][0] * (double)filter[x] +
                         g[i][1] * (double)filter[WINOGRAD_TAPS + x] +
                         g[i][2] * (double)filter[2 * WINOGRAD_TAPS + x];
    for (int i = 0; i < patch; i++)
        for (int j = 0; j < patch; j++)
            *to++ = (float)(half[i][0] * g[j][0] + half[i][1] * g[j][1] + half[i][2] * g[j][2]);
}

/* One word of each position, to[position · stride], from the filters of `count` input channels. */
static void pack_words(float *to, size_t stride, enum kernel_type type, int out, g_matrix g,
                       const float *filters, int count)
{
    enum { MOST_POSITIONS = WINOGRAD_MOST_PATCH * WINOGRAD_MOST_PATCH, MOST_COUNT = 2 };
    float u[MOST_COUNT][MOST_POSITIONS];
    for (int i = 0; i < count; i++)
        transform_filter(u[i], winograd_patch(out), g,
                         filters + i * WINOGRAD_TAPS * WINOGRAD_TAPS);
    for (int p = 0; p < winograd_positions(out); p++, to += stride)
        *to = conv_pack_word(type, &u[0][p], MOST_POSITIONS, count);
}

/* The channels of source s, the `first`-th input channel and its followers. */
static void pack_source(float *to, const struct kernel_desc *desc, const float *weight, int out,
                        struct conv_group group, int s, int first)
{
    g_matrix g;
    make_g(out, g);
    int inputs = 0, word = kernel_word_channels(desc->in_type);
    for (int i = 0; i < desc->source_count; i++)
        inputs += desc->source_channels[i];
    size_t lanes = (size_t)group.count * KERNEL_BLOCK, stride = position_words(desc, lanes);
    for (int i = 0; i < desc->source_channels[s]; i += word, to += lanes) {
        int left = desc->source_channels[s] - i;
        for (size_t lane = 0; lane < lanes; lane++) {
            size_t o = (size_t)group.first * KERNEL_BLOCK + lane;
            if (o < (size_t)desc->out_channels)
                pack_words(to + lane, stride, desc->in_type, out, g,
                           weight + (o * (size_t)inputs + (size_t)(first + i)) * WINOGRAD_TAPS *
                                        WINOGRAD_TAPS,
                           left < word ? left : word);
        }
    }
}

static void pack_group(float *to, const struct kernel_desc *desc, const float *weight, int out,
                       struct conv_group group)
{
    size_t lanes = (size_t)group.count * KERNEL_BLOCK;
    size_t block_words = KERNEL_BLOCK / (size_t)kernel_word_channels(desc->in_type);
    memset(to, 0, u_words(desc, out, lanes) * sizeof *to);
    for (int s = 0, first = 0; s < desc->source_count && weight != NULL; s++) {
        pack_source(to, desc, weight, out, group, s, first);
        first += desc->source_channels[s];
        to += (size_t)kernel_blocks(desc->source_channels[s]) * block_words * lanes;
    }
}

void winograd_pack(const struct kernel_desc *desc, const struct kernel_weights *weights, int out,
                   int most_blocks, void *packed)
{
    float *to = conv_pack_constants(desc, weights, packed);
    for (int index = 0; index < conv_group_count(desc, most_blocks); index++) {
        struct conv_group group = conv_group(desc, most_blocks, index);
        pack_group(to, desc, weights->weight, out, group);
        to += u_words(desc, out, (size_t)(group.count * KERNEL_BLOCK));
    }
}
