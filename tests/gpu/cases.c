/* Random cases of every operation. */
#include "driver.h"

#include "base/bf16.h"
#include "base/e4m3.h"
#include "base/f16.h"
#include "base/u8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST_PRODUCTS      6.0e6 /* of a convolution: the reference is slow */
#define MOST_DEEP_PRODUCTS 6.0e7 /* of the few that many channels make deep */

void *need(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    return memory;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1dull;
}

static int random_in(uint64_t *state, int low, int high)
{
    return low + (int)(next_random(state) >> 33) % (high - low + 1);
}

static int pick(uint64_t *state, const int *of, int count)
{
    return of[random_in(state, 0, count - 1)];
}

size_t value_count(const struct values *values)
{
    return (size_t)values->images * (size_t)values->channels * (size_t)values->height *
           (size_t)values->width;
}

void values_new(struct values *values, int images, int channels, int height, int width)
{
    *values = (struct values){images, channels, height, width, NULL, NULL};
    values->value = need(calloc(value_count(values) + 1, sizeof(double)));
    values->bound = need(calloc(value_count(values) + 1, sizeof(double)));
}

double *value_at(const struct values *values, double *of, int image, int channel, int y, int x)
{
    size_t plane = (size_t)image * (size_t)values->channels + (size_t)channel;
    return of + (plane * (size_t)values->height + (size_t)y) * (size_t)values->width + (size_t)x;
}

double round_to(enum kernel_type type, double value)
{
    float narrow = (float)value;
    return (double)(type == KERNEL_F16    ? f16_round(narrow)
                    : type == KERNEL_BF16 ? bf16_round(narrow)
                    : type == KERNEL_U8   ? (float)u8_from_float(narrow)
                    : type == KERNEL_E4M3 ? e4m3_round(narrow)
                                          : narrow);
}

static double random_value(struct test_case *test)
{
    int whole = random_in(&test->state, -8, 8);
    if (test->data == DATA_EXACT)
        return (double)whole / 8.0;
    return (double)random_in(&test->state, -1000000, 1000000) * 1e-6;
}

static float *random_floats(struct test_case *test, size_t count, double scale)
{
    float *floats = need(malloc((count + 1) * sizeof *floats));
    for (size_t i = 0; i < count; i++)
        floats[i] = (float)(random_value(test) * scale);
    return floats;
}

/* ---------------------------------------------------------------- descriptions */

static const struct case_types {
    enum kernel_type in, out;
    bool tf32;
} types[] = {
    {KERNEL_F16, KERNEL_F16, false},   {KERNEL_F32, KERNEL_F32, false},
    {KERNEL_BF16, KERNEL_BF16, false}, {KERNEL_F32, KERNEL_F32, true},
    {KERNEL_F16, KERNEL_F32, false},   {KERNEL_F32, KERNEL_F16, false},
    {KERNEL_BF16, KERNEL_F32, false},  {KERNEL_F32, KERNEL_BF16, false},
    {KERNEL_U8, KERNEL_U8, false},     {KERNEL_U8, KERNEL_F32, false},
    {KERNEL_U8, KERNEL_F16, false},    {KERNEL_F32, KERNEL_U8, false},
    {KERNEL_E4M3, KERNEL_E4M3, false}, {KERNEL_E4M3, KERNEL_F32, false},
    {KERNEL_F32, KERNEL_E4M3, false},  {KERNEL_E4M3, KERNEL_F16, false},
    {KERNEL_F16, KERNEL_E4M3, false},  {KERNEL_BF16, KERNEL_E4M3, false},
    {KERNEL_E4M3, KERNEL_BF16, false},
};

#define TYPES ((int)(sizeof types / sizeof types[0]))

int case_count(enum kernel_op op, int scale)
{
    return scale * TYPES * (op == KERNEL_CONV ? 8 : op == KERNEL_CONV_TRANSPOSE ? 3 : 2);
}

/* 1×1 and 3×3 as a U-Net has them; others too. */
static void conv_window(struct test_case *test)
{
    static const int sizes[] = {3, 3, 3, 3, 1, 2, 5};
    struct kernel_desc *desc = &test->desc;
    desc->kernel_h = desc->kernel_w = pick(&test->state, sizes, 7);
    if (random_in(&test->state, 0, 9) == 0)
        desc->kernel_w = pick(&test->state, sizes, 7);
    desc->stride = random_in(&test->state, 0, 9) == 0 ? 2 : 1;
    desc->padding = desc->kernel_h == 3 && desc->kernel_w == 3 && desc->stride == 1
                        ? random_in(&test->state, 0, 9) > 0
                        : random_in(&test->state, 0, desc->kernel_h / 2);
}

static void conv_outputs(struct test_case *test)
{
    struct kernel_desc *desc = &test->desc;
    desc->relu = random_in(&test->state, 0, 2) > 0;
    desc->pool = random_in(&test->state, 0, 2) == 0;
    if (desc->pool && random_in(&test->state, 0, 3) == 0)
        desc->pooled_type = types[random_in(&test->state, 0, TYPES - 1)].out;
    if (random_in(&test->state, 0, 3) == 0)
        desc->head_channels = random_in(&test->state, 0, 3) == 0 ? random_in(&test->state, 9, 30)
                                                                 : random_in(&test->state, 1, 5);
    desc->store_out = (!desc->pool && desc->head_channels == 0) || random_in(&test->state, 0, 1);
}

static double products(const struct test_case *test)
{
    const struct kernel_desc *desc = &test->desc;
    double inputs = 0.0;
    for (int s = 0; s < desc->source_count; s++)
        inputs += desc->source_channels[s];
    return inputs * desc->out_channels * desc->kernel_h * desc->kernel_w * test->images *
           test->height * test->width;
}

static void limit_products(struct test_case *test, double most)
{
    while (products(test) > most && (test->height > 6 || test->width > 6)) {
        test->height = (test->height * 3 + 3) / 4;
        test->width = (test->width * 3 + 3) / 4;
    }
}

static void describe_conv(struct test_case *test)
{
    static const int channels[] = {1, 3, 8, 16, 17, 24, 32, 48, 64, 64, 96, 128, 200, 256};
    struct kernel_desc *desc = &test->desc;
    bool first = random_in(&test->state, 0, 3) == 0;
    desc->source_count = first                               ? 1
                         : random_in(&test->state, 0, 2) > 0 ? 1
                                                             : random_in(&test->state, 2, 4);
    for (int s = 0; s < desc->source_count; s++)
        desc->source_channels[s] =
            first ? random_in(&test->state, 1, 3) : pick(&test->state, channels, 14);
    desc->out_channels = pick(&test->state, channels, 14);
    conv_window(test);
    conv_outputs(test);
    limit_products(test, MOST_PRODUCTS);
    test->height = test->height < desc->kernel_h + 1 ? desc->kernel_h + 1 : test->height;
    test->width = test->width < desc->kernel_w + 1 ? desc->kernel_w + 1 : test->width;
}

/* As in the middle of a U-Net: kernels that share channels out take nothing shallower. */
static void describe_deep_conv(struct test_case *test)
{
    static const int inputs[] = {128, 256, 320, 512, 1024}, outputs[] = {64, 64, 96, 128, 256};
    struct kernel_desc *desc = &test->desc;
    desc->source_count = random_in(&test->state, 0, 2) == 0 ? 2 : 1;
    for (int s = 0; s < desc->source_count; s++)
        desc->source_channels[s] = pick(&test->state, inputs, 5);
    desc->out_channels = pick(&test->state, outputs, 5);
    desc->kernel_h = desc->kernel_w = 3;
    desc->stride = desc->padding = 1;
    conv_outputs(test);
    limit_products(test, MOST_DEEP_PRODUCTS);
    test->height += test->height == 1;
    test->width += test->width == 1;
}

/* Into what may be larger or smaller than the result. */
static void describe_placed(struct test_case *test)
{
    bool exact = random_in(&test->state, 0, 1) == 0;
    test->out_height = 2 * test->height + (exact ? 0 : random_in(&test->state, -1, 3));
    test->out_width = 2 * test->width + (exact ? 0 : random_in(&test->state, -1, 3));
    test->offset_y = exact ? 0 : random_in(&test->state, -1, 2);
    test->offset_x = exact ? 0 : random_in(&test->state, -1, 2);
}

static void describe_other(struct test_case *test)
{
    struct kernel_desc *desc = &test->desc;
    int most = desc->op == KERNEL_LOAD ? 8 : desc->op == KERNEL_STORE ? 24 : 150;
    desc->out_channels = random_in(&test->state, 1, most);
    desc->source_channels[0] = desc->out_channels;
    if (desc->op == KERNEL_CONV_TRANSPOSE && random_in(&test->state, 0, 1) == 0)
        desc->source_channels[0] = random_in(&test->state, 1, 4 * most);
    else if (desc->op == KERNEL_CONV_TRANSPOSE)
        desc->source_channels[0] = random_in(&test->state, 1, most);
    desc->kernel_h = desc->kernel_w = desc->stride = 2;
    if (desc->op == KERNEL_CONV_TRANSPOSE)
        limit_products(test, MOST_PRODUCTS);
    if (desc->op == KERNEL_MAX_POOL) {
        test->height += test->height == 1;
        test->width += test->width == 1;
    }
    describe_placed(test);
    if (desc->op == KERNEL_LOAD)
        desc->in_type = KERNEL_F32;
    else if (desc->op == KERNEL_STORE)
        desc->out_type = KERNEL_F32;
    else if (desc->op != KERNEL_CONV_TRANSPOSE)
        desc->out_type = desc->in_type;
}

static void describe(struct test_case *test, enum kernel_op op, int index)
{
    struct case_types chosen = types[index % TYPES];
    test->images = random_in(&test->state, 1, 3);
    test->height = random_in(&test->state, 1, 37);
    test->width = random_in(&test->state, 1, 45);
    test->desc = (struct kernel_desc){.op = op,
                                      .in_type = chosen.in,
                                      .out_type = chosen.out,
                                      .pooled_type = chosen.out,
                                      .tf32 = chosen.tf32,
                                      .store_out = true,
                                      .source_count = 1};
    if (op == KERNEL_CONV && index / TYPES % 4 == 3)
        describe_deep_conv(test);
    else if (op == KERNEL_CONV)
        describe_conv(test);
    else
        describe_other(test);
    for (int s = 0; s < test->desc.source_count && test->desc.in_type == KERNEL_U8; s++)
        test->zeros[s] = random_in(&test->state, 0, 1) ? 128 : 0;
    if (test->desc.out_type == KERNEL_U8 || test->desc.pooled_type == KERNEL_U8)
        test->out_zero = random_in(&test->state, 0, 1) ? 128 : 0;
    if (op != KERNEL_CONV && op != KERNEL_CONV_TRANSPOSE)
        test->out_zero = test->zeros[0];
}

/* ---------------------------------------------------------------- data */

static void fill_source(struct test_case *test, int s)
{
    struct values *source = &test->sources[s];
    values_new(source, test->images, test->desc.source_channels[s], test->height, test->width);
    for (size_t i = 0; i < value_count(source); i++)
        source->value[i] = test->desc.in_type == KERNEL_U8
                               ? (double)random_in(&test->state, 0, 255)
                               : round_to(test->desc.in_type, random_value(test));
}

/* Of each pixel either a byte a channel or one byte for all. */
static void fill_pixels(struct test_case *test)
{
    struct values *source = &test->sources[0];
    size_t plane = (size_t)source->height * (size_t)source->width;
    int channels = source->channels;
    test->pixel_step = random_in(&test->state, 0, 1) ? channels : 1;
    size_t bytes = (size_t)test->images * plane * (size_t)test->pixel_step;
    test->pixels = need(malloc(bytes));
    for (size_t i = 0; i < bytes; i++)
        test->pixels[i] = (uint8_t)random_in(&test->state, 0, 255);
    test->pixel_values = random_floats(test, (size_t)channels * 256, 1.0);
    for (size_t i = 0; i < value_count(source); i++) {
        size_t pixel = i % plane + i / plane / (size_t)channels * plane;
        int c = (int)(i / plane % (size_t)channels);
        uint8_t byte =
            test->pixels[pixel * (size_t)test->pixel_step + (size_t)(test->pixel_step > 1 ? c : 0)];
        source->value[i] = (double)test->pixel_values[256 * c + byte];
    }
}

static void fill_weights(struct test_case *test)
{
    const struct kernel_desc *desc = &test->desc;
    size_t inputs = 0, outs = (size_t)desc->out_channels, heads = (size_t)desc->head_channels;
    for (int s = 0; s < desc->source_count; s++)
        inputs += (size_t)desc->source_channels[s];
    size_t taps = (size_t)desc->kernel_h * (size_t)desc->kernel_w;
    bool bytes = desc->in_type == KERNEL_U8 || desc->in_type == KERNEL_E4M3;
    /* Results of bytes are to fill the range of a byte, not to leave it. */
    double scale = bytes ? 1.0 / sqrt((double)(inputs * taps)) : 1.0;
    test->weight = random_floats(test, inputs * outs * taps, scale);
    if (bytes && random_in(&test->state, 0, 1))
        test->weight_step = random_floats(test, outs, 0.0);
    for (size_t o = 0; test->weight_step != NULL && o < outs; o++)
        test->weight_step[o] = (float)(scale * random_in(&test->state, 50, 120) / 1e4);
    if (bytes && random_in(&test->state, 0, 1))
        test->mean = random_floats(test, inputs, 100.0);
    test->head_weight = random_floats(test, heads * outs, 1.0);
    if (random_in(&test->state, 0, 3) > 0) {
        test->bias = random_floats(test, outs, desc->out_type == KERNEL_U8 ? 150.0 : 1.0);
        test->head_bias = random_floats(test, heads, 1.0);
    }
}

void case_make(struct test_case *test, enum kernel_op op, int index)
{
    *test = (struct test_case){.state = 0x9e3779b97f4a7c15ull * (uint64_t)(index + 1) + op + 1};
    for (int i = 0; i < 8; i++)
        next_random(&test->state);
    describe(test, op, index);
    test->data = index / TYPES % 2 == 0 ? DATA_EXACT : DATA_UNIFORM;
    for (int s = 0; s < test->desc.source_count; s++)
        fill_source(test, s);
    bool may_be_pixels = test->desc.in_type == KERNEL_F32 && test->desc.source_count == 1 &&
                         (op == KERNEL_LOAD || op == KERNEL_CONV) &&
                         test->desc.source_channels[0] <= KERNEL_BLOCK;
    if (may_be_pixels && random_in(&test->state, 0, 1) == 0)
        fill_pixels(test);
    if (op == KERNEL_CONV || op == KERNEL_CONV_TRANSPOSE)
        fill_weights(test);
    reference_run(test);
}

static void values_free(struct values *values)
{
    free(values->value);
    free(values->bound);
}

void case_free(struct test_case *test)
{
    for (int s = 0; s < KERNEL_MAX_SOURCES; s++)
        values_free(&test->sources[s]);
    values_free(&test->out);
    values_free(&test->pooled);
    values_free(&test->planar);
    free(test->weight);
    free(test->bias);
    free(test->head_weight);
    free(test->head_bias);
    free(test->weight_step);
    free(test->mean);
    free(test->pixels);
    free(test->pixel_values);
}

const char *case_text(const struct test_case *test, char *text, size_t bytes)
{
    const struct kernel_desc *desc = &test->desc;
    char sources[64] = "";
    size_t at = 0;
    for (int s = 0; s < desc->source_count; s++)
        at += (size_t)snprintf(sources + at, sizeof sources - at, "%s%d", s ? "+" : "",
                               desc->source_channels[s]);
    snprintf(
        text, bytes,
        "%d images %s:%dx%d %s%s to %d %s, window %dx%d stride %d padding %d%s%s%s%s head %d%s",
        test->images, sources, test->width, test->height, kernel_type_name(desc->in_type),
        desc->tf32 ? "(tf32)" : "", desc->out_channels, kernel_type_name(desc->out_type),
        desc->kernel_h, desc->kernel_w, desc->stride, desc->padding, desc->relu ? " relu" : "",
        desc->pool ? " pool " : "", desc->pool ? kernel_type_name(desc->pooled_type) : "",
        desc->store_out ? " stored" : "", desc->head_channels,
        test->data == DATA_EXACT ? " exact" : "");
    return text;
}
