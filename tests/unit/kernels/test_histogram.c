/* Histograms of channels: against a count of all values at once, in whatever order and number of
 * pieces they came, and with values that are no numbers. */
#include "support/support.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/histogram.h"

enum { CHANNELS = 37, BLOCKS = 3, HEIGHT = 13, WIDTH = 77, MOST_TENSORS = 5 };

struct tensors {
    struct blocked of[MOST_TENSORS];
    void *memory[MOST_TENSORS];
    int count;
};

static float *at(const struct blocked *tensor, int y, int channel, int x)
{
    float *pixel = blocked_at(tensor, y, channel / KERNEL_BLOCK, x);
    return &pixel[channel % KERNEL_BLOCK];
}

/* Channels differ in size by powers of ten; some are never negative, one is always zero. Later
 * tensors are larger. Borders hold what must not be counted. */
static float value_of(int channel, int tensor, uint64_t *seed)
{
    float value =
        random_float(seed, -1, 1) * powf(10, (float)(channel % 9 - 4)) * powf(7, (float)tensor);
    if (channel % 3 == 0 && value < 0)
        return 0;
    return channel == 5 ? 0 : value;
}

static void add_tensor(struct tensors *tensors, uint64_t *seed)
{
    struct blocked *t = &tensors->of[tensors->count];
    size_t bytes = blocked_init(t, KERNEL_F32, CHANNELS, HEIGHT, WIDTH);
    float *memory = memory_alloc_aligned(bytes);
    for (size_t i = 0; i < bytes / sizeof *memory; i++)
        memory[i] = 1e30f;
    t->data = (char *)memory + blocked_origin(t);
    for (int y = 0; y < HEIGHT; y++)
        for (int c = 0; c < BLOCKS * KERNEL_BLOCK; c++)
            for (int x = 0; x < WIDTH; x++)
                *at(t, y, c, x) = c < CHANNELS ? value_of(c, tensors->count, seed) : 0;
    tensors->memory[tensors->count++] = memory;
}

static struct tensors make_tensors(int count)
{
    struct tensors tensors = {.count = 0};
    uint64_t seed = 11;
    while (tensors.count < count)
        add_tensor(&tensors, &seed);
    return tensors;
}

static void clear_tensors(struct tensors *tensors)
{
    for (int i = 0; i < tensors->count; i++)
        memory_free_aligned(tensors->memory[i]);
}

static struct histogram *make_histograms(void)
{
    return memory_calloc(BLOCKS, sizeof(struct histogram));
}

/* ---------------------------------------------------------------- a plain count */

struct expected {
    uint64_t counts[HISTOGRAM_BINS];
    double max, sum, bin;
    uint64_t pixels;
};

/* numpy.histogram(abs(values), bins=2048, range=(0, 2ⁿ)) in doubles: two passes over everything. */
static void count_plainly(const struct tensors *tensors, int channel, struct expected *expected)
{
    *expected = (struct expected){0};
    for (int pass = 0; pass < 2; pass++) {
        double top = 0x1p-100;
        while (top <= expected->max)
            top *= 2;
        expected->bin = top / HISTOGRAM_BINS;
        for (int i = 0; i < tensors->count * HEIGHT * WIDTH; i++) {
            int y = i / WIDTH % HEIGHT;
            double value = *at(&tensors->of[i / WIDTH / HEIGHT], y, channel, i % WIDTH);
            if (pass == 0) {
                expected->max = fmax(expected->max, fabs(value));
                expected->sum += value;
                expected->pixels++;
            } else {
                expected->counts[(int)floor(fabs(value) / expected->bin)]++;
            }
        }
    }
}

static void check_channel(const struct histogram *blocks, const struct tensors *tensors,
                          int channel)
{
    static struct expected expected;
    const struct histogram *block = &blocks[channel / KERNEL_BLOCK];
    int lane = channel % KERNEL_BLOCK;
    count_plainly(tensors, channel, &expected);
    assert_true((double)block->max[lane] == expected.max);
    assert_true((double)histogram_bin(block, lane) == (expected.max > 0 ? expected.bin : 0));
    assert_int_equal(block->pixels, expected.pixels);
    assert_true(fabs(histogram_mean(block, lane) - expected.sum / (double)expected.pixels) <=
                1e-6 * expected.max);
    for (int i = 0; i < HISTOGRAM_BINS; i++)
        assert_int_equal(block->counts[lane][i], expected.counts[i]);
}

static void counts_what_a_plain_count_does(void **state)
{
    (void)state;
    struct tensors tensors = make_tensors(MOST_TENSORS);
    struct histogram *blocks = make_histograms();
    for (int i = 0; i < tensors.count; i++)
        for (int block = 0; block < BLOCKS; block++)
            histogram_add(&blocks[block], &tensors.of[i], block);
    for (int channel = 0; channel < CHANNELS; channel++)
        check_channel(blocks, &tensors, channel);
    memory_free(blocks);
    clear_tensors(&tensors);
}

/* The same values as pixels of 40 floats, two images of which one is another tensor's. */
static void nhwc_counts_alike(void **state)
{
    (void)state;
    struct tensors tensors = make_tensors(2);
    struct histogram *blocks = make_histograms(), *ours = make_histograms();
    struct blocked nhwc;
    size_t bytes = nhwc_init(&nhwc, KERNEL_F32, CHANNELS, HEIGHT, WIDTH, 2);
    float *memory = memory_alloc_aligned(bytes);
    for (size_t i = 0; i < bytes / sizeof *memory; i++)
        memory[i] = 1e30f; /* what no channel has is not counted */
    nhwc.data = memory;
    for (int i = 0; i < 2 * HEIGHT * WIDTH; i++)
        for (int c = 0; c < CHANNELS; c++)
            memory[(size_t)i * nhwc.pixel_stride + (size_t)c] =
                *at(&tensors.of[i / WIDTH / HEIGHT], i / WIDTH % HEIGHT, c, i % WIDTH);
    for (int block = 0; block < BLOCKS; block++) {
        histogram_add(&ours[block], &nhwc, block);
        for (int i = 0; i < 2; i++)
            histogram_add(&blocks[block], &tensors.of[i], block);
    }
    assert_memory_equal(ours, blocks, BLOCKS * sizeof *ours);
    memory_free(ours);
    memory_free(blocks);
    memory_free_aligned(memory);
    clear_tensors(&tensors);
}

/* Parts of the rows, counted apart and merged, in whatever order. */
static void parts_are_merged(void **state)
{
    (void)state;
    enum { PARTS = 3 };
    struct tensors tensors = make_tensors(MOST_TENSORS);
    struct histogram *blocks = make_histograms();
    struct histogram *parts = memory_calloc(PARTS, sizeof *parts);
    for (int block = 0; block < BLOCKS; block++) {
        memset(parts, 0, PARTS * sizeof *parts);
        for (int i = 0; i < tensors.count; i++)
            for (int p = 0; p < PARTS; p++)
                histogram_add_part(&parts[p], &tensors.of[i], block,
                                   (struct histogram_part){p, PARTS, false});
        for (int p = 0; p < PARTS; p++)
            histogram_merge(&blocks[block], &parts[block % 2 == 0 ? p : PARTS - 1 - p]);
        histogram_merge(&blocks[block], memset(parts, 0, sizeof *parts)); /* of nothing */
    }
    for (int channel = 0; channel < CHANNELS; channel++)
        check_channel(blocks, &tensors, channel);
    memory_free(parts);
    memory_free(blocks);
    clear_tensors(&tensors);
}

static void the_order_does_not_matter(void **state)
{
    (void)state;
    struct tensors tensors = make_tensors(MOST_TENSORS);
    struct histogram *rising = make_histograms(), *falling = make_histograms();
    for (int i = 0; i < tensors.count; i++) {
        for (int block = 0; block < BLOCKS; block++) {
            histogram_add(&rising[block], &tensors.of[i], block);
            histogram_add(&falling[block], &tensors.of[tensors.count - 1 - i], block);
        }
    }
    for (int block = 0; block < BLOCKS; block++) {
        assert_memory_equal(rising[block].counts, falling[block].counts, sizeof rising->counts);
        assert_memory_equal(rising[block].max, falling[block].max, sizeof rising->max);
        assert_memory_equal(rising[block].per_bin, falling[block].per_bin, sizeof rising->per_bin);
    }
    memory_free(rising);
    memory_free(falling);
    clear_tensors(&tensors);
}

/* ---------------------------------------------------------------- ranges */

static void add_one(struct histogram *histogram, float value)
{
    float pixel[KERNEL_BLOCK] __attribute__((aligned(64))) = {value};
    const struct blocked tensor = {.data = pixel,
                                   .channels = KERNEL_BLOCK,
                                   .height = 1,
                                   .width = 1,
                                   .row_stride = KERNEL_BLOCK,
                                   .block_stride = KERNEL_BLOCK};
    histogram_add(histogram, &tensor, 0);
}

static void powers_of_two_begin_a_range(void **state)
{
    (void)state;
    struct histogram *h = make_histograms();
    add_one(h, 0x0.ffffffp0f); /* the largest float below 1 */
    assert_true(histogram_bin(h, 0) == 0x1p-11f);
    assert_int_equal(h->counts[0][2047], 1);
    add_one(h, -1);
    assert_true(histogram_bin(h, 0) == 0x1p-10f);
    assert_int_equal(h->counts[0][1023], 1);
    assert_int_equal(h->counts[0][1024], 1);
    memory_free(h);
}

static void ranges_grow_over_all_floats(void **state)
{
    (void)state;
    struct histogram *h = make_histograms();
    const float values[] = {0, 0x1p-149f, 1e-20f, 1, FLT_MAX};
    for (int i = 0; i < 5; i++) {
        add_one(h, values[i]);
        assert_true(h->max[0] == values[i]);
        uint64_t sum = 0;
        for (int k = 0; k < HISTOGRAM_BINS; k++)
            sum += h->counts[0][k];
        assert_int_equal(sum, i + 1);
    }
    assert_int_equal(h->counts[0][0], 4);
    assert_int_equal(h->counts[0][2047], 1);
    assert_int_equal(h->special, 0);
    memory_free(h);
}

/* ---------------------------------------------------------------- no numbers */

static void what_is_no_number_is_told_and_taken_for_zero(void **state)
{
    (void)state;
    struct tensors tensors = make_tensors(1);
    struct histogram *with = make_histograms(), *without = make_histograms();
    const struct {
        int y, channel, x;
        float value;
    } specials[] = {{0, 0, 0, NAN},    {3, 1, 31, INFINITY}, {3, 1, 32, -INFINITY},
                    {12, 15, 76, NAN}, {12, 2, 76, -NAN},    {7, 2, 64, INFINITY}};
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++)
        *at(&tensors.of[0], specials[i].y, specials[i].channel, specials[i].x) = specials[i].value;
    histogram_add(with, &tensors.of[0], 0);
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++)
        *at(&tensors.of[0], specials[i].y, specials[i].channel, specials[i].x) = 0;
    histogram_add(without, &tensors.of[0], 0);
    assert_int_equal(with->special, 6);
    assert_int_equal(without->special, 0);
    with->special = 0;
    assert_memory_equal(with, without, sizeof *with);
    memory_free(with);
    memory_free(without);
    clear_tensors(&tensors);
}

/* Partial sums of float32 overflow; what is summed up does not. */
static void large_numbers_are_numbers(void **state)
{
    (void)state;
    struct histogram *h = make_histograms();
    float pixels[8 * KERNEL_BLOCK] __attribute__((aligned(64))) = {0};
    for (int p = 0; p < 8; p++)
        pixels[p * KERNEL_BLOCK] = 3e38f;
    const struct blocked tensor = {.data = pixels,
                                   .channels = KERNEL_BLOCK,
                                   .height = 1,
                                   .width = 8,
                                   .row_stride = 8 * KERNEL_BLOCK,
                                   .block_stride = 8 * KERNEL_BLOCK};
    histogram_add(h, &tensor, 0);
    assert_int_equal(h->special, 0);
    assert_true(fabs(histogram_mean(h, 0) / 3e38 - 1) < 1e-6);
    assert_true(histogram_mean(h, 1) == 0);
    memory_free(h);
}

/* ---------------------------------------------------------------- more than 32 bits */

static void counts_never_overflow(void **state)
{
    (void)state;
    struct histogram *h = make_histograms();
    add_one(h, 1);
    h->counts[0][1024] = UINT32_MAX - 1001; /* as if many images of ones and zeros had been there */
    h->counts[0][0] = 1000;
    h->held = UINT32_MAX - 1;
    add_one(h, 1);
    assert_int_equal(h->counts[0][1024], UINT32_MAX - 1000);
    add_one(h, 1);
    assert_int_equal(h->counts[0][1024], (UINT32_MAX - 1000) / 2 + 2);
    assert_int_equal(h->counts[0][0], 500);
    assert_true(h->held < UINT32_MAX / 2 + 4096);
    assert_int_equal(h->pixels, 3);
    memory_free(h);
}

/* ---------------------------------------------------------------- sums alone */

static void sums_alone_are_the_same(void **state)
{
    (void)state;
    struct tensors tensors = make_tensors(3);
    struct histogram *whole = make_histograms(), *sums = make_histograms();
    *at(&tensors.of[1], 2, 3, 4) = NAN;
    for (int i = 0; i < tensors.count; i++) {
        histogram_add(whole, &tensors.of[i], 0);
        histogram_add_sums(sums, &tensors.of[i], 0);
    }
    for (int c = 0; c < KERNEL_BLOCK; c++)
        assert_true(histogram_mean(whole, c) == histogram_mean(sums, c));
    assert_int_equal(sums->special, 1);
    memory_free(whole);
    memory_free(sums);
    clear_tensors(&tensors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_what_a_plain_count_does),
        cmocka_unit_test(nhwc_counts_alike),
        cmocka_unit_test(parts_are_merged),
        cmocka_unit_test(the_order_does_not_matter),
        cmocka_unit_test(powers_of_two_begin_a_range),
        cmocka_unit_test(ranges_grow_over_all_floats),
        cmocka_unit_test(what_is_no_number_is_told_and_taken_for_zero),
        cmocka_unit_test(large_numbers_are_numbers),
        cmocka_unit_test(counts_never_overflow),
        cmocka_unit_test(sums_alone_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
