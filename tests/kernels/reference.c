/* Straightforward convolutions in double precision, on planar tensors, with a running bound on what
 * float32 may do to them. */
#include "driver.h"

#include "base/bf16.h"
#include "base/u8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A sum of n products in float32 differs from the true one by at most n·u / (1 − n·u) times the sum
 * of the products' magnitudes, u = 2⁻²⁴; a product that underflows by at most 2⁻¹⁵⁰ more. n counts
 * roundings an addend goes through; the fp64 sum's own error is far below one of them. */
static double sum_bound(double magnitude, double terms)
{
    double nu = (terms + 2.0) * 0x1p-24;
    return nu / (1.0 - nu) * magnitude + (terms + 2.0) * 0x1p-149;
}

/* The same where the products are of bf16: AVX512_BF16 takes denormals for zero, be they products
 * or sums, and how often it rounds within a pair of products is its own affair. */
static double bf16_sum_bound(double magnitude, double terms)
{
    double nu = 2.0 * (terms + 2.0) * 0x1p-24;
    return nu / (1.0 - nu) * magnitude + 4.0 * (terms + 2.0) * 0x1p-126;
}

static double bound_of(const struct test_case *test, double magnitude, double terms)
{
    if (test->data == DATA_INTEGERS)
        return 0.0;
    return test->desc.in_type == KERNEL_BF16 ? bf16_sum_bound(magnitude, terms)
                                             : sum_bound(magnitude, terms);
}

/* A product's share in the magnitude. AVX512_BF16 takes a denormal input or weight for zero too;
 * the product is lost then, and 2²⁴ of it are what bf16_sum_bound makes into more than one. */
static double magnitude_of(const struct test_case *test, double weight, double in)
{
    bool lost =
        test->desc.in_type == KERNEL_BF16 && (fabs(weight) < 0x1p-126 || fabs(in) < 0x1p-126);
    return fabs(weight * in) * (lost ? 0x1p24 : 1.0);
}

/* A weight as the kernels use it: rounded as the inputs are; of bytes, in steps. */
static double weight_of(const struct test_case *test, size_t at)
{
    if (test->desc.in_type == KERNEL_U8)
        return test->rounded.whole[at];
    float weight = test->weight[at];
    return (double)(test->desc.in_type == KERNEL_BF16 ? bf16_round(weight) : weight);
}

static float rounded(float value, enum kernel_type type)
{
    return type == KERNEL_BF16 ? bf16_round(value) : (float)u8_from_float(value);
}

/* Of a result that is stored as bf16 or U8: rounding keeps the order, so what lies between two
 * numbers lies between them when rounded. Denormals may become zero. */
static void round_expected(enum kernel_type type, struct expected *expected)
{
    size_t count = (size_t)expected->channels * (size_t)expected->height * (size_t)expected->width;
    if (type == KERNEL_F32 || expected->value == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        double low = (double)rounded((float)(expected->value[i] - expected->bound[i]), type);
        double high = (double)rounded((float)(expected->value[i] + expected->bound[i]), type);
        expected->value[i] = (low + high) / 2.0;
        expected->bound[i] = (high - low) / 2.0;
        if (type == KERNEL_BF16 && low < 0x1p-126 && high > -0x1p-126 &&
            (low != 0.0 || high != 0.0))
            expected->bound[i] += 0x1p-126;
    }
}

static void expect(struct expected *expected, int channels, int height, int width)
{
    size_t count = (size_t)channels * (size_t)height * (size_t)width;
    expected->channels = channels;
    expected->height = height;
    expected->width = width;
    expected->value = need(calloc(count + 1, sizeof(double)));
    expected->bound = need(calloc(count + 1, sizeof(double)));
}

static size_t plane_count(const struct expected *expected)
{
    return (size_t)expected->height * (size_t)expected->width;
}

/* ---------------------------------------------------------------- weights of bytes */

static int in_channels(const struct kernel_desc *desc)
{
    int sum = 0;
    for (int s = 0; s < desc->source_count; s++)
        sum += desc->source_channels[s];
    return sum;
}

/* Where the weight from input i to output o lies; one a tap from there on. */
static size_t weight_place(const struct kernel_desc *desc, int o, int i)
{
    size_t taps = (size_t)desc->kernel_h * (size_t)desc->kernel_w;
    size_t outs = (size_t)desc->out_channels, ins = (size_t)in_channels(desc);
    return taps *
           (desc->op == KERNEL_CONV ? (size_t)o * ins + (size_t)i : (size_t)i * outs + (size_t)o);
}

static double step_of(const struct test_case *test, int o)
{
    const struct kernel_desc *desc = &test->desc;
    float most = 0.0f;
    if (test->weight_step != NULL)
        return (double)test->weight_step[o];
    for (int i = 0; i < in_channels(desc); i++)
        for (int tap = 0; tap < desc->kernel_h * desc->kernel_w; tap++)
            most = fmaxf(most, fabsf(test->weight[weight_place(desc, o, i) + (size_t)tap]));
    return most > 0.0f ? (double)(most / 127.0f) : 1.0;
}

/* Of one output: the rounding of docs/int8.md, and what it loses of the inputs' means. */
static void round_output(struct test_case *test, int o)
{
    const struct kernel_desc *desc = &test->desc;
    int taps = desc->kernel_h * desc->kernel_w;
    double step = test->rounded.step[o] = step_of(test, o);
    double *bias = test->rounded.bias + (size_t)o * (size_t)taps, lost = 0.0;
    for (int tap = 0; tap < taps; tap++) {
        bias[tap] = test->bias != NULL ? (double)test->bias[o] : 0.0;
        for (int i = 0; i < in_channels(desc); i++) {
            size_t at = weight_place(desc, o, i) + (size_t)tap;
            double whole = nearbyint((double)test->weight[at] / step);
            whole = whole > 127.0 ? 127.0 : whole < -127.0 ? -127.0 : whole;
            test->rounded.whole[at] = whole;
            double loss = (double)test->weight[at] - whole * step;
            lost = test->mean != NULL ? lost + loss * (double)test->mean[i] : 0.0;
        }
        if (desc->op == KERNEL_CONV_TRANSPOSE) {
            bias[tap] += lost;
            lost = 0.0;
        }
    }
    bias[0] += lost;
}

static void round_weights(struct test_case *test)
{
    const struct kernel_desc *desc = &test->desc;
    size_t taps = (size_t)desc->kernel_h * (size_t)desc->kernel_w;
    size_t outs = (size_t)desc->out_channels, count = outs * taps * (size_t)in_channels(desc);
    test->rounded.whole = need(malloc(count * sizeof(double)));
    test->rounded.step = need(malloc(outs * sizeof(double)));
    test->rounded.bias = need(malloc(outs * taps * sizeof(double)));
    for (int o = 0; o < desc->out_channels; o++)
        round_output(test, o);
}

/* Sums of bytes are exact; they are converted, multiplied and added to a bias, each rounded once,
 * as the bias is. */
static void scale_sum(const struct test_case *test, int o, int tap, double *value, double *bound)
{
    int taps = test->desc.kernel_h * test->desc.kernel_w;
    double bias = test->rounded.bias[o * taps + tap];
    double product = *value * test->rounded.step[o];
    *value = product + bias;
    *bound = test->data == DATA_INTEGERS ? 0.0 : sum_bound(fabs(product) + fabs(bias), 2.0);
}

/* ---------------------------------------------------------------- convolution */

/* Where a tap reads, and what stands for 0 around it. */
struct plane {
    const float *data;
    uint8_t zero;
};

/* Columns of an output row that a tap fills with the padding's `zero`. */
static void add_padding(const struct test_case *test, double *value, double *bound, int first,
                        int last, double weight, double zero)
{
    double magnitude = magnitude_of(test, weight, zero);
    for (int x = first; x < last; x++) {
        value[x] += weight * zero;
        bound[x] += magnitude;
    }
}

/* Columns first … last − 1, whose inputs begin at `in`. */
static void add_inside(const struct test_case *test, double *value, double *bound, int first,
                       int last, double weight, const float *in)
{
    int stride = test->desc.stride;
    for (int x = first; x < last; x++)
        value[x] += weight * (double)in[(x - first) * stride];
    if (test->desc.in_type == KERNEL_BF16) {
        for (int x = first; x < last; x++)
            bound[x] += magnitude_of(test, weight, (double)in[(x - first) * stride]);
    } else if (test->desc.in_type == KERNEL_F32) { /* bytes have bounds of their own */
        for (int x = first; x < last; x++)
            bound[x] += fabs(weight * (double)in[(x - first) * stride]);
    }
}

/* Output row y gets weight · input row, `bound` the magnitudes; row NULL: all of it is outside. */
static void add_tap_row(const struct test_case *test, struct expected *out, int o, int y,
                        const float *row, double zero, int kx, double weight)
{
    int stride = test->desc.stride, shift = kx - test->desc.padding;
    double *value = out->value + ((size_t)o * plane_count(out) + (size_t)y * (size_t)out->width);
    double *bound = out->bound + ((size_t)o * plane_count(out) + (size_t)y * (size_t)out->width);
    int first = 0, last = out->width;
    while (first < last && first * stride + shift < 0)
        first++;
    while (last > first && (last - 1) * stride + shift >= test->width)
        last--;
    if (row == NULL)
        last = first;
    add_padding(test, value, bound, 0, first, weight, zero);
    add_padding(test, value, bound, last, out->width, weight, zero);
    if (first < last)
        add_inside(test, value, bound, first, last, weight, row + first * stride + shift);
}

static void add_tap(const struct test_case *test, struct expected *out, int o, struct plane plane,
                    int ky, int kx, double weight)
{
    const struct kernel_desc *desc = &test->desc;
    for (int y = 0; y < out->height; y++) {
        int in_y = y * desc->stride - desc->padding + ky;
        bool outside = in_y < 0 || in_y >= test->height;
        const float *row = outside ? NULL : plane.data + (size_t)in_y * (size_t)test->width;
        add_tap_row(test, out, o, y, row, plane.zero, kx, weight);
    }
}

static struct plane in_plane(const struct test_case *test, int channel)
{
    int s = 0;
    while (channel >= test->desc.source_channels[s])
        channel -= test->desc.source_channels[s++];
    const float *data =
        test->sources[s] + (size_t)channel * (size_t)test->height * (size_t)test->width;
    return (struct plane){data, test->zeros[s]};
}

static void convolve(const struct test_case *test, struct expected *out)
{
    const struct kernel_desc *desc = &test->desc;
    for (int o = 0; o < desc->out_channels; o++)
        for (int i = 0; i < in_channels(desc); i++)
            for (int tap = 0; tap < desc->kernel_h * desc->kernel_w; tap++)
                add_tap(test, out, o, in_plane(test, i), tap / desc->kernel_w, tap % desc->kernel_w,
                        weight_of(test, weight_place(desc, o, i) + (size_t)tap));
}

/* Adds the bias, turns magnitudes into bounds, applies ReLU (which enlarges no error). */
static void complete(const struct test_case *test, struct expected *out, double terms)
{
    size_t count = plane_count(out);
    for (size_t i = 0; i < (size_t)out->channels * count; i++) {
        if (test->desc.in_type == KERNEL_U8) {
            scale_sum(test, (int)(i / count), 0, &out->value[i], &out->bound[i]);
        } else {
            double bias = test->bias != NULL ? (double)test->bias[i / count] : 0.0;
            out->value[i] += bias;
            out->bound[i] = bound_of(test, out->bound[i] + fabs(bias), terms + 1.0);
        }
        if (test->desc.relu && out->value[i] < 0.0)
            out->value[i] = 0.0;
    }
}

static void pool(const struct expected *in, struct expected *out)
{
    expect(out, in->channels, in->height / 2, in->width / 2);
    double *value = out->value, *bound = out->bound;
    for (int c = 0; c < in->channels; c++)
        for (int y = 0; y < out->height; y++)
            for (int x = 0; x < out->width; x++, value++, bound++) {
                *value = -INFINITY;
                for (int i = 0; i < 4; i++) {
                    size_t at = (size_t)c * plane_count(in) +
                                (size_t)(2 * y + i / 2) * (size_t)in->width +
                                (size_t)(2 * x + i % 2);
                    *value = fmax(*value, in->value[at]);
                    *bound = fmax(*bound, in->bound[at]);
                }
            }
}

static void head(const struct test_case *test, const struct expected *in, struct expected *out)
{
    expect(out, test->desc.head_channels, in->height, in->width);
    size_t count = plane_count(in);
    for (int h = 0; h < out->channels; h++) {
        double bias = test->head_bias != NULL ? (double)test->head_bias[h] : 0.0;
        for (size_t i = 0; i < count; i++) {
            double value = bias, magnitude = fabs(bias), inherited = 0.0;
            for (int c = 0; c < in->channels; c++) {
                size_t at = (size_t)c * count + i;
                double weight = (double)test->head_weight[h * in->channels + c];
                value += weight * in->value[at];
                magnitude += fabs(weight) * (fabs(in->value[at]) + in->bound[at]);
                inherited += fabs(weight) * in->bound[at];
            }
            out->value[(size_t)h * count + i] = value;
            out->bound[(size_t)h * count + i] =
                test->data == DATA_INTEGERS && inherited == 0.0
                    ? 0.0
                    : inherited + sum_bound(magnitude, in->channels + 1.0);
        }
    }
}

static void conv_finish(const struct test_case *test, struct conv_expected *expected)
{
    if (test->desc.pool)
        pool(&expected->out, &expected->pooled);
    if (test->desc.head_channels > 0)
        head(test, &expected->out, &expected->planar);
    round_expected(test->desc.out_type, &expected->out);
    round_expected(test->desc.pooled_type, &expected->pooled);
}

static void reference_conv(struct test_case *test)
{
    const struct kernel_desc *desc = &test->desc;
    int height = (test->height + 2 * desc->padding - desc->kernel_h) / desc->stride + 1;
    int width = (test->width + 2 * desc->padding - desc->kernel_w) / desc->stride + 1;
    expect(&test->direct.out, desc->out_channels, height, width);
    convolve(test, &test->direct.out);
    complete(test, &test->direct.out,
             (double)in_channels(desc) * (double)desc->kernel_h * (double)desc->kernel_w);
    if (desc->kernel_h != 3 || desc->kernel_w != 3 || desc->stride != 1 || desc->padding != 1) {
        conv_finish(test, &test->direct);
        return;
    }
    for (int size = 0; size < WINOGRAD_SIZES; size++) {
        struct expected *out = &test->winograd[size].out;
        if (!test->winograd_wanted[size])
            continue;
        expect(out, desc->out_channels, height, width);
        memcpy(out->value, test->direct.out.value,
               (size_t)out->channels * plane_count(out) * sizeof *out->value);
    }
    conv_finish(test, &test->direct);
    for (int size = 0; size < WINOGRAD_SIZES; size++) {
        if (!test->winograd_wanted[size])
            continue;
        winograd_bounds(test, size);
        conv_finish(test, &test->winograd[size]);
    }
}

/* ---------------------------------------------------------------- placed results */

/* The index into a plane of `out` of a result's pixel; false where it is cropped. */
static bool placed_at(const struct test_case *test, int y, int x, size_t *at)
{
    y += test->offset_y;
    x += test->offset_x;
    *at = (size_t)y * (size_t)test->out_width + (size_t)x;
    return y >= 0 && y < test->out_height && x >= 0 && x < test->out_width;
}

static void transpose_pixel(const struct test_case *test, int o, int y, int x, double *value,
                            double *bound)
{
    int inputs = test->desc.source_channels[0], phase = y % 2 * 2 + x % 2;
    bool bytes = test->desc.in_type == KERNEL_U8;
    *value = test->bias != NULL && !bytes ? (double)test->bias[o] : 0.0;
    double magnitude = fabs(*value);
    for (int i = 0; i < inputs; i++) {
        const float *plane = in_plane(test, i).data;
        double in = (double)plane[(size_t)(y / 2) * (size_t)test->width + (size_t)(x / 2)];
        double weight = weight_of(test, weight_place(&test->desc, o, i) + (size_t)phase);
        *value += in * weight;
        magnitude += magnitude_of(test, weight, in);
    }
    if (bytes)
        scale_sum(test, o, phase, value, bound);
    else
        *bound = bound_of(test, magnitude, inputs + 1.0);
}

/* PyTorch's position in float32: out · ((in − 1) / (2·in − 1)). The rest is in double. */
static double upsample_position(int out_index, int in_size)
{
    if (in_size == 1)
        return 0.0;
    volatile float scale = (float)(in_size - 1) / (float)(2 * in_size - 1);
    volatile float position = scale * (float)out_index;
    return (double)position;
}

static void upsample_pixel(const struct test_case *test, int c, int y, int x, double *value,
                           double *bound)
{
    double at_y = upsample_position(y, test->height), at_x = upsample_position(x, test->width);
    int y0 = (int)at_y, x0 = (int)at_x;
    int y1 = y0 + 1 < test->height ? y0 + 1 : y0, x1 = x0 + 1 < test->width ? x0 + 1 : x0;
    const float *in = in_plane(test, c).data;
    double corner[4] = {
        (double)in[(size_t)y0 * (size_t)test->width + (size_t)x0],
        (double)in[(size_t)y0 * (size_t)test->width + (size_t)x1],
        (double)in[(size_t)y1 * (size_t)test->width + (size_t)x0],
        (double)in[(size_t)y1 * (size_t)test->width + (size_t)x1],
    };
    double down = at_y - y0, right = at_x - x0, magnitude = 0.0;
    double share[4] = {(1 - down) * (1 - right), (1 - down) * right, down * (1 - right),
                       down * right};
    *value = 0.0;
    for (int i = 0; i < 4; i++) {
        *value += share[i] * corner[i];
        magnitude += fabs(share[i] * corner[i]);
    }
    /* 1 − share rounds once an axis; each addend meets two products and three sums. */
    *bound = sum_bound(magnitude, 7.0);
}

static void reference_placed(struct test_case *test,
                             void (*pixel)(const struct test_case *test, int c, int y, int x,
                                           double *value, double *bound))
{
    expect(&test->direct.out, test->desc.out_channels, test->out_height, test->out_width);
    for (size_t i = 0; i < (size_t)test->desc.out_channels * plane_count(&test->direct.out); i++)
        test->direct.out.value[i] = test->out_zero;
    for (int c = 0; c < test->desc.out_channels; c++)
        for (int y = 0; y < 2 * test->height; y++)
            for (int x = 0; x < 2 * test->width; x++) {
                size_t at;
                if (!placed_at(test, y, x, &at))
                    continue;
                at += (size_t)c * plane_count(&test->direct.out);
                pixel(test, c, y, x, &test->direct.out.value[at], &test->direct.out.bound[at]);
            }
    round_expected(test->desc.out_type, &test->direct.out);
}

/* ---------------------------------------------------------------- all */

static void reference_copy(const struct test_case *test, struct expected *to)
{
    expect(to, test->desc.out_channels, test->height, test->width);
    for (size_t i = 0; i < (size_t)to->channels * plane_count(to); i++)
        to->value[i] = (double)test->sources[0][i];
}

static void reference_pool(struct test_case *test)
{
    struct expected in = {0};
    reference_copy(test, &in);
    pool(&in, &test->direct.out);
    free(in.value);
    free(in.bound);
}

void reference_run(struct test_case *test)
{
    if (test->desc.in_type == KERNEL_U8 && test->weight != NULL)
        round_weights(test);
    switch (test->desc.op) {
    case KERNEL_CONV:
        reference_conv(test);
        break;
    case KERNEL_CONV_TRANSPOSE:
        reference_placed(test, transpose_pixel);
        break;
    case KERNEL_UPSAMPLE:
        reference_placed(test, upsample_pixel);
        break;
    case KERNEL_MAX_POOL:
        reference_pool(test);
        break;
    case KERNEL_LOAD:
        reference_copy(test, &test->direct.out);
        round_expected(test->desc.out_type, &test->direct.out);
        break;
    case KERNEL_STORE:
        reference_copy(test, &test->direct.planar);
        break;
    default:
        break;
    }
}
