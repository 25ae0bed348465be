#include "kernels/winograd.h"

#include "kernels/conv_pack.h"

#include <string.h>

#define FINITE_POINTS (WINOGRAD_PATCH - 1)
#define TAPS          3

static const double points[FINITE_POINTS] = {0.0, 1.0, -1.0, 0.5, -2.0};

/* G of winograd.h. */
static void make_g(double g[WINOGRAD_PATCH][TAPS])
{
    memset(g, 0, sizeof(double) * WINOGRAD_PATCH * TAPS);
    for (int j = 0; j < FINITE_POINTS; j++) {
        double value = 1.0;
        for (int l = 0; l < FINITE_POINTS; l++)
            if (l != j)
                value /= points[j] - points[l];
        for (int k = 0; k < TAPS; k++, value *= points[j])
            g[j][k] = value;
    }
    g[FINITE_POINTS][TAPS - 1] = 1.0;
}

int winograd_in_blocks(const struct kernel_desc *desc)
{
    int sum = 0;
    for (int s = 0; s < desc->source_count; s++)
        sum += kernel_blocks(desc->source_channels[s]);
    return sum;
}

size_t winograd_packed_bytes(const struct kernel_desc *desc)
{
    size_t in = (size_t)winograd_in_blocks(desc) * KERNEL_BLOCK;
    size_t out = (size_t)kernel_blocks(desc->out_channels) * KERNEL_BLOCK;
    return sizeof(float) * (conv_constant_floats(desc) + WINOGRAD_POSITIONS * in * out);
}

/* One filter, to[position · stride]. */
static void pack_filter(float *to, size_t stride, double g[WINOGRAD_PATCH][TAPS],
                        const float *filter)
{
    double half[WINOGRAD_PATCH][TAPS];
    for (int i = 0; i < WINOGRAD_PATCH; i++)
        for (int x = 0; x < TAPS; x++)
            half[i][x] = g[i][0] * (double)filter[x] + g[i][1] * (double)filter[TAPS + x] +
                         g[i][2] * (double)filter[2 * TAPS + x];
    for (int i = 0; i < WINOGRAD_PATCH; i++)
        for (int j = 0; j < WINOGRAD_PATCH; j++, to += stride)
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

static void pack_group(float *to, const struct kernel_desc *desc, const float *weight,
                       struct conv_group group)
{
    double g[WINOGRAD_PATCH][TAPS];
    make_g(g);
    int inputs = 0;
    for (int s = 0; s < desc->source_count; s++)
        inputs += desc->source_channels[s];
    size_t lanes = (size_t)group.count * KERNEL_BLOCK;
    size_t stride = (size_t)winograd_in_blocks(desc) * KERNEL_BLOCK * lanes;
    memset(to, 0, WINOGRAD_POSITIONS * stride * sizeof *to);
    for (int i = 0; i < inputs && weight != NULL; i++) {
        float *place = to + (size_t)padded_place(desc, i) * lanes;
        for (size_t lane = 0; lane < lanes; lane++) {
            size_t o = (size_t)group.first * KERNEL_BLOCK + lane;
            if (o < (size_t)desc->out_channels)
                pack_filter(place + lane, stride, g,
                            weight + (o * (size_t)inputs + (size_t)i) * TAPS * TAPS);
        }
    }
}

void winograd_pack(const struct kernel_desc *desc, const struct kernel_weights *weights,
                   int most_blocks, void *packed)
{
    float *to = conv_pack_constants(desc, weights, packed);
    for (int index = 0; index < conv_group_count(desc, most_blocks); index++) {
        struct conv_group group = conv_group(desc, most_blocks, index);
        pack_group(to, desc, weights->weight, group);
        to += WINOGRAD_POSITIONS * (size_t)(winograd_in_blocks(desc) * KERNEL_BLOCK) *
              (size_t)(group.count * KERNEL_BLOCK);
    }
}
