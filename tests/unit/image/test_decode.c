/* Decoding against what Pillow makes of the same files, and files that are broken in every way. */
#include "golden.h"

#include "base/memory.h"

#include <sys/stat.h>

static struct golden_file image_file(const char *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "tests/golden/%s/%s", folder, name);
    return golden_read(repository_path(path));
}

/* Pillow's convert('L'), spelled out. */
static unsigned luma(unsigned red, unsigned green, unsigned blue)
{
    return (19595 * red + 38470 * green + 7471 * blue + 32768) / 65536;
}

static unsigned sample(const unet_image *image, size_t pixel, int channel)
{
    size_t index = pixel * (size_t)image->channels + (size_t)(image->channels == 3 ? channel : 0);
    return image->bits == 8 ? ((const uint8_t *)image->pixels)[index]
                            : ((const uint16_t *)image->pixels)[index];
}

static bool same_pixel(const unet_image *image, size_t pixel, const char *kind,
                       const struct golden_array *known)
{
    const uint8_t *bytes = known->data;
    const uint16_t *words = known->data;
    if (strcmp(kind, "grey") == 0)
        return bytes[pixel] == (image->channels == 1
                                    ? sample(image, pixel, 0)
                                    : luma(sample(image, pixel, 0), sample(image, pixel, 1),
                                           sample(image, pixel, 2)));
    for (int c = 0; c < image->channels; c++) {
        size_t at = pixel * (size_t)known->shape[2] + (size_t)c;
        if (sample(image, pixel, c) != (strcmp(kind, "rgb") == 0 ? bytes[at] : words[at]))
            return false;
    }
    return true;
}

static void compare(const char *name, const char *answer, const char *kind)
{
    struct golden_file file = image_file("images", name);
    struct golden_array known = golden_array("images", answer);
    unet_image image = {0};
    unet_error error = {0};
    assert_ok(unet_image_decode(file.bytes, file.size, name, &image, &error), &error);
    assert_int_equal(image.height, known.shape[0]);
    assert_int_equal(image.width, known.shape[1]);
    assert_int_equal(image.bits, strcmp(kind, "u16") == 0 ? 16 : 8);
    if (strcmp(kind, "u16") == 0)
        assert_int_equal(image.channels, known.shape[2] >= 3 ? 3 : 1);
    for (size_t i = 0; i < (size_t)(image.width * image.height); i++) {
        if (!same_pixel(&image, i, kind, &known))
            fail_msg("%s (%s): pixel %zu differs", name, kind, i);
    }
    unet_image_clear(&image);
    golden_free(&known);
    free(file.bytes);
}

static void equals_pillow(void **state)
{
    (void)state;
    FILE *index = golden_index("images");
    char name[128], answer[128], kind[16];
    int cases = 0;
    while (fscanf(index, "%127s %127s %15s", name, answer, kind) == 3) {
        compare(name, answer, kind);
        cases++;
    }
    fclose(index);
    assert_true(cases >= 90);
}

/* Grey stays one channel; colour, and palettes whatever their colours, are three. */
static void keeps_channels(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int channels, label_channels;
    } cases[] = {
        {"png-grey1.png", 1, 1},    {"png-grey-alpha8.png", 1, 1}, {"png-rgb8.png", 3, 0},
        {"png-palette4.png", 3, 1}, {"jpeg-grey.jpg", 1, 1},       {"jpeg-cmyk.jpg", 3, 0},
        {"tiff-grey8.tif", 1, 1},   {"tiff-palette8.tif", 3, 1},   {"png-grey16.png", 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[256];
        snprintf(path, sizeof path, "tests/golden/images/%s", cases[i].name);
        unet_image image = {0}, label = {0};
        unet_error error = {0};
        assert_ok(unet_image_load(repository_path(path), &image, &error), &error);
        assert_int_equal(image.channels, cases[i].channels);
        unet_status status = unet_label_load(repository_path(path), &label, &error);
        if (cases[i].label_channels == 0) {
            assert_error(status, UNET_ERROR_INPUT, &error, "label");
            assert_null(label.pixels);
        } else {
            assert_ok(status, &error);
            assert_int_equal(label.channels, 1);
            assert_int_equal(label.bits, 8);
        }
        unet_image_clear(&image);
        unet_image_clear(&label);
    }
}

/* A palette image as a label gives numbers whose colours are the image's. */
static void labels_are_indices(void **state)
{
    (void)state;
    static const char *const names[] = {"png-palette1.png", "png-palette4-interlaced.png",
                                        "png-palette8-transparent.png", "tiff-palette8.tif"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[256];
        snprintf(path, sizeof path, "tests/golden/images/%s", names[i]);
        unet_image image, label;
        unet_error error = {0};
        assert_ok(unet_image_load(repository_path(path), &image, &error), &error);
        assert_ok(unet_label_load(repository_path(path), &label, &error), &error);
        const uint8_t *indices = label.pixels, *rgb = image.pixels;
        int first[256], distinct = 0;
        memset(first, -1, sizeof first);
        for (int p = 0; p < label.width * label.height; p++) {
            if (first[indices[p]] < 0) {
                first[indices[p]] = p;
                distinct++;
            }
            assert_memory_equal(rgb + 3 * p, rgb + 3 * first[indices[p]], 3);
        }
        assert_true(distinct >= 2);
        unet_image_clear(&image);
        unet_image_clear(&label);
    }
}

static void refuses_bad_files(void **state)
{
    (void)state;
    FILE *index = golden_index("bad-images");
    char name[128], word[128];
    int cases = 0;
    while (fscanf(index, "%127[^\t]\t%127[^\n]\n", name, word) == 2) {
        char path[256];
        snprintf(path, sizeof path, "tests/golden/bad-images/%s", name);
        unet_image image = {.width = -7};
        unet_error error = {0};
        unet_status status = unet_image_load(repository_path(path), &image, &error);
        assert_error(status, UNET_ERROR_INPUT, &error, word);
        assert_error(status, UNET_ERROR_INPUT, &error, name);
        assert_int_equal(image.width, -7);
        cases++;
    }
    fclose(index);
    assert_true(cases >= 12);
}

static void refuses_paths(void **state)
{
    (void)state;
    unet_image image;
    unet_error error = {0};
    assert_error(unet_image_load(temporary_path("none.png"), &image, &error), UNET_ERROR_INPUT,
                 &error, "none.png");
    assert_error(unet_image_load(temporary_folder(), &image, &error), UNET_ERROR_INPUT, &error,
                 "folder");
    assert_int_equal(unet_label_load(temporary_path("none.png"), &image, NULL), UNET_ERROR_INPUT);
}

static void decode_prefixes(const char *name)
{
    struct golden_file file = image_file("images", name);
    for (size_t size = 0; size < file.size; size++) {
        uint8_t *exact = malloc(size + 1); /* a sanitizer sees a read beyond */
        memcpy(exact, file.bytes, size);
        unet_image image = {0};
        unet_error error = {0};
        unet_status status = unet_image_decode(exact, size, "cut", &image, &error);
        if (status != UNET_ERROR_INPUT)
            fail_msg("%s: its first %zu bytes were taken", name, size);
        assert_null(image.pixels);
        assert_non_null(strstr(error.message, "cut: "));
        free(exact);
    }
    free(file.bytes);
}

static void refuses_every_prefix(void **state)
{
    (void)state;
    static const char *const names[] = {
        "png-grey2-interlaced.png",   "png-palette4-transparent.png", "png-grey-alpha16.png",
        "jpeg-rgb-420.jpg",           "jpeg-progressive-grey.jpg",    "jpeg-rgb-restart.jpg",
        "jpeg-rgb-420-dot.jpg",       "tiff-grey8-lzw.tif",           "tiff-rgb8-deflate.tif",
        "tiff-grey8-packbits.tif",    "tiff-bilevel-fax4.tif",        "tiff-grey16-big-endian.tif",
        "tiff-rgb8-tiles-deflate.tif"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        decode_prefixes(names[i]);
}

/* Any damage gives an image or an error, and neither leaks, prints nor crashes. */
static void survives_flips(void **state)
{
    (void)state;
    uint64_t random = 4711;
    FILE *index = golden_index("images");
    char name[128], answer[128], kind[16];
    while (fscanf(index, "%127s %127s %15s", name, answer, kind) == 3) {
        struct golden_file file = image_file("images", name);
        for (int round = 0; round < 40; round++) {
            uint8_t *bytes = malloc(file.size);
            memcpy(bytes, file.bytes, file.size);
            for (int flips = 1 + round % 4; flips > 0; flips--)
                bytes[random_next(&random) % file.size] ^=
                    (uint8_t)(1u << random_next(&random) % 8);
            unet_image image = {0};
            unet_error error = {0};
            unet_status status = unet_image_decode(bytes, file.size, "flipped", &image, &error);
            if (status != UNET_OK) {
                assert_null(image.pixels);
                assert_true(status == UNET_ERROR_INPUT || status == UNET_ERROR_MEMORY);
                assert_null(strchr(error.message, '\n'));
            }
            unet_image_clear(&image);
            free(bytes);
        }
        free(file.bytes);
    }
    fclose(index);
}

/* libjpeg would go on with grey where the data of a complete file is missing. */
static void refuses_jpeg_with_holes(void **state)
{
    (void)state;
    struct golden_file file = image_file("images", "jpeg-rgb-444.jpg");
    size_t half = file.size / 2;
    while (file.bytes[half - 1] == 0xff || file.bytes[half] == 0xff)
        half++;
    memcpy(file.bytes + half, "\xff\xd9", 2); /* the end, too early */
    unet_image image;
    unet_error error = {0};
    assert_error(unet_image_decode(file.bytes, half + 2, "hole.jpg", &image, &error),
                 UNET_ERROR_INPUT, &error, "broken JPEG");
    free(file.bytes);
}

/* Where the marker of this kind, or the next one that is not part of coded data, begins. */
static size_t find_marker(const struct golden_file *file, size_t from, int kind)
{
    for (size_t i = from; i + 1 < file->size; i++) {
        if (file->bytes[i] == 0xff &&
            (kind != 0 ? file->bytes[i + 1] == kind : file->bytes[i + 1] != 0))
            return i;
    }
    fail_msg("the file has no such marker");
    return 0;
}

static unet_status decode_repeated(const struct golden_file *file, size_t scan, size_t end,
                                   size_t rounds)
{
    size_t length = end - scan, size = file->size + rounds * length;
    uint8_t *bytes = malloc(size);
    memcpy(bytes, file->bytes, end);
    for (size_t i = 0; i < rounds; i++)
        memcpy(bytes + end + i * length, file->bytes + scan, length);
    memcpy(bytes + end + rounds * length, file->bytes + end, file->size - end);
    unet_image image = {0};
    unet_error error = {0};
    unet_status status = unet_image_decode(bytes, size, "repeated.jpg", &image, &error);
    if (status != UNET_OK)
        assert_error(status, UNET_ERROR_INPUT, &error, "more scans than");
    unet_image_clear(&image);
    free(bytes);
    return status;
}

/* A scan of a few bytes costs a pass over the picture; here is a file of thousands. The first scan
 * of a progressive file may be repeated: it sets the same coefficients again. */
static void refuses_endless_scans(void **state)
{
    (void)state;
    struct golden_file file = image_file("images", "jpeg-progressive-grey.jpg");
    size_t scan = find_marker(&file, 2, 0xda), end = find_marker(&file, scan + 2, 0);
    assert_int_equal(decode_repeated(&file, scan, end, 5), UNET_OK); /* a few are no harm */
    assert_int_equal(decode_repeated(&file, scan, end, 2000), UNET_ERROR_INPUT);
    free(file.bytes);
}

static uint32_t crc32_of(const uint8_t *bytes, size_t count)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void refuse_bomb(const struct golden_file *file, const char *name)
{
    unet_image image;
    unet_error error = {0};
    assert_error(unet_image_decode(file->bytes, file->size, name, &image, &error), UNET_ERROR_INPUT,
                 &error, "too few bytes");
    free(file->bytes);
}

/* A few bytes that promise a huge picture are refused before memory is taken for it. */
static void bounds_bombs(void **state)
{
    (void)state;
    struct golden_file jpeg = image_file("images", "jpeg-grey.jpg");
    memcpy(jpeg.bytes + find_marker(&jpeg, 2, 0xc0) + 5, "\x3f\xff\x3f\xff", 4);
    refuse_bomb(&jpeg, "bomb.jpg");
    struct golden_file png = image_file("images", "png-grey8.png");
    memcpy(png.bytes + 16, "\0\0\x3f\xff\0\0\x3f\xff", 8);
    uint32_t crc = crc32_of(png.bytes + 12, 17);
    for (int i = 0; i < 4; i++)
        png.bytes[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
    refuse_bomb(&png, "bomb.png");
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    static const char *const names[] = {
        "png-palette4.png", "png-rgb16.png",     "jpeg-rgb-420.jpg",      "jpeg-cmyk.jpg",
        "tiff-rgba8.tif",   "tiff-palette8.tif", "tiff-orientation-6.tif"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct golden_file file = image_file("images", names[i]);
        unet_status status = UNET_ERROR_MEMORY;
        for (long n = 0; status != UNET_OK; n++) {
            unet_image image = {0};
            unet_error error = {0};
            memory_fail_after(n);
            status = unet_image_decode(file.bytes, file.size, names[i], &image, &error);
            memory_fail_after(-1);
            if (status == UNET_OK)
                assert_true(n > 0);
            else
                assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
            unet_image_clear(&image);
        }
        free(file.bytes);
    }
}

static void knows_names(void **state)
{
    (void)state;
    assert_true(unet_is_image_name("a.png"));
    assert_true(unet_is_image_name("x/y.z/B.JPeG"));
    assert_true(unet_is_image_name("a.b.tif"));
    assert_true(unet_is_image_name("/a.TIFF"));
    assert_true(unet_is_image_name("a.jpg"));
    assert_false(unet_is_image_name("a.jpg/b"));
    assert_false(unet_is_image_name(".png"));
    assert_false(unet_is_image_name("x/.png"));
    assert_false(unet_is_image_name("png"));
    assert_false(unet_is_image_name("a.png2"));
    assert_false(unet_is_image_name("a.npy"));
    assert_false(unet_is_image_name(""));
}

static void makes_images(void **state)
{
    (void)state;
    unet_image image;
    unet_error error = {0};
    assert_ok(unet_image_new(3, 2, 3, 16, &image, &error), &error);
    static const uint16_t zeros[18];
    assert_memory_equal(image.pixels, zeros, sizeof zeros);
    unet_image_clear(&image);
    assert_null(image.pixels);
    assert_int_equal(image.width, 0);
    unet_image_clear(&image);
    unet_image_clear(NULL);
    static const int bad[][4] = {{0, 1, 1, 8},  {1, -1, 1, 8},      {32769, 1, 1, 8},
                                 {1, 1, 0, 8},  {1, 1, 17, 8},      {1, 1, 1, 12},
                                 {1, 1, 1, 32}, {32768, 8193, 1, 8}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_error(unet_image_new(bad[i][0], bad[i][1], bad[i][2], bad[i][3], &image, &error),
                     UNET_ERROR_USAGE, &error, "image");
    memory_fail_after(0);
    unet_status status = unet_image_new(1, 1, 1, 8, &image, &error);
    memory_fail_after(-1);
    assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_pillow),
        cmocka_unit_test(keeps_channels),
        cmocka_unit_test(labels_are_indices),
        cmocka_unit_test(refuses_bad_files),
        cmocka_unit_test(refuses_paths),
        cmocka_unit_test(refuses_every_prefix),
        cmocka_unit_test(survives_flips),
        cmocka_unit_test(refuses_jpeg_with_holes),
        cmocka_unit_test(refuses_endless_scans),
        cmocka_unit_test(bounds_bombs),
        cmocka_unit_test(survives_lack_of_memory),
        cmocka_unit_test(knows_names),
        cmocka_unit_test(makes_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
