/* Straightforward operations in double precision, with a bound on what a GPU's kernels may do to
 * each result: round it to its type, sum in float32 in any order, multiply with fewer bits. */
#include "driver.h"

#include "base/e4m3.h"

#include <math.h>
#include <stdlib.h>

/* Of a sum of so many terms, as a share of their magnitudes. Tensor cores add eight or more
 * products at once, truncate, and keep about as many bits as float32 has. */
static double sum_error(int terms)
{
    return (double)(terms / 4 + 8) * 0x1p-23;
}

/* Half a step of what is stored. */
static double rounding(enum kernel_type type, double value)
{
    double magnitude = fabs(value);
    switch (type) {
    case KERNEL_F16:
        return fmax(magnitude * 0x1p-11, 0x1p-25) * 1.001;
    case KERNEL_BF16:
        return magnitude * 0x1p-8 * 1.001;
    case KERNEL_U8:
        return 0.5;
    case KERNEL_E4M3:
        return fmax(magnitude * 0x1p-4, 0x1p-10) * 1.001;
    default:
        return magnitude * 0x1p-24;
    }
}

/* What rounding factors to fewer bits may change of a sum whose products have this magnitude. */
static double product_error(const struct test_case *test, double magnitude, int terms)
{
    const struct kernel_desc *desc = &test->desc;
    bool wide = desc->out_type == KERNEL_F32 || (desc->pool && desc->pooled_type == KERNEL_F32);
    bool tf32 = desc->in_type == KERNEL_F32 && (desc->tf32 || !wide);
    if (desc->in_type == KERNEL_U8) /* exact sums; three roundings behind them */
        return magnitude * 0x1p-22;
    if (desc->in_type == KERNEL_E4M3) /* sums that keep 13 bits of the largest of 32 products */
        return magnitude * (sum_error(terms) + 0x1p-11);
    if (test->data == DATA_EXACT)
        return 0.0;
    return magnitude * (sum_error(terms) + (tf32 ? 0x1p-10 : 0.0));
}

struct sum {
    double value, magnitude;
    int terms;
};

static void add_product(struct sum *sum, double weight, double in)
{
    sum->value += weight * in;
    sum->magnitude += fabs(weight * in);
    sum->terms++;
}

static int all_inputs(const struct kernel_desc *desc)
{
    int sum = 0;
    for (int s = 0; s < desc->source_count; s++)
        sum += desc->source_channels[s];
    return sum;
}

static int taps_of(const struct kernel_desc *desc)
{
    return desc->kernel_h * desc->kernel_w;
}

/* Of a weight in PyTorch's order. */
static size_t weight_place(const struct kernel_desc *desc, int o, int input, int tap)
{
    size_t pair = desc->op == KERNEL_CONV ? (size_t)o * (size_t)all_inputs(desc) + (size_t)input
                                          : (size_t)input * (size_t)desc->out_channels + (size_t)o;
    return pair * (size_t)taps_of(desc) + (size_t)tap;
}

static bool has_steps(const struct kernel_desc *desc)
{
    return desc->in_type == KERNEL_U8 || desc->in_type == KERNEL_E4M3;
}

/* Weights of bytes are whole numbers, −127 … 127, or e4m3, times a step an output. */
static float step_of(const struct test_case *test, int o)
{
    float most = 0.0f;
    if (test->weight_step != NULL)
        return test->weight_step[o];
    for (int i = 0; i < all_inputs(&test->desc); i++)
        for (int tap = 0; tap < taps_of(&test->desc); tap++)
            most = fmaxf(most, fabsf(test->weight[weight_place(&test->desc, o, i, tap)]));
    float of_all = test->desc.in_type == KERNEL_E4M3 ? E4M3_MOST : 127.0f;
    return most > 0.0f ? most / of_all : 1.0f;
}

/* A weight as it is multiplied; step: of bytes. */
static double weight_of(const struct test_case *test, size_t at, double step)
{
    double weight = (double)test->weight[at];
    if (test->desc.in_type == KERNEL_E4M3)
        return (double)e4m3_round(test->weight[at] / (float)step) * step;
    if (test->desc.in_type != KERNEL_U8)
        return round_to(test->desc.in_type, weight);
    return fmax(-127.0, fmin(127.0, nearbyint(weight / step))) * step;
}

/* What rounding an output's weights of bytes loses of the inputs' means; of one tap, or of all
 * where that is −1. */
static double lost_of(const struct test_case *test, int o, int only_tap, double step)
{
    double lost = 0.0;
    if (test->mean == NULL)
        return lost;
    for (int i = 0; i < all_inputs(&test->desc); i++)
        for (int tap = 0; tap < taps_of(&test->desc); tap++) {
            size_t at = weight_place(&test->desc, o, i, tap);
            double loss = (double)test->weight[at] - weight_of(test, at, step);
            if (only_tap < 0 || tap == only_tap)
                lost += loss * (double)test->mean[i];
        }
    return lost;
}

static struct sum conv_sum(const struct test_case *test, int image, int o, int y, int x,
                           double step)
{
    const struct kernel_desc *desc = &test->desc;
    struct sum sum = {0.0, 0.0, 0};
    int input = 0;
    for (int s = 0; s < desc->source_count; s++)
        for (int c = 0; c < desc->source_channels[s]; c++, input++)
            for (int tap = 0; tap < desc->kernel_h * desc->kernel_w; tap++) {
                int iy = y * desc->stride - desc->padding + tap / desc->kernel_w;
                int ix = x * desc->stride - desc->padding + tap % desc->kernel_w;
                double weight = weight_of(test, weight_place(desc, o, input, tap), step);
                const struct values *in = &test->sources[s];
                bool inside = iy >= 0 && iy < in->height && ix >= 0 && ix < in->width;
                add_product(&sum, weight,
                            inside ? *value_at(in, in->value, image, c, iy, ix) : test->zeros[s]);
            }
    return sum;
}

/* Bias, ReLU and the store of a sum in a type; lost: what goes into the bias. */
static void finish(const struct test_case *test, enum kernel_type type, struct sum sum, int o,
                   double lost, double *value, double *bound)
{
    double bias = (test->bias != NULL ? (double)test->bias[o] : 0.0) + lost;
    double result = sum.value + bias,
           error = product_error(test, sum.magnitude + fabs(bias), sum.terms);
    if (test->desc.relu && result < 0.0)
        result = 0.0;
    if (type == KERNEL_U8)
        result = fmax(0.0, fmin(255.0, result));
    if (type == KERNEL_E4M3)
        result = fmax(-E4M3_MOST, fmin(E4M3_MOST, result));
    *value = result;
    *bound = error + rounding(type, fabs(result) + error);
}

static void run_conv(struct test_case *test, enum kernel_type type, struct values *out)
{
    const struct kernel_desc *desc = &test->desc;
    int height = (test->height + 2 * desc->padding - desc->kernel_h) / desc->stride + 1;
    int width = (test->width + 2 * desc->padding - desc->kernel_w) / desc->stride + 1;
    values_new(out, test->images, desc->out_channels, height, width);
    for (int image = 0; image < test->images; image++)
        for (int o = 0; o < desc->out_channels; o++) {
            double step = (double)step_of(test, o), lost = lost_of(test, o, -1, step);
            for (int y = 0; y < height; y++)
                for (int x = 0; x < width; x++)
                    finish(test, type, conv_sum(test, image, o, y, x, step), o, lost,
                           value_at(out, out->value, image, o, y, x),
                           value_at(out, out->bound, image, o, y, x));
        }
}

/* Bounds of a maximum: that of whichever it may be. */
static void run_max_pool(const struct values *in, struct values *out)
{
    values_new(out, in->images, in->channels, in->height / 2, in->width / 2);
    for (int plane = 0; plane < in->images * in->channels; plane++)
        for (int i = 0; i < out->height * out->width; i++) {
            int y = i / out->width * 2, x = i % out->width * 2;
            double most = -HUGE_VAL, bound = 0.0;
            for (int k = 0; k < 4; k++) {
                size_t at =
                    ((size_t)plane * (size_t)in->height + (size_t)(y + k / 2)) * (size_t)in->width +
                    (size_t)(x + k % 2);
                most = fmax(most, in->value[at]);
                bound = fmax(bound, in->bound[at]);
            }
            size_t to = (size_t)plane * (size_t)(out->height * out->width) + (size_t)i;
            out->value[to] = most;
            out->bound[to] = bound;
        }
}

/* What is pooled has never been rounded to the type of what is stored. */
static void run_conv_pool(struct test_case *test)
{
    struct values wide;
    run_conv(test, test->desc.pooled_type, &wide);
    run_max_pool(&wide, &test->pooled);
    free(wide.value);
    free(wide.bound);
}

static void run_head(struct test_case *test)
{
    const struct values *in = &test->out;
    struct values *out = &test->planar;
    size_t plane = (size_t)in->height * (size_t)in->width;
    int heads = test->desc.head_channels;
    values_new(out, in->images, heads, in->height, in->width);
    for (size_t i = 0; i < value_count(out); i++) {
        size_t image = i / plane / (size_t)heads, k = i / plane % (size_t)heads;
        double bias = test->head_bias != NULL ? (double)test->head_bias[k] : 0.0;
        double sum = bias, magnitude = fabs(bias), bound = 0.0;
        for (size_t c = 0; c < (size_t)in->channels; c++) {
            size_t at = (image * (size_t)in->channels + c) * plane + i % plane;
            double weight = (double)test->head_weight[k * (size_t)in->channels + c];
            sum += weight * in->value[at];
            magnitude += fabs(weight * in->value[at]);
            bound += fabs(weight) * in->bound[at];
        }
        out->value[i] = sum;
        out->bound[i] = bound + magnitude * sum_error(in->channels);
    }
}

/* ---------------------------------------------------------------- results placed in another
 * tensor */

static void transposed_value(const struct test_case *test, int image, int o, int y, int x,
                             double *value, double *bound)
{
    const struct kernel_desc *desc = &test->desc;
    const struct values *in = &test->sources[0];
    struct sum sum = {0.0, 0.0, 0};
    int tap = y % 2 * 2 + x % 2;
    double step = has_steps(desc) ? (double)step_of(test, o) : 1.0;
    for (int c = 0; c < in->channels; c++)
        add_product(&sum, weight_of(test, weight_place(desc, o, c, tap), step),
                    *value_at(in, in->value, image, c, y / 2, x / 2));
    finish(test, desc->out_type, sum, o, lost_of(test, o, tap, step), value, bound);
}

/* Position of result i of 2n: the inputs beside it and its weight on the second. PyTorch computes
 * it in float32, which moves it a little. */
static void position(int i, int n, int *low, int *high, double *weight)
{
    double at = n > 1 ? (double)(n - 1) / (double)(2 * n - 1) * i : 0.0;
    *low = (int)at < n - 1 ? (int)at : n - 1;
    *high = *low + 1 < n ? *low + 1 : *low;
    *weight = at - *low;
}

static void upsampled_value(const struct test_case *test, int image, int c, int y, int x,
                            double *value, double *bound)
{
    const struct values *in = &test->sources[0];
    int top, bottom, left, right;
    double v, u;
    position(y, in->height, &top, &bottom, &v);
    position(x, in->width, &left, &right, &u);
    double a = *value_at(in, in->value, image, c, top, left);
    double b = *value_at(in, in->value, image, c, top, right);
    double d = *value_at(in, in->value, image, c, bottom, left);
    double e = *value_at(in, in->value, image, c, bottom, right);
    double most = fmax(fmax(fabs(a), fabs(b)), fmax(fabs(d), fabs(e)));
    *value = (1.0 - v) * ((1.0 - u) * a + u * b) + v * ((1.0 - u) * d + u * e);
    *bound = most * 0x1p-24 * 8.0 * (double)(in->height + in->width + 2) +
             rounding(test->desc.out_type, *value);
}

static void run_placed(struct test_case *test)
{
    struct values *out = &test->out;
    values_new(out, test->images, test->desc.out_channels, test->out_height, test->out_width);
    bool transposed = test->desc.op == KERNEL_CONV_TRANSPOSE;
    for (size_t i = 0; i < value_count(out); i++) {
        size_t plane = (size_t)out->height * (size_t)out->width;
        int x = (int)(i % (size_t)out->width) - test->offset_x;
        int y = (int)(i % plane / (size_t)out->width) - test->offset_y;
        int c = (int)(i / plane % (size_t)out->channels);
        int image = (int)(i / plane / (size_t)out->channels);
        out->value[i] = test->out_zero;
        if (y < 0 || y >= 2 * test->height || x < 0 || x >= 2 * test->width)
            continue;
        if (transposed)
            transposed_value(test, image, c, y, x, &out->value[i], &out->bound[i]);
        else
            upsampled_value(test, image, c, y, x, &out->value[i], &out->bound[i]);
    }
}

static void run_copy(struct test_case *test, struct values *out)
{
    const struct values *in = &test->sources[0];
    values_new(out, in->images, in->channels, in->height, in->width);
    for (size_t i = 0; i < value_count(in); i++) {
        out->value[i] = in->value[i];
        if (test->desc.op == KERNEL_LOAD)
            out->value[i] = round_to(test->desc.out_type, in->value[i]);
    }
}

void reference_run(struct test_case *test)
{
    switch (test->desc.op) {
    case KERNEL_CONV:
        run_conv(test, test->desc.out_type, &test->out);
        if (test->desc.pool)
            run_conv_pool(test);
        if (test->desc.head_channels > 0)
            run_head(test);
        break;
    case KERNEL_MAX_POOL:
        run_max_pool(&test->sources[0], &test->out);
        break;
    case KERNEL_LOAD:
        run_copy(test, &test->out);
        break;
    case KERNEL_STORE:
        run_copy(test, &test->planar);
        break;
    default:
        run_placed(test);
        break;
    }
}
