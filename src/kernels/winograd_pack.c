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

/* Floats of U for so many output channels. */
static size_t u_floats(const struct kernel_desc *desc, int out, size_t lanes)
{
    size_t in = (size_t)winograd_in_blocks(desc) * KERNEL_BLOCK;
    return (size_t)winograd_positions(out) * in * lanes;
}

size_t winograd_packed_bytes(const struct kernel_desc *desc, int out)
{
    size_t lanes = (size_t)kernel_blocks(desc->out_channels) * KERNEL_BLOCK;
    return sizeof(float) * (conv_constant_floats(desc) + u_floats(desc, out, lanes));
}

/* One filter, to[position · stride]. */
static void pack_filter(float *to, size_t stride, int patch, g_matrix g, const float *filter)
{
    g_matrix half;
    for (int i = 0; i < patch; i++)
        for (int x = 0; x < WINOGRAD_TAPS; x++)
            half[i][x] = g[i][0] * (double)filter[x] +
                         g[i][1] * (double)filter[WINOGRAD_TAPS + x] +
                         g[i][2] * (double)filter[2 * WINOGRAD_TAPS + x];
    for (int i = 0; i < patch; i++)
        for (int j = 0; j < patch; j++, to += stride)
            *to = (float)(half[i][0] * g[j][0] + half[i][1] * g[j][1] + half[i][2] * g[j][2]);
}

/* The place of each input channel among those padded to blocks: place[i], i as in the weights. */
static int padded_place(const struct kernel_desc *desc, int channel)
{
    int first = 0, s = 0;
    for (; channel >= desc->source_channels[s]; s++) {
        channel -= desc->source_channels[s];
        first += kernel_blocks(desc->source_channels[s]) * KERNEL_BLOCK;
    }
    return first + channel;
}

static void pack_group(float *to, const struct kernel_desc *desc, const float *weight, int out,
                       struct conv_group group)
{
    g_matrix g;
    make_g(out, g);
    int inputs = 0;
    for (int s = 0; s < desc->source_count; s++)
        inputs += desc->source_channels[s];
    size_t lanes = (size_t)group.count * KERNEL_BLOCK;
    size_t stride = (size_t)winograd_in_blocks(desc) * KERNEL_BLOCK * lanes;
    memset(to, 0, u_floats(desc, out, lanes) * sizeof *to);
    for (int i = 0; i < inputs && weight != NULL; i++) {
        float *place = to + (size_t)padded_place(desc, i) * lanes;
        for (size_t lane = 0; lane < lanes; lane++) {
            size_t o = (size_t)group.first * KERNEL_BLOCK + lane;
            if (o < (size_t)desc->out_channels)
                pack_filter(place + lane, stride, winograd_patch(out), g,
                            weight + (o * (size_t)inputs + (size_t)i) * WINOGRAD_TAPS *
                                         WINOGRAD_TAPS);
        }
    }
}

void winograd_pack(const struct kernel_desc *desc, const struct kernel_weights *weights, int out,
                   int most_blocks, void *packed)
{
    float *to = conv_pack_constants(desc, weights, packed);
    for (int index = 0; index < conv_group_count(desc, most_blocks); index++) {
        struct conv_group group = conv_group(desc, most_blocks, index);
        pack_group(to, desc, weights->weight, out, group);
        to += u_floats(desc, out, (size_t)(group.count * KERNEL_BLOCK));
    }
}
