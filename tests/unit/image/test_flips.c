/* Flips against their definition, and the picture of them read back. */
#include "support/support.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PIXELS 1200

static uint8_t reference[MAX_PIXELS], mask[MAX_PIXELS];

/* Blocks of a class, so that some pixels are far from all others, and one flip in `rarity`. */
static void fill(int width, int height, int classes, unsigned rarity, uint64_t seed)
{
    uint8_t blocks[8][8];
    for (int i = 0; i < 64; i++)
        blocks[i / 8][i % 8] = (uint8_t)(random_next(&seed) % (unsigned)classes);
    for (int i = 0; i < width * height; i++) {
        reference[i] = blocks[i / width / 7 % 8][i % width / 9 % 8];
        bool flips = random_next(&seed) % rarity == 0;
        mask[i] = flips ? (uint8_t)(random_next(&seed) % (unsigned)classes) : reference[i];
    }
}

/* The least over all pixels of another class of the larger of both distances. */
static int distance_to_another_class(int width, int height, int at)
{
    int least = 1 << 20;
    for (int i = 0; i < width * height; i++) {
        int across = abs(i % width - at % width), down = abs(i / width - at / width);
        int distance = across > down ? across : down;
        if (reference[i] != reference[at] && distance < least)
            least = distance;
    }
    return least;
}

static unet_flip_counts count_by_definition(int width, int height)
{
    unet_flip_counts counts = {.pixels = (uint64_t)(width * height)};
    for (int i = 0; i < width * height; i++) {
        counts.flips += mask[i] != reference[i];
        counts.near_boundary +=
            mask[i] != reference[i] && distance_to_another_class(width, height, i) <= 2;
    }
    return counts;
}

static void assert_same_counts(const unet_flip_counts *got, const unet_flip_counts *wanted)
{
    assert_int_equal(got->pixels, wanted->pixels);
    assert_int_equal(got->flips, wanted->flips);
    assert_int_equal(got->near_boundary, wanted->near_boundary);
}

static void follows_the_definition(void **state)
{
    (void)state;
    static const int sizes[][2] = {{40, 30}, {1, 1}, {37, 1}, {1, 37}, {2, 2}, {3, 5}, {31, 33}};
    unet_flips flips;
    unet_error error = {0};
    unet_flip_counts total = {0};
    double worst = -1;
    size_t worst_at = 0;
    assert_ok(unet_flips_new(5, &flips, &error), &error);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int width = sizes[i][0], height = sizes[i][1];
        fill(width, height, 5, 4 + (unsigned)i, 11 + i);
        unet_flip_counts wanted = count_by_definition(width, height), got;
        assert_ok(unet_flips_add(&flips, reference, mask, width, height, &got, &error), &error);
        assert_same_counts(&got, &wanted);
        total.pixels += wanted.pixels;
        total.flips += wanted.flips;
        total.near_boundary += wanted.near_boundary;
        double share = (double)wanted.flips / (double)wanted.pixels;
        if (share > worst) {
            worst = share;
            worst_at = i;
        }
    }
    assert_true(total.near_boundary > 20 && total.flips - total.near_boundary > 20);
    assert_same_counts(&flips.total, &total);
    assert_int_equal(flips.images, sizeof sizes / sizeof sizes[0]);
    assert_int_equal(flips.worst_image, worst_at);
    assert_true(flips.worst_share == worst);
    assert_true(unet_flips_share(&flips) == (double)total.flips / (double)total.pixels);
    assert_true(unet_flips_near_share(&total) == (double)total.near_boundary / (double)total.flips);
    unet_flips_clear(&flips);
    assert_null(flips.confusion.counts);
}

/* An edge between columns 9 and 10: the band is two pixels wide on each side of it. */
static void knows_the_band_of_an_edge(void **state)
{
    (void)state;
    enum { WIDTH = 20, HEIGHT = 7 };
    for (int x = 0; x < WIDTH; x++) {
        unet_flips flips;
        unet_error error = {0};
        for (int i = 0; i < WIDTH * HEIGHT; i++)
            mask[i] = reference[i] = i % WIDTH >= 10;
        mask[3 * WIDTH + x] ^= 1;
        assert_ok(unet_flips_new(2, &flips, &error), &error);
        assert_ok(unet_flips_add(&flips, reference, mask, WIDTH, HEIGHT, NULL, &error), &error);
        assert_int_equal(flips.total.flips, 1);
        assert_int_equal(flips.total.near_boundary, x >= 8 && x <= 11);
        unet_flips_clear(&flips);
    }
}

/* Class 3 is in the mask alone: its IoU of 0 says that it is not present, not that it is bad. */
static void finds_the_least_iou(void **state)
{
    (void)state;
    static const uint8_t truth[10] = {0, 0, 0, 0, 1, 1, 1, 2, 2, 2};
    static const uint8_t found[10] = {0, 0, 0, 3, 1, 1, 2, 2, 2, 2};
    unet_flips flips;
    unet_error error = {0};
    int which = 7;
    assert_ok(unet_flips_new(6, &flips, &error), &error);
    assert_true(isnan(unet_flips_least_iou(&flips, &which)));
    assert_int_equal(which, -1);
    assert_ok(unet_flips_add(&flips, truth, truth, 10, 1, NULL, &error), &error);
    assert_true(unet_flips_least_iou(&flips, &which) == 1);
    assert_int_equal(which, 0);
    assert_ok(unet_flips_add(&flips, truth, found, 5, 2, NULL, &error), &error);
    assert_true(unet_flips_least_iou(&flips, &which) == 5.0 / 6);
    assert_int_equal(which, 1);
    assert_true(unet_flips_least_iou(&flips, NULL) == 5.0 / 6);
    assert_true(unet_confusion_dice(&flips.confusion, 1) == 10.0 / 11);
    assert_ok(unet_flips_add(&flips, truth, found, 5, 2, NULL, &error), &error);
    assert_int_equal(flips.worst_image, 1); /* the first of equals */
    assert_true(flips.worst_share == 0.2);
    unet_flips_clear(&flips);
}

static void says_nothing_of_nothing(void **state)
{
    (void)state;
    unet_flips flips;
    unet_error error = {0};
    assert_ok(unet_flips_new(2, &flips, &error), &error);
    assert_true(isnan(unet_flips_share(&flips)));
    assert_true(isnan(unet_flips_near_share(&flips.total)));
    assert_true(flips.worst_share == 0);
    memset(mask, 1, sizeof mask);
    assert_ok(unet_flips_add(&flips, mask, mask, 30, 40, NULL, &error), &error);
    assert_true(unet_flips_share(&flips) == 0);
    assert_true(isnan(unet_flips_near_share(&flips.total)));
    assert_int_equal(flips.worst_image, 0);
    unet_flips_clear(&flips);
    unet_flips_clear(&flips);
    unet_flips_clear(NULL);
}

/* What is refused is not counted. */
static void refuses_bad_masks(void **state)
{
    (void)state;
    unet_flips flips, before;
    unet_error error = {0};
    assert_ok(unet_flips_new(3, &flips, &error), &error);
    fill(20, 20, 3, 5, 3);
    assert_ok(unet_flips_add(&flips, reference, mask, 20, 20, NULL, &error), &error);
    before = flips;
    mask[399] = 3;
    assert_error(unet_flips_add(&flips, reference, mask, 20, 20, NULL, &error), UNET_ERROR_INPUT,
                 &error, "value 3");
    assert_error(unet_flips_add(&flips, mask, reference, 20, 20, NULL, &error), UNET_ERROR_INPUT,
                 &error, "value 3");
    assert_error(unet_flips_add(&flips, NULL, mask, 20, 20, NULL, &error), UNET_ERROR_USAGE, &error,
                 "two masks");
    assert_error(unet_flips_add(&flips, reference, mask, 0, 20, NULL, &error), UNET_ERROR_USAGE,
                 &error, "0×20");
    assert_error(unet_flips_add(&flips, reference, mask, 20, -1, NULL, &error), UNET_ERROR_USAGE,
                 &error, "-1");
    assert_same_counts(&flips.total, &before.total);
    assert_int_equal(flips.images, 1);
    unet_flips_clear(&flips);
    assert_error(unet_flips_new(0, &flips, &error), UNET_ERROR_USAGE, &error, "classes");
    memory_fail_after(0);
    unet_status status = unet_flips_new(2, &flips, &error);
    memory_fail_after(-1);
    assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
}

/* ---------------------------------------------------------------- the picture */

#define WIDTH  40
#define HEIGHT 24
#define EDGE   20 /* the first column of class 1 */

static uint8_t rgb_pixels[3 * WIDTH * HEIGHT];
static uint16_t wide_pixels[WIDTH * HEIGHT];
static const unet_image reference_image = {WIDTH, HEIGHT, 1, 8, reference};
static const unet_image mask_image = {WIDTH, HEIGHT, 1, 8, mask};
static const unet_image rgb = {WIDTH, HEIGHT, 3, 8, rgb_pixels};
static const unet_image wide = {WIDTH, HEIGHT, 1, 16, wide_pixels};

/* One flip far from the edge, in a corner; two beside the edge, each in the other's halo. */
static const int flip_columns[] = {0, EDGE, EDGE - 2}, flip_rows[] = {0, 12, 13};

static void fill_pictures(void)
{
    uint64_t seed = 5;
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        mask[i] = reference[i] = i % WIDTH >= EDGE;
        wide_pixels[i] = (uint16_t)(500 + random_next(&seed) % 2001);
        for (int c = 0; c < 3; c++)
            rgb_pixels[3 * i + c] = (uint8_t)random_next(&seed);
    }
    wide_pixels[0] = 500;
    wide_pixels[1] = 2500;
    for (int i = 0; i < 3; i++)
        mask[flip_rows[i] * WIDTH + flip_columns[i]] ^= 1;
}

static double rgb_light(int i)
{
    return 0.3 * rgb_pixels[3 * i] + 0.59 * rgb_pixels[3 * i + 1] + 0.11 * rgb_pixels[3 * i + 2];
}

static double wide_light(int i)
{
    return (wide_pixels[i] - 500) * 255.0 / 2000;
}

static double no_light(int i)
{
    (void)i;
    return 0;
}

/* The mark's share of a pixel's colour, and which of both colours it is. */
static double mark_share(int i, bool *far)
{
    double share = 0;
    *far = false;
    for (int k = 0; k < 3; k++) {
        double distance = hypot(i % WIDTH - flip_columns[k], i / WIDTH - flip_rows[k]);
        bool halo = distance <= (k == 0 ? 5.1 : 3.2);
        if (halo && k == 0)
            *far = true;
        if (halo && share < 0.4)
            share = 0.4;
        if (distance == 0)
            share = 1;
    }
    return share;
}

static void check_picture(const unet_image *image, double (*light)(int))
{
    static const uint8_t near_color[] = {255, 196, 0}, far_color[] = {255, 32, 160};
    unet_error error = {0};
    unet_image read;
    const char *path = temporary_path("a.flips.png");
    assert_ok(unet_flips_save(path, image, &reference_image, &mask_image, &error), &error);
    assert_ok(unet_image_load(path, &read, &error), &error);
    assert_true(read.width == WIDTH && read.height == HEIGHT && read.channels == 3);
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        bool far;
        double share = mark_share(i, &far);
        const uint8_t *got = (uint8_t *)read.pixels + 3 * i, *color = far ? far_color : near_color;
        for (int c = 0; c < 3; c++)
            assert_true(fabs(got[c] - (1 - share) * 0.55 * light(i) - share * color[c]) <= 1.01);
    }
    unet_image_clear(&read);
}

static void draws_flips(void **state)
{
    (void)state;
    fill_pictures();
    check_picture(&rgb, rgb_light);
    check_picture(&wide, wide_light);
    check_picture(NULL, no_light);
}

static void refuses_what_does_not_fit(void **state)
{
    (void)state;
    unet_error error = {0};
    const char *path = temporary_path("b.flips.png");
    unet_image small = {WIDTH, HEIGHT - 1, 1, 8, mask}, four = {WIDTH, HEIGHT, 4, 8, rgb_pixels};
    fill_pictures();
    assert_error(unet_flips_save(path, &rgb, &reference_image, &small, &error), UNET_ERROR_USAGE,
                 &error, "40×23");
    assert_error(unet_flips_save(path, &small, &reference_image, &mask_image, &error),
                 UNET_ERROR_USAGE, &error, "40×23");
    assert_error(unet_flips_save(path, &rgb, NULL, &mask_image, &error), UNET_ERROR_USAGE, &error,
                 "mask");
    assert_error(unet_flips_save(path, &rgb, &reference_image, &rgb, &error), UNET_ERROR_USAGE,
                 &error, "mask");
    assert_error(unet_flips_save(path, &four, &reference_image, &mask_image, &error),
                 UNET_ERROR_USAGE, &error, "4 channels");
    assert_error(unet_flips_save("/proc/none/a.png", &rgb, &reference_image, &mask_image, &error),
                 UNET_ERROR_OUTPUT, &error, "/proc/none");
    unet_image none;
    assert_error(unet_image_load(path, &none, &error), UNET_ERROR_INPUT, &error, "b.flips.png");
}

static void survives_want_of_memory(void **state)
{
    (void)state;
    const char *path = temporary_path("c.flips.png");
    unet_error error = {0};
    fill_pictures();
    unet_status status = UNET_ERROR_MEMORY;
    long n = 0;
    for (; status == UNET_ERROR_MEMORY && n < 100; n++) {
        memory_fail_after(n);
        status = unet_flips_save(path, &rgb, &reference_image, &mask_image, &error);
        memory_fail_after(-1);
    }
    assert_ok(status, &error);
    assert_true(n > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_definition),    cmocka_unit_test(knows_the_band_of_an_edge),
        cmocka_unit_test(finds_the_least_iou),       cmocka_unit_test(says_nothing_of_nothing),
        cmocka_unit_test(refuses_bad_masks),         cmocka_unit_test(draws_flips),
        cmocka_unit_test(refuses_what_does_not_fit), cmocka_unit_test(survives_want_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
