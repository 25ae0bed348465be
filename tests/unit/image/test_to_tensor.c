/* Preprocessing: each step's formula, computed here from the pixels. */
#include "support/support.h"

#include "base/memory.h"
#include "image/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH  13
#define HEIGHT 9
#define PIXELS (WIDTH * HEIGHT)

/* An image of random pixels in [low, high]. */
struct sample_image {
    uint16_t words[PIXELS * 3];
    uint8_t bytes[PIXELS * 3];
    unet_image image;
};

static void fill(struct sample_image *sample, int channels, int bits, unsigned low, unsigned high)
{
    uint64_t random = low + 31 * high + (unsigned)channels;
    for (size_t i = 0; i < PIXELS * 3; i++) {
        sample->words[i] =
            (uint16_t)(low + (unsigned)(random_next(&random) >> 16) % (high - low + 1));
        sample->bytes[i] = (uint8_t)sample->words[i];
    }
    sample->image =
        (unet_image){.width = WIDTH, .height = HEIGHT, .channels = channels, .bits = bits};
    sample->image.pixels = bits == 8 ? (void *)sample->bytes : (void *)sample->words;
}

static double value(const struct sample_image *sample, size_t index)
{
    return sample->image.bits == 8 ? sample->bytes[index] : sample->words[index];
}

static unet_preprocess steps(unet_normalize normalize, double scale)
{
    return (unet_preprocess){
        .size = sizeof(unet_preprocess), .normalize = normalize, .scale = scale};
}

/* The other way to the same numbers, to the bit. */
static void check_pixels(const unet_image *image, const unet_preprocess *preprocess,
                         const struct pixel_range *range, int channels, const float *tensor)
{
    struct image_pixels pixels;
    unet_error error = {0};
    assert_ok(image_to_pixels(image, preprocess, range, channels, &pixels, &error), &error);
    const uint8_t *byte = pixels.image.pixels;
    int step = pixels.image.channels, count = pixels.image.width * pixels.image.height;
    assert_int_equal(pixels.image.bits, 8);
    for (int i = 0; i < count; i++, byte += step)
        for (int c = 0; c < channels; c++)
            assert_memory_equal(&pixels.values[256 * c + byte[step == 1 ? 0 : c]],
                                &tensor[c * count + i], sizeof *tensor);
    image_pixels_clear(&pixels);
}

static float *run(const unet_image *image, const unet_preprocess *preprocess,
                  const struct pixel_range *range, int channels)
{
    float *tensor = NULL;
    int height = 0, width = 0;
    unet_error error = {0};
    assert_ok(image_to_tensor(image, preprocess, range, channels, &tensor, &height, &width, &error),
              &error);
    if (preprocess->scale == 0) {
        assert_int_equal(height, image->height);
        assert_int_equal(width, image->width);
    }
    assert_int_equal((uintptr_t)tensor % MEMORY_ALIGNMENT, 0);
    if (image->bits == 8)
        check_pixels(image, preprocess, range, channels, tensor);
    return tensor;
}

static void assert_float(float got, double wanted, const char *what)
{
    if (!(fabs(got - wanted) <= 1e-6 * (1 + fabs(wanted))))
        fail_msg("%s: %.9g, not %.9g", what, got, wanted);
}

static void divides_by_255(void **state)
{
    (void)state;
    static const unet_normalize names[] = {UNET_NORMALIZE_DEFAULT, UNET_NORMALIZE_255};
    struct sample_image sample;
    fill(&sample, 3, 8, 0, 255);
    for (int n = 0; n < 2; n++) {
        unet_preprocess preprocess = steps(names[n], 0);
        float *tensor = run(&sample.image, &preprocess, NULL, 3);
        for (size_t i = 0; i < PIXELS; i++) {
            for (size_t c = 0; c < 3; c++)
                /* numpy divides in float64 and PyTorch rounds to float32 */
                assert_true(tensor[c * PIXELS + i] == (float)(sample.bytes[3 * i + c] / 255.0));
        }
        memory_free_aligned(tensor);
    }
}

/* predict.py divides only if a pixel is above 1. */
static void leaves_zeros_and_ones(void **state)
{
    (void)state;
    struct sample_image sample;
    fill(&sample, 1, 8, 0, 1);
    unet_preprocess preprocess = steps(UNET_NORMALIZE_255, 0);
    float *tensor = run(&sample.image, &preprocess, NULL, 1);
    for (size_t i = 0; i < PIXELS; i++)
        assert_true(tensor[i] == sample.bytes[i]);
    memory_free_aligned(tensor);
    sample.bytes[5] = 2;
    tensor = run(&sample.image, &preprocess, NULL, 1);
    for (size_t i = 0; i < PIXELS; i++)
        assert_true(tensor[i] == (float)(sample.bytes[i] / 255.0));
    memory_free_aligned(tensor);
}

static void divides_16_bits_by_65535(void **state)
{
    (void)state;
    struct sample_image sample;
    unet_preprocess preprocess = steps(UNET_NORMALIZE_255, 0);
    fill(&sample, 1, 16, 0, 65535);
    float *tensor = run(&sample.image, &preprocess, NULL, 1);
    for (size_t i = 0; i < PIXELS; i++)
        assert_true(tensor[i] == (float)(sample.words[i] / 65535.0));
    memory_free_aligned(tensor);
    fill(&sample, 1, 16, 0, 1); /* dark, not a mask: 16 bits are always divided */
    tensor = run(&sample.image, &preprocess, NULL, 1);
    for (size_t i = 0; i < PIXELS; i++)
        assert_true(tensor[i] == (float)(sample.words[i] / 65535.0));
    memory_free_aligned(tensor);
}

static void fits_channels(void **state)
{
    (void)state;
    struct sample_image sample;
    unet_preprocess preprocess = steps(UNET_NORMALIZE_255, 0);
    fill(&sample, 1, 8, 0, 255);
    float *tensor = run(&sample.image, &preprocess, NULL, 3);
    for (size_t i = 0; i < PIXELS; i++) {
        assert_true(tensor[i] == (float)(sample.bytes[i] / 255.0));
        assert_true(tensor[PIXELS + i] == tensor[i] && tensor[2 * PIXELS + i] == tensor[i]);
    }
    memory_free_aligned(tensor);
    sample.image.channels = 5; /* as many as the network takes: each as it is */
    sample.image.height = HEIGHT / 5;
    tensor = run(&sample.image, &preprocess, NULL, 5);
    size_t pixels = (size_t)WIDTH * (HEIGHT / 5);
    for (size_t i = 0; i < 5 * pixels; i++)
        assert_true(tensor[i % 5 * pixels + i / 5] == (float)(sample.bytes[i] / 255.0));
    memory_free_aligned(tensor);
    for (int bits = 8; bits <= 16; bits += 8) {
        double top = bits == 8 ? 255 : 65535;
        fill(&sample, 3, bits, 0, (unsigned)top);
        tensor = run(&sample.image, &preprocess, NULL, 1);
        for (size_t i = 0; i < PIXELS; i++) {
            double luma = 19595 * value(&sample, 3 * i) + 38470 * value(&sample, 3 * i + 1) +
                          7471 * value(&sample, 3 * i + 2);
            assert_true(tensor[i] == (float)(floor((luma + 32768) / 65536) / top));
        }
        memory_free_aligned(tensor);
    }
}

static void standardises(void **state)
{
    (void)state;
    for (int bits = 8; bits <= 16; bits += 8) {
        struct sample_image sample;
        fill(&sample, 3, bits, 20, bits == 8 ? 200 : 40000);
        double sum = 0, squares = 0;
        for (size_t i = 0; i < 3 * PIXELS; i++)
            sum += value(&sample, i);
        double mean = sum / (3 * PIXELS);
        for (size_t i = 0; i < 3 * PIXELS; i++)
            squares += pow(value(&sample, i) - mean, 2);
        double deviation = sqrt(squares / (3 * PIXELS));
        unet_preprocess preprocess = steps(UNET_NORMALIZE_ZSCORE, 0);
        float *tensor = run(&sample.image, &preprocess, NULL, 3);
        for (size_t i = 0; i < PIXELS; i++) {
            for (size_t c = 0; c < 3; c++)
                assert_float(tensor[c * PIXELS + i], (value(&sample, 3 * i + c) - mean) / deviation,
                             "zscore");
        }
        memory_free_aligned(tensor);
    }
}

/* Also where the mean of equal values is not quite that value, as with 7 / 11.75 in doubles. */
static void flat_images_are_zero(void **state)
{
    (void)state;
    static const struct pixel_range ranges[] = {{.set = false},
                                                {.set = true, .low = 0, .high = 3},
                                                {.set = true, .low = 0, .high = 11.75},
                                                {.set = true, .low = 0.3, .high = 47},
                                                {.set = true, .low = 9, .high = 12},
                                                {.set = true, .percentile = true, .high = 100}};
    struct sample_image sample;
    for (int bits = 8; bits <= 16; bits += 8) {
        fill(&sample, 1, bits, 7, 7);
        for (size_t r = 0; r < sizeof ranges / sizeof ranges[0]; r++) {
            unet_preprocess preprocess = steps(UNET_NORMALIZE_ZSCORE, 0);
            float *tensor = run(&sample.image, &preprocess, &ranges[r], 1);
            for (size_t i = 0; i < PIXELS; i++)
                assert_true(tensor[i] == 0);
            memory_free_aligned(tensor);
        }
    }
}

static void applies_mean_and_std(void **state)
{
    (void)state;
    struct sample_image sample;
    unet_preprocess preprocess = steps(UNET_NORMALIZE_MEAN_STD, 0);
    for (int c = 0; c < 3; c++) {
        preprocess.mean[c] = 0.4f + 0.05f * (float)c;
        preprocess.std[c] = 0.2f + 0.03f * (float)c;
    }
    for (int bits = 8; bits <= 16; bits += 8) {
        double top = bits == 8 ? 255 : 65535;
        fill(&sample, 3, bits, 0, (unsigned)top);
        float *tensor = run(&sample.image, &preprocess, NULL, 3);
        for (size_t i = 0; i < PIXELS; i++) {
            for (size_t c = 0; c < 3; c++)
                assert_float(tensor[c * PIXELS + i],
                             (value(&sample, 3 * i + c) / top - preprocess.mean[c]) /
                                 preprocess.std[c],
                             "mean and std");
        }
        memory_free_aligned(tensor);
    }
}

static void check_range(const struct sample_image *sample, const struct pixel_range *range,
                        double low, double high)
{
    unet_preprocess preprocess = steps(UNET_NORMALIZE_255, 0);
    int channels = sample->image.channels;
    float *tensor = run(&sample->image, &preprocess, range, channels);
    for (size_t i = 0; i < PIXELS; i++) {
        for (int c = 0; c < channels; c++) {
            double v = value(sample, i * (size_t)channels + (size_t)c);
            double wanted = v <= low ? 0 : v >= high ? 1 : (v - low) / (high - low);
            assert_float(tensor[(size_t)c * PIXELS + i], wanted, "range");
        }
    }
    memory_free_aligned(tensor);
}

static void maps_ranges(void **state)
{
    (void)state;
    struct sample_image sample;
    fill(&sample, 3, 8, 0, 255);
    check_range(&sample, &(struct pixel_range){.set = true, .low = 30.5, .high = 99}, 30.5, 99);
    fill(&sample, 1, 16, 0, 5000);
    check_range(&sample, &(struct pixel_range){.set = true, .low = 100, .high = 4095}, 100, 4095);
    check_range(&sample, &(struct pixel_range){.set = true, .low = 700, .high = 700}, 700, 700);
    check_range(&sample, &(struct pixel_range){.set = true, .low = -10, .high = 1e9}, -10, 1e9);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const double *sorted, size_t count, double percent)
{
    double position = percent / 100 * (double)(count - 1);
    size_t below = (size_t)position;
    size_t above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (position - (double)below) * (sorted[above] - sorted[below]);
}

static void maps_percentiles(void **state)
{
    (void)state;
    static const double pairs[][2] = {{0, 100}, {1, 99},   {2.5, 97.3},
                                      {50, 50}, {0, 33.3}, {90, 100}};
    for (int bits = 8; bits <= 16; bits += 8) {
        struct sample_image sample;
        double sorted[3 * PIXELS];
        fill(&sample, 3, bits, 3, bits == 8 ? 250 : 3000);
        for (size_t i = 0; i < 3 * PIXELS; i++)
            sorted[i] = value(&sample, i);
        qsort(sorted, 3 * PIXELS, sizeof sorted[0], by_value);
        for (size_t p = 0; p < sizeof pairs / sizeof pairs[0]; p++) {
            struct pixel_range range = {
                .set = true, .percentile = true, .low = pairs[p][0], .high = pairs[p][1]};
            check_range(&sample, &range, percentile(sorted, 3 * PIXELS, pairs[p][0]),
                        percentile(sorted, 3 * PIXELS, pairs[p][1]));
        }
    }
}

/* int(scale × side), and the resized pixels: those of unet_image_resize, which has its own test. */
static void scales(void **state)
{
    (void)state;
    static const double factors[] = {0.5, 0.3, 1, 1.7, 0.999, 0.1112};
    struct sample_image sample;
    fill(&sample, 3, 8, 0, 255);
    for (size_t f = 0; f < sizeof factors / sizeof factors[0]; f++) {
        unet_preprocess preprocess = steps(UNET_NORMALIZE_255, factors[f]);
        unet_image resized;
        float *tensor;
        int height, width;
        unet_error error = {0};
        assert_ok(
            image_to_tensor(&sample.image, &preprocess, NULL, 3, &tensor, &height, &width, &error),
            &error);
        assert_int_equal(width, (int)(factors[f] * WIDTH));
        assert_int_equal(height, (int)(factors[f] * HEIGHT));
        assert_ok(unet_image_resize(&sample.image, width, height, &resized, &error), &error);
        const uint8_t *pixels = resized.pixels;
        for (int i = 0; i < width * height; i++) {
            for (int c = 0; c < 3; c++)
                assert_true(tensor[c * width * height + i] == (float)(pixels[3 * i + c] / 255.0));
        }
        unet_image_clear(&resized);
        memory_free_aligned(tensor);
    }
}

static void refuse(const unet_image *image, const unet_preprocess *preprocess,
                   const struct pixel_range *range, int channels, unet_status expected,
                   const char *word)
{
    float *tensor = (float *)image;
    int height = -1, width = -1;
    unet_error error = {0};
    assert_error(
        image_to_tensor(image, preprocess, range, channels, &tensor, &height, &width, &error),
        expected, &error, word);
    assert_ptr_equal(tensor, image);
    assert_int_equal(height, -1);
}

static void refuses_what_does_not_fit(void **state)
{
    (void)state;
    struct sample_image sample;
    fill(&sample, 3, 8, 0, 255);
    const unet_image *image = &sample.image;
    unet_preprocess plain = steps(UNET_NORMALIZE_255, 0);
    refuse(image, &plain, NULL, 4, UNET_ERROR_INPUT, ".npy");
    refuse(image, &plain, NULL, 2, UNET_ERROR_INPUT, ".npy");
    unet_preprocess scaled = steps(UNET_NORMALIZE_255, 0.1);
    refuse(image, &scaled, NULL, 3, UNET_ERROR_INPUT, "scale 0.1 is too small");
    scaled.scale = 1e6;
    refuse(image, &scaled, NULL, 3, UNET_ERROR_INPUT, "too large");
    scaled.scale = 1e300;
    refuse(image, &scaled, NULL, 3, UNET_ERROR_INPUT, "too large");
    scaled.scale = -1;
    refuse(image, &scaled, NULL, 3, UNET_ERROR_USAGE, "scale");
    scaled.scale = NAN;
    refuse(image, &scaled, NULL, 3, UNET_ERROR_USAGE, "scale");
    unet_preprocess standard = steps(UNET_NORMALIZE_MEAN_STD, 0);
    refuse(image, &standard, NULL, 3, UNET_ERROR_USAGE, "channel 0");
    standard.std[0] = standard.std[1] = 1;
    standard.std[2] = NAN;
    refuse(image, &standard, NULL, 3, UNET_ERROR_USAGE, "channel 2");
    struct pixel_range range = {.set = true, .low = 2, .high = 1};
    refuse(image, &plain, &range, 3, UNET_ERROR_USAGE, "range");
    range = (struct pixel_range){.set = true, .low = NAN, .high = 1};
    refuse(image, &plain, &range, 3, UNET_ERROR_USAGE, "range");
    range = (struct pixel_range){.set = true, .percentile = true, .low = -1, .high = 50};
    refuse(image, &plain, &range, 3, UNET_ERROR_USAGE, "percentile");
    unet_image empty = {.width = 1, .height = 1, .channels = 3, .bits = 8};
    refuse(&empty, &plain, NULL, 3, UNET_ERROR_USAGE, "pixels");
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    struct sample_image sample;
    fill(&sample, 3, 16, 0, 65535);
    unet_preprocess preprocess = steps(UNET_NORMALIZE_ZSCORE, 0.5);
    unet_status status = UNET_ERROR_MEMORY;
    for (long n = 0; status != UNET_OK; n++) {
        float *tensor = NULL;
        int height, width;
        unet_error error = {0};
        memory_fail_after(n);
        status =
            image_to_tensor(&sample.image, &preprocess, NULL, 1, &tensor, &height, &width, &error);
        memory_fail_after(-1);
        if (status == UNET_OK)
            assert_true(n > 10);
        else
            assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
        memory_free_aligned(tensor);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divides_by_255),
        cmocka_unit_test(leaves_zeros_and_ones),
        cmocka_unit_test(divides_16_bits_by_65535),
        cmocka_unit_test(fits_channels),
        cmocka_unit_test(standardises),
        cmocka_unit_test(flat_images_are_zero),
        cmocka_unit_test(applies_mean_and_std),
        cmocka_unit_test(maps_ranges),
        cmocka_unit_test(maps_percentiles),
        cmocka_unit_test(scales),
        cmocka_unit_test(refuses_what_does_not_fit),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
