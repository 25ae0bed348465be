#include "kernels/winograd.h"

#include "kernels/conv_pack.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define MOST_POSITIONS (WINOGRAD_MOST_PATCH * WINOGRAD_MOST_PATCH)

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
    int block_words = KERNEL_BLOCK / winograd_word_channels(desc->in_type);
    return (size_t)(winograd_in_blocks(desc) * block_words) * lanes;
}

static size_t u_words(const struct kernel_desc *desc, int out, size_t lanes)
{
    return (size_t)winograd_positions(out) * position_words(desc, lanes);
}

size_t winograd_packed_bytes(const struct kernel_desc *desc, int out)
{
    size_t lanes = (size_t)kernel_blocks(desc->out_channels) * KERNEL_BLOCK;
    return sizeof(float) * (conv_constant_floats(desc) + winograd_scale_floats(desc, out) +
                            u_words(desc, out, lanes));
}

/* U of one filter. */
static void transform_filter(double *to, int patch, g_matrix g, const float *filter)
{
    g_matrix half;
    for (int i = 0; i < patch; i++)
        for (int x = 0; x < WINOGRAD_TAPS; x++)
            half[i][x] = g[i][0] * (double)filter[x] + g[i][1] * (double)filter[WINOGRAD_TAPS + x] +
                         g[i][2] * (double)filter[2 * WINOGRAD_TAPS + x];
    for (int i = 0; i < patch; i++)
        for (int j = 0; j < patch; j++)
            *to++ = half[i][0] * g[j][0] + half[i][1] * g[j][1] + half[i][2] * g[j][2];
}

static int in_channels(const struct kernel_desc *desc)
{
    int sum = 0;
    for (int s = 0; s < desc->source_count; s++)
        sum += desc->source_channels[s];
    return sum;
}

/* What all words of a convolution share. */
struct packing {
    const struct kernel_desc *desc;
    const float *weight;
    const float *scales; /* of U8 */
    int out;
    g_matrix *g;
};

/* The filters of output channel o from the `first`-th input channel on. */
static const float *filters_at(const struct packing *packing, size_t o, int first)
{
    size_t inputs = (size_t)in_channels(packing->desc);
    return packing->weight + (o * inputs + (size_t)first) * WINOGRAD_TAPS * WINOGRAD_TAPS;
}

/* ---------------------------------------------------------------- bytes */

/* A row of Bᵀ for whole V: what it is multiplied by; sums of its positive and of its negative
 * entries then. */
struct whole_row {
    double factor, positive, negative;
};

static const struct whole_row two_rows[] = {{1, 1, 1}, {1, 2, 0}, {1, 1, 1}, {1, 1, 1}};
static const struct whole_row four_rows[] = {{2, 7, 7}, {2, 8, 2}, {2, 5, 5},
                                             {1, 3, 3}, {2, 3, 3}, {2, 7, 7}};
static const struct whole_row six_rows[] = {{1, 6.25, 6.25}, {1, 4, 8.5},    {1, 6.25, 6.25},
                                            {2, 7.5, 7.5},   {2, 7.5, 7.5},  {1, 7.5, 7.5},
                                            {1, 7.5, 7.5},   {1, 6.25, 6.25}};

/* What rounding adds to V at most, and more than it does. */
#define WINOGRAD_SLACK 2

static const struct whole_row *whole_rows(int out)
{
    return out == 2 ? two_rows : out == 4 ? four_rows : six_rows;
}

/* A position of V: what it is multiplied by, and its largest magnitude. */
struct whole_position {
    double factor, peak;
};

static struct whole_position whole_position(int out, int position)
{
    const struct whole_row *rows = whole_rows(out);
    struct whole_row y = rows[position / winograd_patch(out)];
    struct whole_row x = rows[position % winograd_patch(out)];
    double most = y.positive * x.positive + y.negative * x.negative;
    double least = y.positive * x.negative + y.negative * x.positive;
    return (struct whole_position){
        .factor = y.factor * x.factor,
        .peak = ceil(255.0 * fmax(most, least)) + (out == 6 ? WINOGRAD_SLACK : 0),
    };
}

/* The sum of |U / scale|, rounded, that cannot overflow; a half for each channel is rounding's. */
static double most_steps(int out, int position, int channels)
{
    return floor(2147483647.0 / whole_position(out, position).peak) - 1.0 - 0.5 * channels;
}

/* The mean |U| of an output channel, in steps. */
#define LEAST_MEAN 32.0

bool winograd_coarse(const struct kernel_desc *desc, int out)
{
    int channels = in_channels(desc);
    for (int p = 0; p < winograd_positions(out); p++)
        if (most_steps(out, p, channels) < LEAST_MEAN * channels)
            return true;
    return false;
}

size_t winograd_scale_floats(const struct kernel_desc *desc, int out)
{
    if (desc->in_type != KERNEL_U8)
        return 0;
    return (size_t)kernel_blocks(desc->out_channels) * (size_t)winograd_positions(out) *
           KERNEL_BLOCK;
}

/* Of one position and output channel, from the sum and the maximum of |U|. NaN, where there is no
 * finite one, makes the outputs NaN, as weights that are not finite do. */
static float scale_of(double sum, double largest, double steps)
{
    double scale = fmax(sum / steps, largest / INT16_MAX);
    if (!(sum <= FLT_MAX))
        return NAN;
    return scale > FLT_MIN || scale == 0.0 ? (float)scale : FLT_MIN;
}

/* U of one filter for whole V. */
static void transform_whole(double *to, const struct packing *packing, const float *filter)
{
    transform_filter(to, winograd_patch(packing->out), *packing->g, filter);
    for (int p = 0; p < winograd_positions(packing->out); p++)
        to[p] /= whole_position(packing->out, p).factor;
}

/* The scales of output channel o, to[position · KERNEL_BLOCK]. */
static void pack_scales(const struct packing *packing, size_t o, float *to)
{
    int out = packing->out, channels = in_channels(packing->desc);
    double sum[MOST_POSITIONS] = {0.0}, largest[MOST_POSITIONS] = {0.0}, u[MOST_POSITIONS];
    for (int c = 0; c < channels; c++) {
        transform_whole(u, packing, filters_at(packing, o, c));
        for (int p = 0; p < winograd_positions(out); p++) {
            sum[p] += fabs(u[p]);
            largest[p] = fmax(largest[p], fabs(u[p]));
        }
    }
    for (int p = 0; p < winograd_positions(out); p++)
        to[p * KERNEL_BLOCK] = scale_of(sum[p], largest[p], most_steps(out, p, channels));
}

/* Where those of output channel o begin, KERNEL_BLOCK apart. */
static size_t scales_place(int out, size_t o)
{
    return o / KERNEL_BLOCK * (size_t)winograd_positions(out) * KERNEL_BLOCK + o % KERNEL_BLOCK;
}

/* Returns the end of the scales. */
static float *pack_all_scales(float *to, const struct packing *packing)
{
    const struct kernel_desc *desc = packing->desc;
    size_t floats = winograd_scale_floats(desc, packing->out);
    memset(to, 0, floats * sizeof *to);
    for (int o = 0; o < desc->out_channels && packing->weight != NULL; o++)
        pack_scales(packing, (size_t)o, to + scales_place(packing->out, (size_t)o));
    return to + floats;
}

static int16_t whole(double u, float scale)
{
    return scale > 0.0f ? (int16_t)lrint(u / (double)scale) : 0;
}

/* The word of as many channels as u has rows. */
static float whole_word(double u[][MOST_POSITIONS], int position, int count, float scale)
{
    int16_t pair[2] = {0};
    for (int i = 0; i < count; i++)
        pair[i] = whole(u[i][position], scale);
    float word;
    memcpy(&word, pair, sizeof word);
    return word;
}

/* ---------------------------------------------------------------- groups */

/* One word of each position, to[position · stride], of output channel o and `count` input
 * channels. */
static void pack_words(const struct packing *packing, float *to, size_t stride, size_t o, int first,
                       int count)
{
    double u[2][MOST_POSITIONS];
    const float *filter = filters_at(packing, o, first);
    for (int i = 0; i < count; i++, filter += WINOGRAD_TAPS * WINOGRAD_TAPS)
        transform_filter(u[i], winograd_patch(packing->out), *packing->g, filter);
    for (int p = 0; p < winograd_positions(packing->out); p++, to += stride) {
        float pair[2] = {(float)u[0][p], count > 1 ? (float)u[1][p] : 0.0f};
        *to = conv_pack_word(packing->desc->in_type, pair, 1, count);
    }
}

static void pack_whole_words(const struct packing *packing, float *to, size_t stride, size_t o,
                             int first, int count)
{
    double u[2][MOST_POSITIONS];
    const float *filter = filters_at(packing, o, first);
    const float *scales = packing->scales + scales_place(packing->out, o);
    for (int i = 0; i < count; i++, filter += WINOGRAD_TAPS * WINOGRAD_TAPS)
        transform_whole(u[i], packing, filter);
    for (int p = 0; p < winograd_positions(packing->out); p++, to += stride)
        *to = whole_word(u, p, count, scales[p * KERNEL_BLOCK]);
}

/* Adds what rounding U takes from the mean result: of a patch that is the same everywhere, V is
 * zero but at the points 1 and 1, which come out in each output. */
static void correct_bias(float *bias, const struct packing *packing, const float *mean)
{
    int out = packing->out, position = winograd_patch(out) + 1;
    struct whole_row row = whole_rows(out)[1];
    double constant = (row.positive - row.negative) * (row.positive - row.negative);
    for (int o = 0; o < packing->desc->out_channels; o++) {
        float scale =
            packing->scales[scales_place(out, (size_t)o) + (size_t)position * KERNEL_BLOCK];
        double lost = 0.0;
        for (int c = 0; c < in_channels(packing->desc); c++) {
            double u[MOST_POSITIONS];
            transform_whole(u, packing, filters_at(packing, (size_t)o, c));
            lost += (u[position] - whole(u[position], scale) * (double)scale) * (double)mean[c];
        }
        bias[o] += (float)(constant * lost);
    }
}

/* The channels of source s, the `first`-th input channel and its followers. */
static void pack_source(const struct packing *packing, float *to, struct conv_group group, int s,
                        int first)
{
    const struct kernel_desc *desc = packing->desc;
    int word = winograd_word_channels(desc->in_type);
    size_t lanes = (size_t)group.count * KERNEL_BLOCK, stride = position_words(desc, lanes);
    for (int i = 0; i < desc->source_channels[s]; i += word, to += lanes) {
        int left = desc->source_channels[s] - i, count = left < word ? left : word;
        for (size_t lane = 0; lane < lanes; lane++) {
            size_t o = (size_t)group.first * KERNEL_BLOCK + lane;
            if (o >= (size_t)desc->out_channels)
                break;
            if (desc->in_type == KERNEL_U8)
                pack_whole_words(packing, to + lane, stride, o, first + i, count);
            else
                pack_words(packing, to + lane, stride, o, first + i, count);
        }
    }
}

static void pack_group(const struct packing *packing, float *to, struct conv_group group)
{
    const struct kernel_desc *desc = packing->desc;
    size_t lanes = (size_t)group.count * KERNEL_BLOCK;
    size_t block_words = KERNEL_BLOCK / (size_t)winograd_word_channels(desc->in_type);
    memset(to, 0, u_words(desc, packing->out, lanes) * sizeof *to);
    for (int s = 0, first = 0; s < desc->source_count && packing->weight != NULL; s++) {
        pack_source(packing, to, group, s, first);
        first += desc->source_channels[s];
        to += (size_t)kernel_blocks(desc->source_channels[s]) * block_words * lanes;
    }
}

void winograd_pack(const struct kernel_desc *desc, const struct kernel_weights *weights, int out,
                   int most_blocks, void *packed)
{
    g_matrix g;
    make_g(out, g);
    struct packing packing = {.desc = desc, .weight = weights->weight, .out = out, .g = &g};
    float *to = conv_pack_constants(desc, weights, packed);
    if (desc->in_type == KERNEL_U8) {
        packing.scales = to;
        to = pack_all_scales(to, &packing);
        if (weights->weight != NULL && weights->mean != NULL)
            correct_bias(packed, &packing, weights->mean);
    }
    for (int index = 0; index < conv_group_count(desc, most_blocks); index++) {
        struct conv_group group = conv_group(desc, most_blocks, index);
        pack_group(&packing, to, group);
        to += u_words(desc, out, (size_t)(group.count * KERNEL_BLOCK));
    }
}
