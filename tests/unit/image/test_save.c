/* The PNG files that masks become: their bytes, their pixels read back, and failures. */
#include "golden.h"

#include "base/memory.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define WIDTH  23
#define HEIGHT 7
#define PIXELS (WIDTH * HEIGHT)

static uint8_t mask_pixels[PIXELS], rgb_pixels[3 * PIXELS];
static uint16_t wide_pixels[PIXELS];

static const unet_image mask = {WIDTH, HEIGHT, 1, 8, mask_pixels};
static const unet_image rgb = {WIDTH, HEIGHT, 3, 8, rgb_pixels};
static const unet_image wide = {WIDTH, HEIGHT, 1, 16, wide_pixels};

static int fill(void **state)
{
    (void)state;
    uint64_t random = 77;
    for (int i = 0; i < PIXELS; i++) {
        mask_pixels[i] = (uint8_t)(i / 9 % 5);
        wide_pixels[i] = (uint16_t)(1000 + random_next(&random) % 3001);
    }
    wide_pixels[3] = 1000;
    wide_pixels[4] = 4000;
    for (int i = 0; i < 3 * PIXELS; i++)
        rgb_pixels[i] = (uint8_t)random_next(&random);
    return 0;
}

static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The data of the first chunk of a kind; NULL if there is none. */
static const uint8_t *chunk(const struct golden_file *file, const char *kind, size_t *length)
{
    for (size_t at = 8; at + 12 <= file->size; at += 12 + big_endian(file->bytes + at)) {
        if (memcmp(file->bytes + at + 4, kind, 4) == 0) {
            *length = big_endian(file->bytes + at);
            return file->bytes + at + 8;
        }
    }
    return NULL;
}

/* Checks the header's size, depth and colour type, and returns the file. */
static struct golden_file read_png(const char *path, int color_type)
{
    struct golden_file file = golden_read(path);
    size_t length;
    const uint8_t *header = chunk(&file, "IHDR", &length);
    assert_non_null(header);
    assert_int_equal(big_endian(header), WIDTH);
    assert_int_equal(big_endian(header + 4), HEIGHT);
    assert_int_equal(header[8], 8);
    assert_int_equal(header[9], color_type);
    assert_null(chunk(&file, "tRNS", &length));
    return file;
}

static unet_image load(const char *path, bool label)
{
    unet_image image = {0};
    unet_error error = {0};
    assert_ok(label ? unet_label_load(path, &image, &error) : unet_image_load(path, &image, &error),
              &error);
    return image;
}

static void saves_masks(void **state)
{
    (void)state;
    unet_error error = {0};
    char path[4200];
    snprintf(path, sizeof path, "%s", temporary_path("new folder/mask.png"));
    assert_ok(unet_mask_save(path, &mask, &error), &error);
    struct golden_file file = read_png(path, 0);
    free(file.bytes);
    unet_image image = load(path, false);
    assert_int_equal(image.channels, 1);
    assert_memory_equal(image.pixels, mask_pixels, PIXELS);
    unet_image_clear(&image);
}

static void saves_colors(void **state)
{
    (void)state;
    unet_error error = {0};
    const char *path = temporary_path("mask.color.png");
    assert_ok(unet_color_save(path, &mask, &error), &error);
    struct golden_file file = read_png(path, 3);
    size_t length;
    const uint8_t *palette = chunk(&file, "PLTE", &length);
    assert_int_equal(length, 768);
    for (int i = 0; i < 256; i++) {
        uint8_t color[3];
        unet_class_color(i, color);
        assert_memory_equal(palette + 3 * i, color, 3);
    }
    free(file.bytes);
    unet_image label = load(path, true), image = load(path, false);
    assert_memory_equal(label.pixels, mask_pixels, PIXELS);
    for (int i = 0; i < PIXELS; i++) {
        uint8_t color[3];
        unet_class_color(mask_pixels[i], color);
        assert_memory_equal((uint8_t *)image.pixels + 3 * i, color, 3);
    }
    unet_image_clear(&label);
    unet_image_clear(&image);
}

/* 45% of the class's colour; none over class 0. */
static void check_overlay(const unet_image *image, unsigned (*shown)(int pixel, int channel))
{
    unet_error error = {0};
    const char *path = temporary_path("mask.overlay.png");
    assert_ok(unet_overlay_save(path, image, &mask, &error), &error);
    struct golden_file file = read_png(path, 2);
    free(file.bytes);
    unet_image read = load(path, false);
    for (int i = 0; i < PIXELS; i++) {
        uint8_t color[3];
        unet_class_color(mask_pixels[i], color);
        for (int c = 0; c < 3; c++) {
            double value = shown(i, c);
            double wanted = mask_pixels[i] == 0 ? value : 0.55 * value + 0.45 * color[c];
            double got = ((uint8_t *)read.pixels)[3 * i + c];
            assert_true(got - wanted <= 0.5001 && wanted - got <= 0.5001);
        }
    }
    unet_image_clear(&read);
}

static unsigned shown_rgb(int pixel, int channel)
{
    return rgb_pixels[3 * pixel + channel];
}

static unsigned shown_grey(int pixel, int channel)
{
    (void)channel;
    return rgb_pixels[pixel];
}

/* 16-bit images are stretched from their least to their largest value. */
static unsigned shown_wide(int pixel, int channel)
{
    (void)channel;
    return (unsigned)((wide_pixels[pixel] - 1000) * 255 / 3000.0 + 0.5);
}

static void saves_overlays(void **state)
{
    (void)state;
    check_overlay(&rgb, shown_rgb);
    unet_image grey = {WIDTH, HEIGHT, 1, 8, rgb_pixels};
    check_overlay(&grey, shown_grey);
    check_overlay(&wide, shown_wide);
}

static void saves_values(void **state)
{
    (void)state;
    static const uint8_t grey[5] = {0, 255, 7, 128, 3};
    static const uint8_t colors[15] = {1, 2, 3, 250, 0, 9, 0, 0, 0, 255, 255, 255, 17, 18, 19};
    unet_error error = {0};
    const char *path = temporary_path("values.png");
    assert_ok(unet_values_save(path, &mask, grey, 5, 1, &error), &error);
    struct golden_file file = read_png(path, 0);
    free(file.bytes);
    unet_image image = load(path, false);
    for (int i = 0; i < PIXELS; i++)
        assert_int_equal(((uint8_t *)image.pixels)[i], grey[mask_pixels[i]]);
    unet_image_clear(&image);
    assert_ok(unet_values_save(path, &mask, colors, 5, 3, &error), &error);
    file = read_png(path, 2);
    free(file.bytes);
    image = load(path, false);
    for (int i = 0; i < PIXELS; i++)
        assert_memory_equal((uint8_t *)image.pixels + 3 * i, colors + 3 * mask_pixels[i], 3);
    unet_image_clear(&image);
}

static void refuses_what_does_not_fit(void **state)
{
    (void)state;
    static const uint8_t values[4] = {0};
    unet_error error = {0};
    const char *path = temporary_path("never.png");
    unet_image small = {WIDTH - 1, HEIGHT, 1, 8, mask_pixels};
    assert_error(unet_mask_save(path, &rgb, &error), UNET_ERROR_USAGE, &error, "3 channels");
    assert_error(unet_color_save(path, &wide, &error), UNET_ERROR_USAGE, &error, "16 bits");
    assert_error(unet_mask_save(path, NULL, &error), UNET_ERROR_USAGE, &error, "mask");
    assert_error(unet_overlay_save(path, &rgb, &small, &error), UNET_ERROR_USAGE, &error, "22×7");
    assert_error(unet_overlay_save(path, NULL, &mask, &error), UNET_ERROR_USAGE, &error, "image");
    assert_error(unet_values_save(path, &mask, values, 4, 1, &error), UNET_ERROR_USAGE, &error,
                 "class 4 has no mask value");
    assert_error(unet_values_save(path, &mask, values, 4, 2, &error), UNET_ERROR_USAGE, &error,
                 "2 channels");
    assert_error(unet_values_save(path, &mask, NULL, 0, 1, &error), UNET_ERROR_USAGE, &error,
                 "mask value");
    assert_int_not_equal(access(path, F_OK), 0);
}

static void refuses_paths(void **state)
{
    (void)state;
    unet_error error = {0};
    char path[4200];
    assert_error(unet_mask_save(temporary_folder(), &mask, &error), UNET_ERROR_OUTPUT, &error,
                 temporary_folder());
    assert_ok(unet_mask_save(temporary_path("file"), &mask, &error), &error);
    snprintf(path, sizeof path, "%s", temporary_path("file/mask.png"));
    assert_error(unet_mask_save(path, &mask, &error), UNET_ERROR_OUTPUT, &error, "mask.png");
    /* No one can make a file there, root neither. */
    assert_error(unet_mask_save("/proc/mask.png", &mask, &error), UNET_ERROR_OUTPUT, &error,
                 "/proc/mask.png");
}

/* A limit on the size of files fails as a full disk does, here while pixels are written (the writer
 * gathers 256 KiB) and at the end. */
static void survives_a_full_disk(void **state)
{
    (void)state;
    unet_image noise;
    unet_error error = {0};
    struct rlimit old;
    uint64_t random = 8;
    char path[4200];
    snprintf(path, sizeof path, "%s", temporary_path("full.png"));
    assert_ok(unet_image_new(700, 700, 1, 8, &noise, &error), &error);
    for (int i = 0; i < 700 * 700; i++)
        ((uint8_t *)noise.pixels)[i] = (uint8_t)random_next(&random);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    struct rlimit small = {.rlim_cur = 100, .rlim_max = old.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    unet_status large = unet_mask_save(path, &noise, &error);
    unet_status little = unet_mask_save(path, &mask, NULL);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    assert_error(large, UNET_ERROR_OUTPUT, &error, "full.png");
    assert_int_equal(little, UNET_ERROR_OUTPUT);
    assert_int_not_equal(access(path, F_OK), 0);
    unet_image_clear(&noise);
}

/* Nothing is left of what failed. */
static void survives_lack_of_memory(void **state)
{
    (void)state;
    char folder[4200], path[4300];
    snprintf(folder, sizeof folder, "%s/memory", temporary_folder());
    assert_int_equal(mkdir(folder, 0777), 0);
    snprintf(path, sizeof path, "%s/mask.png", folder);
    unet_status status = UNET_ERROR_MEMORY;
    for (long n = 0; status != UNET_OK; n++) {
        unet_error error = {0};
        memory_fail_after(n);
        status = unet_overlay_save(path, &rgb, &mask, &error);
        memory_fail_after(-1);
        if (status == UNET_OK) {
            assert_true(n > 5);
        } else {
            assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
            assert_int_equal(rmdir(folder), 0); /* it is empty */
            assert_int_equal(mkdir(folder, 0777), 0);
        }
    }
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

static void colors_differ(void **state)
{
    (void)state;
    uint8_t colors[256][3];
    for (int i = 0; i < 256; i++)
        unet_class_color(i, colors[i]);
    static const uint8_t black[3] = {0, 0, 0};
    assert_memory_equal(colors[0], black, 3);
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < a; b++) {
            int distance = 0;
            for (int c = 0; c < 3; c++)
                distance += (colors[a][c] - colors[b][c]) * (colors[a][c] - colors[b][c]);
            int least = a <= 20 ? 40 : 20;
            if (distance < least * least)
                fail_msg("the colours of %d and %d are too near", a, b);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saves_masks),
        cmocka_unit_test(saves_colors),
        cmocka_unit_test(saves_overlays),
        cmocka_unit_test(saves_values),
        cmocka_unit_test(refuses_what_does_not_fit),
        cmocka_unit_test(refuses_paths),
        cmocka_unit_test(survives_a_full_disk),
        cmocka_unit_test(survives_lack_of_memory),
        cmocka_unit_test(colors_differ),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
