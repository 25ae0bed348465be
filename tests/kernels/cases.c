/* What the kernels are tried on: shapes, options and data. A case follows from its op, its index
 * and the seed alone. */
#include "driver.h"

#include "base/bf16.h"
#include "base/u8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define WIDTHS     40 /* every width from 1 on, for every edge tile */
#define HEIGHTS    20
#define MOST_MACS  1.5e6
#define TILE_ROWS  7 /* a tile of every method, and a cut one */
#define CONV_CASES (14 * WIDTHS)
#define ODD_CASES  160 /* convolutions of any kernel size, stride and padding */
#define CASES      (4 * WIDTHS)

/* Shapes that chance would not find: many channels, many groups, rows cut into pieces. */
static const struct {
    int height, width, sources[KERNEL_MAX_SOURCES], out_channels;
    bool relu, store, pool;
    int heads;
} chosen[] = {
    {1, 1, {3}, 64, true, true, false, 0},
    {2, 2, {1}, 1, false, false, true, 1},
    {3, 1600, {5}, 20, true, true, true, 0},
    {2, 1550, {3}, 17, true, false, true, 3},
    {1, 780, {4}, 70, false, true, false, 2},
    {2, 769, {16}, 16, true, true, true, 2},
    {70, 24, {6}, 40, true, true, true, 0},
    {65, 33, {3}, 100, true, false, false, 5},
    {4, 4, {512}, 64, true, true, true, 0},
    {3, 5, {1024}, 11, false, true, false, 0},
    {1, 2, {7367}, 3, false, true, false, 0}, /* as many as 32 bits stand for bytes */
    {4, 8, {1027, 512}, 18, true, true, true, 0},
    {3, 3, {16}, 1024, true, true, false, 0},
    {2, 6, {16}, 1000, true, true, true, 40},
    {5, 7, {19, 24, 3, 64}, 130, true, false, false, 19},
    {8, 32, {64, 64}, 64, true, false, false, 2},
    {5, 30, {70, 144}, 48, true, true, false, 0},
};

#define CHOSEN ((int)(sizeof chosen / sizeof chosen[0]))

void *need(void *memory)
{
    if (memory == NULL) {
        perror("kernel-tests");
        exit(2);
    }
    return memory;
}

uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u; /* splitmix64: any seed will do */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

int random_in(uint64_t *state, int low, int high)
{
    return low + (int)(next_random(state) % (uint64_t)(high - low + 1));
}

static double random_unit(uint64_t *state)
{
    return (double)(next_random(state) >> 11) * 0x1p-53;
}

static int random_of(uint64_t *state, const int *list, int count)
{
    return list[random_in(state, 0, count - 1)];
}

#define RANDOM_OF(state, list) random_of(state, list, (int)(sizeof list / sizeof list[0]))

/* ---------------------------------------------------------------- shapes */

static int sources_sum(const struct kernel_desc *desc)
{
    int sum = 0;
    for (int s = 0; s < desc->source_count; s++)
        sum += desc->source_channels[s];
    return sum;
}

static double macs(const struct test_case *test)
{
    double taps = (double)test->desc.kernel_h * test->desc.kernel_w;
    return taps * sources_sum(&test->desc) * test->desc.out_channels * test->width * test->height;
}

/* Lowers the height, never the width, until the reference is quick enough: as long as there are
 * sources to drop, only to what takes two tiles. */
static void keep_quick(struct test_case *test)
{
    struct kernel_desc *desc = &test->desc;
    int least = desc->pool ? 2 : 1;
    while (test->height > TILE_ROWS && macs(test) > MOST_MACS)
        test->height--;
    while (desc->source_count > 1 && macs(test) > MOST_MACS)
        desc->source_channels[--desc->source_count] = 0;
    while (test->height > least && macs(test) > MOST_MACS)
        test->height--;
}

static void random_outputs(struct kernel_desc *desc, int choice)
{
    desc->relu = (choice & 1) != 0;
    desc->store_out = (choice & 2) != 0;
    desc->pool = (choice & 4) != 0;
    if ((choice & 8) != 0)
        desc->head_channels = choice / 16 % 3 == 0 ? 19 : choice / 16 % 3;
    if (!desc->store_out && !desc->pool && desc->head_channels == 0)
        desc->store_out = true;
}

/* Large enough to be shared out in many strips; few channels keep the reference quick. */
static void make_tall(struct test_case *test, uint64_t *state)
{
    static const int channels[] = {1, 3, 5, 16, 20};
    test->height = random_in(state, 40, 150);
    test->desc.source_count = random_in(state, 1, 2);
    for (int s = 0; s < test->desc.source_count; s++)
        test->desc.source_channels[s] = RANDOM_OF(state, channels);
    test->desc.out_channels = RANDOM_OF(state, channels);
}

static void random_conv(struct test_case *test, int index, uint64_t *state)
{
    static const int ins[] = {1, 3, 4, 5, 6, 11, 16, 19, 24, 32, 33, 48, 64};
    static const int outs[] = {1, 2, 3, 5, 11, 16, 17, 19, 24, 32, 33, 48, 60, 64, 65, 80, 96, 128};
    struct kernel_desc *desc = &test->desc;
    test->width = 1 + index % WIDTHS;
    test->height = random_in(state, 1, HEIGHTS);
    desc->kernel_h = desc->kernel_w = 3;
    desc->stride = desc->padding = 1;
    desc->source_count = random_in(state, 1, KERNEL_MAX_SOURCES);
    for (int s = 0; s < desc->source_count; s++)
        desc->source_channels[s] = RANDOM_OF(state, ins);
    desc->out_channels = RANDOM_OF(state, outs);
    random_outputs(desc, random_in(state, 0, 47));
    if (index / WIDTHS % 4 == 3)
        make_tall(test, state);
    if (test->height < 2 || test->width < 2) {
        desc->store_out = desc->store_out || desc->pool;
        desc->pool = false;
    }
    keep_quick(test);
}

static void chosen_conv(struct test_case *test, int index)
{
    struct kernel_desc *desc = &test->desc;
    test->height = chosen[index].height;
    test->width = chosen[index].width;
    desc->kernel_h = desc->kernel_w = 3;
    desc->stride = desc->padding = 1;
    while (desc->source_count < KERNEL_MAX_SOURCES &&
           chosen[index].sources[desc->source_count] > 0) {
        desc->source_channels[desc->source_count] = chosen[index].sources[desc->source_count];
        desc->source_count++;
    }
    desc->out_channels = chosen[index].out_channels;
    desc->relu = chosen[index].relu;
    desc->store_out = chosen[index].store;
    desc->pool = chosen[index].pool;
    desc->head_channels = chosen[index].heads;
}

static void odd_conv(struct test_case *test, int index, uint64_t *state)
{
    random_conv(test, index, state);
    struct kernel_desc *desc = &test->desc;
    desc->kernel_h = random_in(state, 1, 5);
    desc->kernel_w = random_in(state, 1, 5);
    desc->stride = random_in(state, 1, 3);
    desc->padding = random_in(state, 0, 3);
    int least = (desc->pool ? desc->stride + 1 : 1) + 4;
    test->height = test->height > least ? test->height : least;
    test->width = test->width > least ? test->width : least;
    keep_quick(test);
    test->height = test->height > least ? test->height : least;
}

static void placed_result(struct test_case *test, uint64_t *state)
{
    test->out_height = 2 * test->height;
    test->out_width = 2 * test->width;
    if (random_in(state, 0, 2) == 0)
        return;
    test->out_height += random_in(state, -3, 4);
    test->out_width += random_in(state, -3, 4);
    test->out_height = test->out_height < 1 ? 1 : test->out_height;
    test->out_width = test->out_width < 1 ? 1 : test->out_width;
    test->offset_y = random_in(state, -3, 3);
    test->offset_x = random_in(state, -3, 3);
}

static void random_other(struct test_case *test, int index, uint64_t *state)
{
    static const int channels[] = {1, 2, 3, 4, 11, 15, 16, 17, 19, 33, 48, 64, 80, 150};
    struct kernel_desc *desc = &test->desc;
    test->width = 1 + index % WIDTHS;
    test->height = random_in(state, 1, HEIGHTS);
    desc->source_count = 1;
    desc->source_channels[0] = desc->out_channels = RANDOM_OF(state, channels);
    desc->store_out = desc->op != KERNEL_STORE;
    if (desc->op == KERNEL_CONV_TRANSPOSE)
        desc->out_channels = RANDOM_OF(state, channels);
    if (desc->op == KERNEL_CONV_TRANSPOSE || desc->op == KERNEL_MAX_POOL)
        desc->kernel_h = desc->kernel_w = desc->stride = 2;
    if (desc->op == KERNEL_MAX_POOL) {
        test->width = test->width < 2 ? 2 : test->width;
        test->height = test->height < 2 ? 2 : test->height;
    }
    if (desc->op == KERNEL_CONV_TRANSPOSE && index % WIDTHS == 0) {
        test->width = 1100 + index; /* more than one piece a row */
        test->height = 1;
    }
    if (index / WIDTHS % 4 == 3)
        make_tall(test, state);
    if (desc->op != KERNEL_CONV_TRANSPOSE)
        desc->out_channels = desc->source_channels[0];
    desc->source_count = 1;
    if (desc->op == KERNEL_CONV_TRANSPOSE)
        keep_quick(test);
    if (desc->op == KERNEL_CONV_TRANSPOSE || desc->op == KERNEL_UPSAMPLE)
        placed_result(test, state);
}

/* ---------------------------------------------------------------- data */

static float random_value(uint64_t *state, enum case_data data, bool weight)
{
    double unit = 2.0 * random_unit(state) - 1.0;
    switch (data) {
    case DATA_INTEGERS:
        return (float)random_in(state, weight ? -2 : -4, weight ? 2 : 4);
    case DATA_EXACT:
        return (float)(random_in(state, -1, 1) * (weight ? 225 : 1));
    case DATA_MAGNITUDES:
        return (float)copysign(pow(10.0, 12.0 * (2.0 * random_unit(state) - 1.0)), unit);
    case DATA_DENORMALS:
        return (float)(weight ? 2.0 * unit : unit * 0x1p-127);
    case DATA_ZEROS:
        return fabs(unit) > 0.8 ? (float)copysign(1.0, unit) : copysignf(0.0f, (float)unit);
    default:
        return (float)unit;
    }
}

static float *random_values(uint64_t *state, enum case_data data, bool weight, size_t count)
{
    float *values = need(malloc((count + 1) * sizeof *values));
    for (size_t i = 0; i < count; i++)
        values[i] = random_value(state, data, weight);
    return values;
}

static void round_to_type(enum kernel_type type, enum case_data data, float *values, size_t count)
{
    for (size_t i = 0; i < count && type == KERNEL_BF16; i++)
        values[i] = bf16_round(values[i]);
    /* All of 0…255, and what is larger at its end; integers stay as small as they are. */
    float scale = data == DATA_INTEGERS ? 1.0f : 255.0f;
    for (size_t i = 0; i < count && type == KERNEL_U8; i++)
        values[i] = (float)u8_from_float(fabsf(values[i]) * scale);
}

/* Weights for results that are spread over 0…255. */
static void spread(const struct test_case *test, size_t count)
{
    for (size_t i = 0; i < count && test->data == DATA_UNIFORM; i++)
        test->weight[i] *= test->desc.in_type == KERNEL_U8 ? 0.25f : 60.0f;
}

/* Pixels, and sources[0] anew: what they mean. Some convolutions keep their planes. */
static void fill_pixels(struct test_case *test, uint64_t *state)
{
    int channels = test->desc.source_channels[0];
    if (test->desc.op == KERNEL_CONV && random_in(state, 0, 2) == 0)
        return;
    size_t count = (size_t)test->height * (size_t)test->width;
    test->pixel_step = random_in(state, 0, 2) == 0 ? 1 : channels;
    size_t step = (size_t)test->pixel_step;
    test->pixels = need(malloc(count * step));
    for (size_t i = 0; i < count * step; i++)
        test->pixels[i] = (uint8_t)random_in(state, 0, 255);
    test->pixel_values = random_values(state, test->data, false, (size_t)channels * 256);
    round_to_type(test->desc.in_type, test->data, test->pixel_values, (size_t)channels * 256);
    for (int c = 0; c < channels; c++)
        for (size_t i = 0; i < count; i++) {
            uint8_t byte = test->pixels[i * step + (size_t)(test->pixel_step > 1 ? c : 0)];
            test->sources[0][(size_t)c * count + i] = test->pixel_values[c * 256 + byte];
        }
}

/* Steps of any size: some clip the largest weights. Of integers: those that lose nothing. */
static void fill_steps(struct test_case *test, uint64_t *state, size_t weights)
{
    size_t outs = (size_t)test->desc.out_channels;
    float most = 0.0f;
    for (size_t i = 0; i < weights; i++)
        most = fmaxf(most, fabsf(test->weight[i]));
    test->weight_step = need(malloc(outs * sizeof *test->weight_step));
    for (size_t o = 0; o < outs; o++) {
        double share = 0.3 + random_unit(state);
        bool whole = test->data == DATA_INTEGERS || most == 0.0f;
        test->weight_step[o] = whole ? 1.0f : (float)(share * (double)most / 127.0);
    }
}

/* The largest sums that there are: all inputs 255, all weights of an output 127 or −127. */
static void fill_extremes(struct test_case *test, size_t pixels, size_t weights)
{
    const struct kernel_desc *desc = &test->desc;
    size_t row = weights / (size_t)desc->out_channels;
    for (int s = 0; s < desc->source_count; s++)
        for (size_t i = 0; i < (size_t)desc->source_channels[s] * pixels; i++)
            test->sources[s][i] = 255.0f;
    for (size_t i = 0; i < weights; i++) {
        size_t o = desc->op == KERNEL_CONV ? i / row : i / 4 % (size_t)desc->out_channels;
        test->weight[i] = o % 2 == 0 ? 0.5f : -0.5f;
    }
}

/* Bytes with which one position of F(4,3) or F(2,3) reaches its peak in all channels at once, in
 * the tile whose patch begins at pixel (3, 3) or (1, 1), and all filters of an output channel
 * alike: sums of 32 bits are as large as they can be. */
static void fill_peaks(struct test_case *test, uint64_t *state)
{
    static const int8_t rows[][6] = {
        {1, -1, -1, 1, 1, 0}, {0, -1, 1, 1, 1, 0},  {0, 1, -1, 1, 1, 0}, {0, -1, -1, 1, 1, 0},
        {0, 1, -1, -1, 1, 0}, {0, 1, -1, -1, 1, 1}, {-1, 0, 1, 0, 0, 0}, {0, 1, 1, 0, 0, 0},
        {0, -1, 1, 0, 0, 0},  {0, -1, 0, 1, 0, 0}};
    int first = random_in(state, 0, 1) * 6, last = first == 0 ? 5 : 9, start = first == 0 ? 3 : 1;
    const int8_t *down = rows[random_in(state, first, last)];
    const int8_t *along = rows[random_in(state, first, last)];
    int sign = random_in(state, 0, 1) * 2 - 1;
    for (int s = 0; s < test->desc.source_count; s++)
        for (int i = 0; i < test->desc.source_channels[s] * test->height * test->width; i++) {
            int y = i / test->width % test->height - start, x = i % test->width - start;
            bool inside = y >= 0 && y < 6 && x >= 0 && x < 6;
            test->sources[s][i] = inside && sign * down[y] * along[x] > 0 ? 255.0f : 0.0f;
        }
    int inputs = sources_sum(&test->desc);
    for (int i = 9; i < test->desc.out_channels * inputs * 9; i++)
        if (i / 9 % inputs != 0)
            test->weight[i] = test->weight[i - 9];
}

/* What only convolutions of bytes have. */
static void fill_bytes(struct test_case *test, uint64_t *state, size_t pixels, size_t weights)
{
    int inputs = sources_sum(&test->desc);
    if (inputs >= 1024 || random_in(state, 0, 9) == 0) {
        test->data = DATA_UNIFORM;
        if (test->pixel_step == 0)
            fill_extremes(test, pixels, weights);
    } else if (test->data == DATA_DENORMALS && test->pixel_step == 0 &&
               weights == (size_t)(test->desc.out_channels * inputs) * 9) {
        fill_peaks(test, state);
    } else if (test->data == DATA_INTEGERS || random_in(state, 0, 1) == 0) {
        fill_steps(test, state, weights);
    }
    if (random_in(state, 0, 2) == 0)
        return;
    test->mean = need(malloc((size_t)inputs * sizeof *test->mean));
    for (int i = 0; i < inputs; i++)
        test->mean[i] = (float)(255.0 * random_unit(state));
}

static void fill(struct test_case *test, uint64_t *state)
{
    const struct kernel_desc *desc = &test->desc;
    size_t pixels = (size_t)test->height * (size_t)test->width, outs = (size_t)desc->out_channels;
    for (int s = 0; s < desc->source_count; s++) {
        size_t count = (size_t)desc->source_channels[s] * pixels;
        test->sources[s] = random_values(state, test->data, false, count);
        round_to_type(desc->in_type, test->data, test->sources[s], count);
    }
    bool may_read = desc->op == KERNEL_LOAD || (desc->op == KERNEL_CONV && desc->source_count == 1);
    if (may_read && desc->source_channels[0] <= KERNEL_BLOCK)
        fill_pixels(test, state);
    if (desc->op != KERNEL_CONV && desc->op != KERNEL_CONV_TRANSPOSE)
        return;
    size_t taps = (size_t)desc->kernel_h * (size_t)desc->kernel_w;
    size_t heads = (size_t)desc->head_channels;
    size_t weights = outs * (size_t)sources_sum(desc) * taps;
    test->weight = random_values(state, test->data, true, weights);
    if (desc->out_type == KERNEL_U8)
        spread(test, weights);
    if (random_in(state, 0, 3) > 0)
        test->bias = random_values(state, test->data, false, outs);
    if (desc->in_type == KERNEL_U8)
        fill_bytes(test, state, pixels, weights);
    test->head_weight = random_values(state, test->data, true, heads * outs);
    if (random_in(state, 0, 3) > 0)
        test->head_bias = random_values(state, test->data, false, heads);
}

/* About half as large; padded or cropped to anywhere in the other sources' size. */
static void fill_low(struct test_case *test, uint64_t *state)
{
    if (test->desc.op != KERNEL_CONV || test->desc.source_count < 2)
        return;
    test->upsampled = random_in(state, 1, test->desc.source_count - 1);
    test->low_height = (test->height + random_in(state, -2, 4)) / 2;
    test->low_width = (test->width + random_in(state, -2, 4)) / 2;
    test->low_height = test->low_height < 1 ? 1 : test->low_height;
    test->low_width = test->low_width < 1 ? 1 : test->low_width;
    test->offset_y = random_in(state, -3, 3);
    test->offset_x = random_in(state, -3, 3);
    size_t count = (size_t)test->desc.source_channels[test->upsampled] * (size_t)test->low_height *
                   (size_t)test->low_width;
    test->low = random_values(state, test->data, false, count);
    round_to_type(test->desc.in_type, test->data, test->low, count);
}

/* ---------------------------------------------------------------- all */

/* Convolutions change the type, rows keep it, planes are float32. */
static const struct case_types conv_types[] = {
    {KERNEL_F32, KERNEL_F32},  {KERNEL_F32, KERNEL_BF16}, {KERNEL_BF16, KERNEL_BF16},
    {KERNEL_BF16, KERNEL_F32}, {KERNEL_F32, KERNEL_U8},   {KERNEL_BF16, KERNEL_U8},
    {KERNEL_U8, KERNEL_U8},    {KERNEL_U8, KERNEL_F32},   {KERNEL_U8, KERNEL_BF16},
};
static const struct case_types row_types[] = {
    {KERNEL_F32, KERNEL_F32},
    {KERNEL_BF16, KERNEL_BF16},
    {KERNEL_U8, KERNEL_U8},
};

/* F16 is the GPU's. */
static const enum kernel_type cpu_types[] = {KERNEL_F32, KERNEL_BF16, KERNEL_U8};

static bool changes_type(enum kernel_op op)
{
    return op == KERNEL_CONV || op == KERNEL_CONV_TRANSPOSE;
}

/* Bytes may be stored as x + 128; who keeps their type keeps that too. */
static void choose_zeros(struct test_case *test, uint64_t *state)
{
    const struct kernel_desc *desc = &test->desc;
    bool planar = desc->op == KERNEL_LOAD; /* its source is of no type */
    for (int s = 0; s < desc->source_count && desc->in_type == KERNEL_U8 && !planar; s++)
        test->zeros[s] = random_in(state, 0, 2) == 0 ? 128 : 0;
    if (desc->out_type == KERNEL_U8)
        test->out_zero = random_in(state, 0, 2) == 0 ? 128 : 0;
    if (desc->op == KERNEL_UPSAMPLE || desc->op == KERNEL_MAX_POOL)
        test->out_zero = test->zeros[0];
}

int case_types_count(enum kernel_op op)
{
    return changes_type(op) ? sizeof conv_types / sizeof conv_types[0]
                            : sizeof row_types / sizeof row_types[0];
}

struct case_types case_types(enum kernel_op op, int index)
{
    if (changes_type(op))
        return conv_types[index];
    struct case_types types = row_types[index];
    if (op == KERNEL_LOAD)
        types.in = KERNEL_F32;
    if (op == KERNEL_STORE)
        types.out = KERNEL_F32;
    return types;
}

int case_count(enum kernel_op op)
{
    return op == KERNEL_CONV ? CHOSEN + CONV_CASES + ODD_CASES : CASES;
}

void case_make(struct test_case *test, enum kernel_op op, struct case_types types, int index,
               uint64_t seed)
{
    uint64_t state = seed * 1000003u + (uint64_t)op * 100003u + (uint64_t)index;
    *test = (struct test_case){.seed = seed, .desc.op = op};
    if (op != KERNEL_CONV)
        random_other(test, index, &state);
    else if (index < CHOSEN)
        chosen_conv(test, index);
    else if (index < CHOSEN + CONV_CASES)
        random_conv(test, index - CHOSEN, &state);
    else
        odd_conv(test, index - CHOSEN - CONV_CASES, &state);
    /* A full round of widths for each kind of data. */
    test->data = (enum case_data)(index / WIDTHS % DATA_COUNT);
    test->desc.in_type = types.in;
    test->desc.out_type = types.out;
    test->desc.pooled_type = op == KERNEL_CONV ? types.out : KERNEL_F32;
    if (op == KERNEL_CONV && types.in == KERNEL_U8)
        test->desc.pooled_type = cpu_types[index % (sizeof cpu_types / sizeof cpu_types[0])];
    test->state = state;
}

void case_fill(struct test_case *test)
{
    choose_zeros(test, &test->state);
    fill(test, &test->state);
    fill_low(test, &test->state);
    test->inputs = inputs_new();
    reference_run(test);
}

static void free_expected(struct expected *expected)
{
    free(expected->value);
    free(expected->bound);
}

static void free_results(struct conv_expected *expected)
{
    free_expected(&expected->out);
    free_expected(&expected->pooled);
    free_expected(&expected->planar);
}

void case_free(struct test_case *test)
{
    for (int s = 0; s < KERNEL_MAX_SOURCES; s++)
        free(test->sources[s]);
    inputs_free(test->inputs);
    free(test->low);
    free(test->weight);
    free(test->bias);
    free(test->weight_step);
    free(test->mean);
    free(test->rounded.whole);
    free(test->rounded.step);
    free(test->rounded.bias);
    free(test->head_weight);
    free(test->head_bias);
    free(test->pixels);
    free(test->pixel_values);
    free_results(&test->direct);
    for (int size = 0; size < WINOGRAD_SIZES; size++)
        free_results(&test->winograd[size]);
}

const char *op_name(enum kernel_op op)
{
    static const char *const names[KERNEL_OP_COUNT] = {
        "conv", "conv_transpose", "upsample", "max_pool", "load", "store",
    };
    return names[op];
}

const char *case_text(const struct test_case *test, char *text, size_t bytes)
{
    static const char *const data[] = {"integers",  "uniform", "magnitudes",
                                       "denormals", "zeros",   "exact"};
    const struct kernel_desc *desc = &test->desc;
    int used = snprintf(text, bytes, "%s %s > %s, %dx%d, channels", op_name(desc->op),
                        kernel_type_name(desc->in_type), kernel_type_name(desc->out_type),
                        test->width, test->height);
    for (int s = 0; s < desc->source_count; s++)
        used += snprintf(text + used, bytes - (size_t)used, "%c%d", s > 0 ? '+' : ' ',
                         desc->source_channels[s]);
    snprintf(text + used, bytes - (size_t)used,
             " to %d, kernel %dx%d/%d+%d, out %dx%d at %d,%d%s%s%s, heads %d, %s, seed %llu",
             desc->out_channels, desc->kernel_h, desc->kernel_w, desc->stride, desc->padding,
             test->out_width, test->out_height, test->offset_x, test->offset_y,
             desc->relu ? ", relu" : "", desc->store_out ? ", store" : "",
             desc->pool ? ", pool" : "", desc->head_channels, data[test->data],
             (unsigned long long)test->seed);
    return text;
}
