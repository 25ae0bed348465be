/* Resizing against Pillow's recordings, and against sums in double precision at random sizes. */
#include "golden.h"

#include "base/memory.h"

#include <math.h>

static unet_image view(const struct golden_array *array)
{
    return (unet_image){.width = array->shape[1],
                        .height = array->shape[0],
                        .channels = array->shape[2],
                        .bits = 8,
                        .pixels = (void *)array->data};
}

static void compare_bytes(const struct golden_array *source, const struct golden_array *known,
                          const char *name)
{
    unet_image image = view(source), out = {0};
    unet_error error = {0};
    assert_ok(unet_image_resize(&image, known->shape[1], known->shape[0], &out, &error), &error);
    if (memcmp(out.pixels, known->data, known->bytes) != 0)
        fail_msg("%s differs from Pillow's", name);
    unet_image_clear(&out);
}

/* The floats are n / 65535, so 16-bit pixels hold them exactly; ours are rounded at the end, and
 * stay within 0 to 65535 where Pillow's floats overshoot. */
static void compare_floats(const struct golden_array *source, const struct golden_array *known,
                           const char *name)
{
    const float *values = source->data, *expected = known->data;
    size_t count = source->bytes / sizeof *values;
    uint16_t *pixels = malloc(count * sizeof *pixels);
    for (size_t i = 0; i < count; i++)
        pixels[i] = (uint16_t)lrintf(values[i] * 65535.0f);
    unet_image image = view(source), out = {0};
    image.bits = 16;
    image.pixels = pixels;
    unet_error error = {0};
    assert_ok(unet_image_resize(&image, known->shape[1], known->shape[0], &out, &error), &error);
    const uint16_t *got = out.pixels;
    for (size_t i = 0; i < known->bytes / sizeof *expected; i++) {
        double wanted = fmin(fmax(expected[i] * 65535.0, 0), 65535);
        if (fabs(got[i] - wanted) > 0.51)
            fail_msg("%s: value %zu is %d, not %f", name, i, got[i], wanted);
    }
    unet_image_clear(&out);
    free(pixels);
}

static void equals_pillow(void **state)
{
    (void)state;
    FILE *index = golden_index("resize");
    char source_name[128], result_name[128];
    int bytes = 0, floats = 0;
    while (fscanf(index, "%127s %127s", source_name, result_name) == 2) {
        struct golden_array source = golden_array("resize", source_name);
        struct golden_array known = golden_array("resize", result_name);
        if (strcmp(source.type, "u1") == 0) {
            compare_bytes(&source, &known, result_name);
            bytes++;
        } else {
            compare_floats(&source, &known, result_name);
            floats++;
        }
        golden_free(&source);
        golden_free(&known);
    }
    fclose(index);
    assert_true(bytes >= 26 && floats >= 3);
}

/* Keys' kernel with a = −1/2 in another form than the library's. */
static double kernel(double x)
{
    double d = fabs(x);
    if (d >= 2)
        return 0;
    return d < 1 ? 1.5 * d * d * d - 2.5 * d * d + 1 : -0.5 * d * d * d + 2.5 * d * d - 4 * d + 2;
}

static double weighted(const double *values, int count, int step, int out, int out_count)
{
    double scale = (double)count / out_count, stretch = fmax(scale, 1);
    double center = (out + 0.5) * scale, sum = 0, weights = 0;
    for (int i = 0; i < count; i++) {
        double weight = kernel((i + 0.5 - center) / stretch);
        sum += weight * values[(size_t)i * (size_t)step];
        weights += weight;
    }
    return sum / weights;
}

/* One channel in doubles, without rounding between the passes. */
static void exact_resize(const double *in, int width, int height, double *out, int out_width,
                         int out_height)
{
    double *middle = malloc(sizeof *middle * (size_t)out_width * (size_t)height);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < out_width; x++)
            middle[y * out_width + x] = weighted(in + y * width, width, 1, x, out_width);
    }
    for (int y = 0; y < out_height; y++) {
        for (int x = 0; x < out_width; x++)
            out[y * out_width + x] = weighted(middle + x, height, out_width, y, out_height);
    }
    free(middle);
}

static void check_size(int width, int height, int out_width, int out_height, int channels, int bits,
                       uint64_t *random)
{
    unet_image image, out;
    unet_error error = {0};
    double in[40 * 40], expected[60 * 60];
    /* 8 bits are limited after each pass too, so they keep away from the ends. */
    unsigned low = bits == 8 ? 90 : 0, span = bits == 8 ? 76 : 65536;
    assert_ok(unet_image_new(width, height, channels, bits, &image, &error), &error);
    size_t count = (size_t)(width * height * channels);
    for (size_t i = 0; i < count; i++) {
        unsigned value = low + (unsigned)(random_next(random) >> 20) % span;
        if (bits == 8)
            ((uint8_t *)image.pixels)[i] = (uint8_t)value;
        else
            ((uint16_t *)image.pixels)[i] = (uint16_t)value;
    }
    assert_ok(unet_image_resize(&image, out_width, out_height, &out, &error), &error);
    for (int c = 0; c < channels; c++) {
        for (int i = 0; i < width * height; i++)
            in[i] = bits == 8 ? ((uint8_t *)image.pixels)[i * channels + c]
                              : ((uint16_t *)image.pixels)[i * channels + c];
        exact_resize(in, width, height, expected, out_width, out_height);
        for (int i = 0; i < out_width * out_height; i++) {
            double got = bits == 8 ? ((uint8_t *)out.pixels)[i * channels + c]
                                   : ((uint16_t *)out.pixels)[i * channels + c];
            double wanted = fmin(fmax(expected[i], 0), 65535);
            if (fabs(got - wanted) > (bits == 8 ? 1.25 : 0.51)) /* rounded twice, or once */
                fail_msg("%d×%d to %d×%d: %f, not %f", width, height, out_width, out_height, got,
                         wanted);
        }
    }
    unet_image_clear(&image);
    unet_image_clear(&out);
}

static void follows_the_kernel(void **state)
{
    (void)state;
    uint64_t random = 99;
    for (int round = 0; round < 300; round++) {
        int width = 1 + (int)(random_next(&random) % 40),
            height = 1 + (int)(random_next(&random) % 40);
        int out_width = 1 + (int)(random_next(&random) % 60);
        int out_height = 1 + (int)(random_next(&random) % 60);
        check_size(width, height, out_width, out_height, round % 5 ? (round % 2 ? 3 : 1) : 4,
                   round % 3 ? 16 : 8, &random);
    }
}

/* A flat image stays flat whatever the size, and an equal size changes nothing. */
static void keeps_what_must_stay(void **state)
{
    (void)state;
    uint64_t random = 5;
    unet_error error = {0};
    for (int bits = 8; bits <= 16; bits += 8) {
        unet_image image, out;
        assert_ok(unet_image_new(31, 17, 3, bits, &image, &error), &error);
        size_t bytes = (size_t)(31 * 17 * 3 * bits / 8);
        for (size_t i = 0; i < bytes; i++)
            ((uint8_t *)image.pixels)[i] = (uint8_t)random_next(&random);
        assert_ok(unet_image_resize(&image, 31, 17, &out, &error), &error);
        assert_memory_equal(image.pixels, out.pixels, bytes);
        unet_image_clear(&out);
        memset(image.pixels, 201, bytes);
        assert_ok(unet_image_resize(&image, 77, 5, &out, &error), &error);
        for (size_t i = 0; i < (size_t)(77 * 5 * 3 * bits / 8); i++)
            assert_int_equal(((uint8_t *)out.pixels)[i], 201);
        unet_image_clear(&out);
        unet_image_clear(&image);
    }
}

static void resize_in_order(const unet_image *image, int width, int height, bool rows_first,
                            unet_image *out)
{
    unet_image middle;
    unet_error error = {0};
    int middle_width = rows_first ? width : image->width;
    int middle_height = rows_first ? image->height : height;
    assert_ok(unet_image_resize(image, middle_width, middle_height, &middle, &error), &error);
    assert_ok(unet_image_resize(&middle, width, height, out, &error), &error);
    unet_image_clear(&middle);
}

/* Rows are resized first, unless more than twice as much height is lost as width. The two orders
 * round differently, which is how they are told apart. */
static void chooses_the_order(void **state)
{
    (void)state;
    static const struct {
        int width, height;
        bool rows_first;
    } cases[] = {{10, 40, true},  {10, 39, false}, {10, 41, true},  {20, 59, true},
                 {25, 59, false}, {25, 61, true},  {30, 30, false}, {10, 90, true}};
    uint64_t random = 1;
    unet_image image;
    unet_error error = {0};
    assert_ok(unet_image_new(20, 60, 1, 8, &image, &error), &error);
    for (int i = 0; i < 20 * 60; i++)
        ((uint8_t *)image.pixels)[i] = random_next(&random) >> 40 & 1 ? 255 : 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int width = cases[i].width, height = cases[i].height;
        unet_image out, same, other;
        assert_ok(unet_image_resize(&image, width, height, &out, &error), &error);
        resize_in_order(&image, width, height, cases[i].rows_first, &same);
        resize_in_order(&image, width, height, !cases[i].rows_first, &other);
        size_t bytes = (size_t)(width * height);
        assert_memory_equal(out.pixels, same.pixels, bytes);
        if (width != 20)
            assert_memory_not_equal(out.pixels, other.pixels, bytes);
        unet_image_clear(&out);
        unet_image_clear(&same);
        unet_image_clear(&other);
    }
    unet_image_clear(&image);
}

static void refuses_bad_arguments(void **state)
{
    (void)state;
    uint8_t pixels[4] = {0};
    unet_image image = {.width = 2, .height = 2, .channels = 1, .bits = 8, .pixels = pixels};
    unet_image out = {0};
    unet_error error = {0};
    assert_error(unet_image_resize(&image, 0, 1, &out, &error), UNET_ERROR_USAGE, &error, "0×1");
    assert_error(unet_image_resize(&image, 1, 32769, &out, &error), UNET_ERROR_USAGE, &error,
                 "32769");
    assert_error(unet_image_resize(&image, 32768, 8193, &out, &error), UNET_ERROR_USAGE, &error,
                 "pixels");
    assert_error(unet_image_resize(NULL, 1, 1, &out, &error), UNET_ERROR_USAGE, &error, "pixels");
    image.channels = 17;
    assert_error(unet_image_resize(&image, 1, 1, &out, &error), UNET_ERROR_USAGE, &error,
                 "17 channels");
    assert_null(out.pixels);
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    uint8_t pixels[12] = {0};
    unet_image image = {.width = 3, .height = 4, .channels = 1, .bits = 8, .pixels = pixels};
    unet_status status = UNET_ERROR_MEMORY;
    for (long n = 0; status != UNET_OK; n++) {
        unet_image out = {0};
        unet_error error = {0};
        memory_fail_after(n);
        status = unet_image_resize(&image, 7, 7, &out, &error);
        memory_fail_after(-1);
        if (status == UNET_OK)
            assert_int_equal(n, 10); /* four arrays an axis, two images */
        else
            assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
        unet_image_clear(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_pillow),        cmocka_unit_test(follows_the_kernel),
        cmocka_unit_test(keeps_what_must_stay), cmocka_unit_test(refuses_bad_arguments),
        cmocka_unit_test(chooses_the_order),    cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
