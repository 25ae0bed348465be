#include "nhwc_reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bf16.h"
#include "base/e4m3.h"
#include "base/f16.h"

/* ---------------------------------------------------------------- elements */

static size_t place(const struct blocked *t, int image, int y, int x, int channel)
{
    return (size_t)image * t->image_stride + (size_t)y * t->row_stride +
           (size_t)x * t->pixel_stride + (size_t)channel;
}

double nhwc_get(const struct blocked *t, int image, int y, int x, int channel)
{
    size_t at = place(t, image, y, x, channel);
    switch (t->type) {
    case KERNEL_F16:
        return (double)f16_to_float(((const uint16_t *)t->data)[at]);
    case KERNEL_BF16:
        return (double)bf16_to_float(((const uint16_t *)t->data)[at]);
    case KERNEL_U8: /* what stands for zero is stored as 0 */
        return t->zero != 0 ? ((const int8_t *)t->data)[at] + t->zero
                            : ((const uint8_t *)t->data)[at];
    case KERNEL_E4M3:
        return (double)e4m3_to_float(((const uint8_t *)t->data)[at]);
    default:
        return (double)((const float *)t->data)[at];
    }
}

static void set(const struct blocked *t, int image, int y, int x, int channel, double value)
{
    size_t at = place(t, image, y, x, channel);
    switch (t->type) {
    case KERNEL_F16:
        ((uint16_t *)t->data)[at] = f16_from_float((float)value);
        break;
    case KERNEL_BF16:
        ((uint16_t *)t->data)[at] = bf16_from_float((float)value);
        break;
    case KERNEL_U8:
        ((uint8_t *)t->data)[at] = (uint8_t)(fmax(0, fmin(255, nearbyint(value))) - t->zero);
        break;
    case KERNEL_E4M3:
        ((uint8_t *)t->data)[at] = e4m3_from_float((float)value);
        break;
    default:
        ((float *)t->data)[at] = (float)value;
    }
}

double nhwc_round(enum kernel_type type, double value)
{
    float narrow = (float)value;
    return (double)(type == KERNEL_F16    ? f16_round(narrow)
                    : type == KERNEL_BF16 ? bf16_round(narrow)
                    : type == KERNEL_E4M3 ? e4m3_round(narrow)
                                          : narrow);
}

/* Lanes that no channel has hold zeros. */
static void set_pixel(const struct blocked *t, int image, int y, int x, const double *values)
{
    for (int c = 0; c < (int)t->pixel_stride; c++)
        set(t, image, y, x, c, c < t->channels && values != NULL ? values[c] : t->zero);
}

/* ---------------------------------------------------------------- the caller's tensors */

static double input_value(const struct kernel_args *args, int channels, int height, int width,
                          int image, int y, int x, int channel)
{
    size_t plane = (size_t)height * (size_t)width, pixel = (size_t)y * (size_t)width + (size_t)x;
    const struct kernel_pixels *pixels = &args->pixels_in;
    if (pixels->bytes == NULL)
        return (double)
            args->planar_in[((size_t)image * (size_t)channels + (size_t)channel) * plane + pixel];
    const uint8_t *bytes = pixels->bytes + ((size_t)image * plane + pixel) * (size_t)pixels->step;
    return (double)pixels->values[256 * channel + bytes[pixels->step == 1 ? 0 : channel]];
}

static uint8_t class_of(const double *logits, int count, float above)
{
    int best = 0;
    if (count == 1)
        return (float)logits[0] > above;
    for (int c = 1; c < count; c++)
        if ((float)logits[c] > (float)logits[best])
            best = c;
    return (uint8_t)best;
}

static void put_logits(const struct kernel_args *args, const double *logits, int count, int height,
                       int width, int image, int y, int x)
{
    size_t plane = (size_t)height * (size_t)width, pixel = (size_t)y * (size_t)width + (size_t)x;
    if (args->mask_out.classes != NULL) {
        args->mask_out.classes[(size_t)image * plane + pixel] =
            class_of(logits, count, args->mask_out.above);
        return;
    }
    for (int c = 0; c < count; c++)
        args->planar_out[((size_t)image * (size_t)count + (size_t)c) * plane + pixel] =
            (float)logits[c];
}

/* ---------------------------------------------------------------- weights */

/* As they are multiplied, and what is added: of a transposed convolution a tap its own. */
struct rounded {
    double *weight, *bias;
    size_t ins, outs, taps;
};

static size_t weight_at(const struct kernel_desc *desc, const struct rounded *rounded, size_t o,
                        size_t i, size_t tap)
{
    bool transposed = desc->op == KERNEL_CONV_TRANSPOSE;
    size_t pair = transposed ? i * rounded->outs + o : o * rounded->ins + i;
    return pair * rounded->taps + tap;
}

static double step_of(const struct kernel_desc *desc, const struct kernel_weights *weights,
                      const struct rounded *rounded, size_t o)
{
    float most = 0;
    if (weights->weight_step != NULL)
        return (double)weights->weight_step[o];
    for (size_t i = 0; i < rounded->ins; i++)
        for (size_t tap = 0; tap < rounded->taps; tap++)
            most = fmaxf(most, fabsf(weights->weight[weight_at(desc, rounded, o, i, tap)]));
    return most > 0 ? (double)(most / (desc->in_type == KERNEL_E4M3 ? E4M3_MOST : 127)) : 1;
}

static double level_of(enum kernel_type type, double level)
{
    return type == KERNEL_U8 ? fmax(-127, fmin(127, nearbyint(level))) : nhwc_round(type, level);
}

static void round_output(const struct kernel_desc *desc, const struct kernel_weights *weights,
                         struct rounded *rounded, size_t o)
{
    bool bytes = desc->in_type == KERNEL_U8 || desc->in_type == KERNEL_E4M3;
    double step = bytes ? step_of(desc, weights, rounded, o) : 1;
    for (size_t i = 0; i < rounded->ins; i++)
        for (size_t tap = 0; tap < rounded->taps; tap++) {
            size_t at = weight_at(desc, rounded, o, i, tap);
            double weight = (double)weights->weight[at];
            double kept = level_of(desc->in_type, weight / step) * step;
            double mean = bytes && weights->mean != NULL ? (double)weights->mean[i] : 0;
            size_t own = desc->op == KERNEL_CONV_TRANSPOSE ? tap : 0;
            rounded->weight[at] = kept;
            rounded->bias[o * rounded->taps + own] += (weight - kept) * mean;
        }
}

static struct rounded round_weights(const struct kernel_desc *desc,
                                    const struct kernel_weights *weights)
{
    struct rounded rounded = {.outs = (size_t)desc->out_channels,
                              .taps = (size_t)desc->kernel_h * (size_t)desc->kernel_w};
    for (int s = 0; s < desc->source_count; s++)
        rounded.ins += (size_t)desc->source_channels[s];
    size_t count = rounded.ins * rounded.outs * rounded.taps;
    rounded.weight = malloc(count * sizeof *rounded.weight);
    rounded.bias = malloc(rounded.outs * rounded.taps * sizeof *rounded.bias);
    for (size_t o = 0; o < rounded.outs; o++) {
        for (size_t tap = 0; tap < rounded.taps; tap++)
            rounded.bias[o * rounded.taps + tap] =
                weights->bias != NULL ? (double)weights->bias[o] : 0;
        round_output(desc, weights, &rounded, o);
    }
    return rounded;
}

static void free_rounded(struct rounded *rounded)
{
    free(rounded->weight);
    free(rounded->bias);
}

/* ---------------------------------------------------------------- convolution */

struct conv {
    const struct kernel_desc *desc;
    const struct kernel_args *args;
    const struct kernel_weights *weights; /* of the head */
    struct rounded rounded;
    int ins;
};

static double source_value(const struct conv *conv, int image, int y, int x, int channel)
{
    const struct kernel_args *args = conv->args;
    const struct blocked *first = &args->sources[0];
    bool outside = y < 0 || x < 0 || y >= first->height || x >= first->width;
    if (args->from_input)
        return outside ? 0
                       : nhwc_round(conv->desc->in_type,
                                    input_value(args, first->channels, first->height, first->width,
                                                image, y, x, channel));
    int s = 0;
    while (channel >= args->sources[s].channels)
        channel -= args->sources[s++].channels;
    if (outside)
        return args->sources[s].zero;
    return nhwc_get(&args->sources[s], image, y, x, channel);
}

/* The taps that one output pixel sees: ins × kernel_h × kernel_w. */
static void gather(const struct conv *conv, int image, int y, int x, double *window)
{
    const struct kernel_desc *desc = conv->desc;
    for (int i = 0; i < conv->ins; i++)
        for (int ky = 0; ky < desc->kernel_h; ky++)
            for (int kx = 0; kx < desc->kernel_w; kx++)
                *window++ = source_value(conv, image, y * desc->stride - desc->padding + ky,
                                         x * desc->stride - desc->padding + kx, i);
}

static void sum_pixel(const struct conv *conv, const double *window, double *pixel)
{
    const struct kernel_desc *desc = conv->desc;
    int taps = conv->ins * desc->kernel_h * desc->kernel_w;
    for (int o = 0; o < desc->out_channels; o++) {
        double sum = conv->rounded.bias[(size_t)o * conv->rounded.taps];
        const double *weight = conv->rounded.weight + (size_t)o * (size_t)taps;
        for (int t = 0; t < taps; t++)
            sum += weight[t] * window[t];
        pixel[o] = desc->relu && sum < 0 ? 0 : sum;
    }
}

static void put_head(const struct conv *conv, const double *pixel, int image, int y, int x)
{
    const struct kernel_desc *desc = conv->desc;
    const struct kernel_weights *weights = conv->weights;
    const struct blocked *out = &conv->args->out;
    double logits[KERNEL_MASK_CLASSES];
    for (int h = 0; h < desc->head_channels; h++) {
        logits[h] = weights->head_bias != NULL ? (double)weights->head_bias[h] : 0;
        for (int o = 0; o < desc->out_channels; o++)
            logits[h] +=
                (double)weights->head_weight[(size_t)h * (size_t)desc->out_channels + (size_t)o] *
                pixel[o];
    }
    put_logits(conv->args, logits, desc->head_channels, out->height, out->width, image, y, x);
}

static double *pixel_of(double *image, const struct blocked *out, int y, int x)
{
    return image + ((size_t)y * (size_t)out->width + (size_t)x) * (size_t)out->channels;
}

static void pool_image(const struct conv *conv, double *values, int image)
{
    const struct blocked *out = &conv->args->out, *pooled = &conv->args->pooled;
    double *most = malloc((size_t)out->channels * sizeof *most);
    for (int y = 0; y < pooled->height; y++) {
        for (int x = 0; x < pooled->width; x++) {
            for (int c = 0; c < out->channels; c++)
                most[c] = fmax(fmax(pixel_of(values, out, 2 * y, 2 * x)[c],
                                    pixel_of(values, out, 2 * y, 2 * x + 1)[c]),
                               fmax(pixel_of(values, out, 2 * y + 1, 2 * x)[c],
                                    pixel_of(values, out, 2 * y + 1, 2 * x + 1)[c]));
            set_pixel(pooled, image, y, x, most);
        }
    }
    free(most);
}

static void conv_image(const struct conv *conv, int image, double *window, double *values)
{
    const struct blocked *out = &conv->args->out;
    for (int y = 0; y < out->height; y++) {
        for (int x = 0; x < out->width; x++) {
            double *pixel = pixel_of(values, out, y, x);
            gather(conv, image, y, x, window);
            sum_pixel(conv, window, pixel);
            if (conv->desc->store_out)
                set_pixel(out, image, y, x, pixel);
            if (conv->desc->head_channels > 0)
                put_head(conv, pixel, image, y, x);
        }
    }
    if (conv->desc->pool)
        pool_image(conv, values, image);
}

static void run_conv(const struct kernel_desc *desc, const struct kernel_args *args,
                     const struct kernel_weights *weights)
{
    struct conv conv = {desc, args, weights, round_weights(desc, weights), 0};
    const struct blocked *out = &args->out;
    conv.ins = (int)conv.rounded.ins;
    double *window = malloc(conv.rounded.ins * conv.rounded.taps * sizeof *window);
    double *values =
        malloc((size_t)out->height * (size_t)out->width * (size_t)out->channels * sizeof *values);
    for (int image = 0; image < out->images; image++)
        conv_image(&conv, image, window, values);
    free(values);
    free(window);
    free_rounded(&conv.rounded);
}

/* ---------------------------------------------------------------- up */

/* The pixel of the result that output pixel (y, x) shows; false: it is outside. */
static bool placed(const struct kernel_args *args, int *y, int *x)
{
    *y -= args->offset_y;
    *x -= args->offset_x;
    return *y >= 0 && *x >= 0 && *y < 2 * args->sources[0].height &&
           *x < 2 * args->sources[0].width;
}

static void transpose_pixel(const struct kernel_args *args, const struct rounded *rounded,
                            int image, int y, int x, double *pixel)
{
    const struct blocked *in = &args->sources[0];
    size_t tap = (size_t)(y % 2 * 2 + x % 2);
    for (size_t o = 0; o < rounded->outs; o++)
        pixel[o] = rounded->bias[4 * o + tap];
    for (int i = 0; i < in->channels; i++) {
        double value = nhwc_get(in, image, y / 2, x / 2, i);
        const double *weight = rounded->weight + (size_t)i * rounded->outs * 4 + tap;
        for (size_t o = 0; o < rounded->outs; o++)
            pixel[o] += value * weight[4 * o];
    }
}

/* Positions are float32, as PyTorch computes them. */
static void between(int index, int size, int *low, int *high, double *share)
{
    float scale = size > 1 ? (float)(size - 1) / (float)(2 * size - 1) : 0;
    float position = scale * (float)index;
    *low = (int)position;
    *high = *low + 1 < size ? *low + 1 : *low;
    *share = (double)(position - (float)*low);
}

static void upsample_pixel(const struct kernel_args *args, int image, int y, int x, double *pixel)
{
    const struct blocked *in = &args->sources[0];
    int top, bottom, left, right;
    double down, across;
    between(y, in->height, &top, &bottom, &down);
    between(x, in->width, &left, &right, &across);
    for (int c = 0; c < in->channels; c++) {
        double above = (1 - across) * nhwc_get(in, image, top, left, c) +
                       across * nhwc_get(in, image, top, right, c);
        double below = (1 - across) * nhwc_get(in, image, bottom, left, c) +
                       across * nhwc_get(in, image, bottom, right, c);
        pixel[c] = (1 - down) * above + down * below;
    }
}

static void run_up(const struct kernel_desc *desc, const struct kernel_args *args,
                   const struct kernel_weights *weights)
{
    const struct blocked *out = &args->out;
    bool transposed = desc->op == KERNEL_CONV_TRANSPOSE;
    struct rounded rounded = {0};
    double *pixel = malloc((size_t)out->channels * sizeof *pixel);
    if (transposed)
        rounded = round_weights(desc, weights);
    for (int image = 0; image < out->images; image++) {
        for (int y = 0; y < out->height; y++) {
            for (int x = 0; x < out->width; x++) {
                int from_y = y, from_x = x;
                bool inside = placed(args, &from_y, &from_x);
                if (inside && transposed)
                    transpose_pixel(args, &rounded, image, from_y, from_x, pixel);
                else if (inside)
                    upsample_pixel(args, image, from_y, from_x, pixel);
                set_pixel(out, image, y, x, inside ? pixel : NULL);
            }
        }
    }
    free_rounded(&rounded);
    free(pixel);
}

/* ---------------------------------------------------------------- what moves values only */

static double pooled_value(const struct blocked *in, int image, int y, int x, int c)
{
    return fmax(
        fmax(nhwc_get(in, image, 2 * y, 2 * x, c), nhwc_get(in, image, 2 * y, 2 * x + 1, c)),
        fmax(nhwc_get(in, image, 2 * y + 1, 2 * x, c),
             nhwc_get(in, image, 2 * y + 1, 2 * x + 1, c)));
}

static void move_pixel(enum kernel_op op, const struct kernel_args *args, int image, int y, int x,
                       double *pixel)
{
    const struct blocked *in = &args->sources[0], *out = &args->out;
    int channels = op == KERNEL_STORE ? in->channels : out->channels;
    for (int c = 0; c < channels; c++)
        pixel[c] = op == KERNEL_LOAD
                       ? input_value(args, out->channels, out->height, out->width, image, y, x, c)
                   : op == KERNEL_STORE ? nhwc_get(in, image, y, x, c)
                                        : pooled_value(in, image, y, x, c);
    if (op == KERNEL_STORE)
        put_logits(args, pixel, channels, in->height, in->width, image, y, x);
    else
        set_pixel(out, image, y, x, pixel);
}

static void run_move(enum kernel_op op, const struct kernel_args *args)
{
    const struct blocked *size = op == KERNEL_STORE ? &args->sources[0] : &args->out;
    double *pixel = malloc((size_t)size->channels * sizeof *pixel);
    for (int image = 0; image < size->images; image++)
        for (int y = 0; y < size->height; y++)
            for (int x = 0; x < size->width; x++)
                move_pixel(op, args, image, y, x, pixel);
    free(pixel);
}

/* ---------------------------------------------------------------- all of them */

const char *nhwc_reference_refusal(const struct kernel_desc *desc)
{
    if (desc->upsampled > 0)
        return "reads what is stored alone";
    if (desc->head_channels > KERNEL_MASK_CLASSES)
        return "at most 256 classes";
    return NULL;
}

void nhwc_reference(const struct kernel_desc *desc, const struct kernel_args *args,
                    const struct kernel_weights *weights)
{
    if (desc->op == KERNEL_CONV)
        run_conv(desc, args, weights);
    else if (desc->op == KERNEL_CONV_TRANSPOSE || desc->op == KERNEL_UPSAMPLE)
        run_up(desc, args, weights);
    else
        run_move(desc->op, args);
}
