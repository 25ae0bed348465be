/* Kinds of TIFF that Pillow does not read, or not as they are meant: written here byte by byte. */
#include "golden.h"

enum { SHORT = 3, LONG = 4 };

enum {
    WIDTH = 256,
    HEIGHT,
    BITS,
    COMPRESSION,
    PHOTOMETRIC = 262,
    OFFSETS = 273,
    ORIENTATION,
    SAMPLES = 277,
    ROWS,
    COUNTS,
    PLANAR = 284,
    COLORS = 320,
    TILE_WIDTH = 322,
    TILE_HEIGHT,
    EXTRA = 338,
    FORMAT,
    YCBCR_SUBSAMPLING = 530,
};

/* One page: a header, the pixels, a directory of at most 16 entries, palettes behind it. */
struct tiff {
    uint8_t bytes[8192];
    size_t size;
    int entries;
    uint8_t directory[16 * 12];
    uint8_t colors[1536];
    size_t color_bytes;
};

static void put(uint8_t *bytes, uint32_t value, int count)
{
    for (int i = 0; i < count; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
}

/* Tags must be set in rising order. */
static void set(struct tiff *tiff, int tag, int type, uint32_t count, uint32_t value)
{
    uint8_t *entry = tiff->directory + 12 * tiff->entries++;
    put(entry, (uint32_t)tag, 2);
    put(entry + 2, (uint32_t)type, 2);
    put(entry + 4, count, 4);
    put(entry + 8, value, 4);
}

static void begin(struct tiff *tiff, int width, int height, int bits, int photometric,
                  const void *pixels, size_t bytes)
{
    memset(tiff, 0, sizeof *tiff);
    memcpy(tiff->bytes, "II*\0", 4);
    tiff->size = 8 + bytes;
    memcpy(tiff->bytes + 8, pixels, bytes);
    set(tiff, WIDTH, LONG, 1, (uint32_t)width);
    set(tiff, HEIGHT, LONG, 1, (uint32_t)height);
    set(tiff, BITS, SHORT, 1, (uint32_t)bits); /* libtiff takes it for all samples */
    set(tiff, COMPRESSION, SHORT, 1, 1);
    set(tiff, PHOTOMETRIC, SHORT, 1, (uint32_t)photometric);
    set(tiff, OFFSETS, LONG, 1, 8);
}

static void set_strip(struct tiff *tiff, int samples, int rows, size_t bytes)
{
    set(tiff, SAMPLES, SHORT, 1, (uint32_t)samples);
    set(tiff, ROWS, LONG, 1, (uint32_t)rows);
    set(tiff, COUNTS, LONG, 1, (uint32_t)bytes);
}

static void end(struct tiff *tiff)
{
    size_t start = tiff->size, directory = (size_t)tiff->entries * 12;
    put(tiff->bytes + 4, (uint32_t)start, 4);
    put(tiff->bytes + start, (uint32_t)tiff->entries, 2);
    for (int i = 0; i < tiff->entries; i++) {
        uint8_t *entry = tiff->directory + 12 * i;
        if (entry[0] == (COLORS & 255) && entry[1] == COLORS >> 8)
            put(entry + 8, (uint32_t)(start + 2 + directory + 4), 4);
    }
    memcpy(tiff->bytes + start + 2, tiff->directory, directory);
    put(tiff->bytes + start + 2 + directory, 0, 4);
    tiff->size = start + 2 + directory + 4;
    memcpy(tiff->bytes + tiff->size, tiff->colors, tiff->color_bytes);
    tiff->size += tiff->color_bytes;
}

/* One strip. `extra` −1: the tag is not there. */
static void make(struct tiff *tiff, int width, int height, int bits, int samples, int photometric,
                 int extra, const void *pixels, size_t bytes)
{
    begin(tiff, width, height, bits, photometric, pixels, bytes);
    set_strip(tiff, samples, height, bytes);
    if (extra >= 0)
        set(tiff, EXTRA, SHORT, 1, (uint32_t)extra);
    end(tiff);
}

static unet_image decode(const struct tiff *tiff)
{
    unet_image image = {0};
    unet_error error = {0};
    assert_ok(unet_image_decode(tiff->bytes, tiff->size, "made.tif", &image, &error), &error);
    return image;
}

static void assert_pixels(unet_image image, int channels, int bits, const void *pixels)
{
    assert_int_equal(image.channels, channels);
    assert_int_equal(image.bits, bits);
    assert_memory_equal(image.pixels, pixels,
                        (size_t)(image.width * image.height * channels * bits / 8));
    unet_image_clear(&image);
}

/* Pillow reads these as if black were 0. */
static void turns_16_bit_min_is_white(void **state)
{
    (void)state;
    static const uint16_t in[6] = {0, 1, 65535, 4096, 258, 9},
                          out[6] = {65535, 65534, 0, 61439, 65277, 65526};
    struct tiff tiff;
    make(&tiff, 3, 2, 16, 1, 0, -1, in, sizeof in);
    assert_pixels(decode(&tiff), 1, 16, out);
}

static void unpacks_12_bits(void **state)
{
    (void)state;
    /* Rows of three samples: 4.5 bytes, so the second begins at a byte of its own. */
    static const uint8_t in[10] = {0x12, 0x3a, 0xbc, 0xff, 0xf0, 0x00, 0x0f, 0xed, 0x80, 0x10};
    static const uint16_t out[6] = {0x123, 0xabc, 0xfff, 0x000, 0xfed, 0x801};
    struct tiff tiff;
    make(&tiff, 3, 2, 12, 1, 1, -1, in, sizeof in);
    assert_pixels(decode(&tiff), 1, 16, out);
    static const uint16_t turned[6] = {0xedc, 0x543, 0x000, 0xfff, 0x012, 0x7fe};
    make(&tiff, 3, 2, 12, 1, 0, -1, in, sizeof in);
    assert_pixels(decode(&tiff), 1, 16, turned);
}

static void widens_narrow_grey(void **state)
{
    (void)state;
    static const uint8_t two[1] = {0x1b}, four[1] = {0x5c};
    static const uint8_t two_out[4] = {0, 85, 170, 255}, two_white[4] = {255, 170, 85, 0};
    static const uint8_t four_out[2] = {85, 204}, four_white[2] = {170, 51};
    struct tiff tiff;
    make(&tiff, 4, 1, 2, 1, 1, -1, two, 1);
    assert_pixels(decode(&tiff), 1, 8, two_out);
    make(&tiff, 4, 1, 2, 1, 0, -1, two, 1);
    assert_pixels(decode(&tiff), 1, 8, two_white);
    make(&tiff, 2, 1, 4, 1, 1, -1, four, 1);
    assert_pixels(decode(&tiff), 1, 8, four_out);
    make(&tiff, 2, 1, 4, 1, 0, -1, four, 1);
    assert_pixels(decode(&tiff), 1, 8, four_white);
}

/* Colours that were multiplied by alpha are divided by it; other alpha is dropped. */
static void divides_by_premultiplied_alpha(void **state)
{
    (void)state;
    static const uint8_t rgba[12] = {10, 20, 30, 100, 1, 2, 3, 0, 200, 100, 7, 255};
    static const uint8_t divided[9] = {25, 51, 76, 0, 0, 0, 200, 100, 7};
    static const uint8_t dropped[9] = {10, 20, 30, 1, 2, 3, 200, 100, 7};
    struct tiff tiff;
    make(&tiff, 3, 1, 8, 4, 2, 1, rgba, sizeof rgba);
    assert_pixels(decode(&tiff), 3, 8, divided);
    for (int extra = -1; extra <= 2; extra++) {
        if (extra == 1)
            continue;
        make(&tiff, 3, 1, 8, 4, 2, extra, rgba, sizeof rgba);
        assert_pixels(decode(&tiff), 3, 8, dropped);
    }
    static const uint16_t grey[6] = {1000, 2000, 60000, 30000, 5, 0};
    static const uint16_t grey_divided[3] = {32767, 65535, 0};
    make(&tiff, 3, 1, 16, 2, 1, 1, grey, sizeof grey);
    assert_pixels(decode(&tiff), 1, 16, grey_divided);
    static const uint8_t grey8[4] = {50, 100, 9, 9}, grey8_dropped[2] = {50, 9};
    make(&tiff, 2, 1, 8, 2, 1, 2, grey8, sizeof grey8);
    assert_pixels(decode(&tiff), 1, 8, grey8_dropped);
}

static void turns_by_orientation(void **state)
{
    (void)state;
    static const uint8_t pixels[6] = {0, 1, 2, 3, 4, 5}; /* 3 × 2 */
    static const uint8_t turned[9][6] = {
        {0, 1, 2, 3, 4, 5}, {0, 1, 2, 3, 4, 5}, {2, 1, 0, 5, 4, 3},
        {5, 4, 3, 2, 1, 0}, {3, 4, 5, 0, 1, 2}, {0, 3, 1, 4, 2, 5},
        {3, 0, 4, 1, 5, 2}, {5, 2, 4, 1, 3, 0}, {2, 5, 1, 4, 0, 3}};
    for (int orientation = 1; orientation <= 8; orientation++) {
        struct tiff tiff;
        begin(&tiff, 3, 2, 8, 1, pixels, sizeof pixels);
        set(&tiff, ORIENTATION, SHORT, 1, (uint32_t)orientation);
        set_strip(&tiff, 1, 2, sizeof pixels);
        end(&tiff);
        unet_image image = decode(&tiff);
        assert_int_equal(image.width, orientation >= 5 ? 2 : 3);
        assert_pixels(image, 1, 8, turned[orientation]);
    }
}

static void make_palette(struct tiff *tiff, int bits, const void *pixels, size_t bytes, int width)
{
    begin(tiff, width, 1, bits, 3, pixels, bytes);
    set_strip(tiff, 1, 1, bytes);
    int count = 1 << bits;
    set(tiff, COLORS, SHORT, 3u << bits, 0);
    for (int i = 0; i < count; i++) {
        put(tiff->colors + 2 * i, (uint32_t)(i << 8 | 0xff), 2); /* the high byte counts */
        put(tiff->colors + 2 * (count + i), 0x1000u + (uint32_t)i, 2);
        put(tiff->colors + 2 * (2 * count + i), 0xfe00u, 2);
    }
    tiff->color_bytes = 6u << bits;
    end(tiff);
}

static void looks_up_palettes(void **state)
{
    (void)state;
    static const uint8_t packed[1] = {0x1b}, whole[3] = {255, 0, 7};
    struct tiff tiff;
    make_palette(&tiff, 2, packed, 1, 4);
    unet_image image = decode(&tiff);
    const uint8_t *rgb = image.pixels;
    assert_int_equal(rgb[1], 0x10);
    assert_int_equal(rgb[2], 0xfe);
    assert_int_equal(rgb[0], 0);
    assert_int_equal(rgb[9], 3);
    unet_image_clear(&image);
    make_palette(&tiff, 8, whole, 3, 3);
    image = decode(&tiff);
    rgb = image.pixels;
    assert_int_equal(rgb[0], 255);
    assert_int_equal(rgb[1], (0x1000 + 255) >> 8);
    assert_int_equal(rgb[6], 7);
    unet_image_clear(&image);
}

/* Planes of a tile each, cut at both edges. */
static void joins_planar_tiles(void **state)
{
    (void)state;
    uint8_t planes[3 * 256];
    for (int plane = 0; plane < 3; plane++) {
        for (int i = 0; i < 256; i++)
            planes[256 * plane + i] = (uint8_t)(i * 3 + plane * 50);
    }
    struct tiff tiff;
    memset(&tiff, 0, sizeof tiff);
    memcpy(tiff.bytes, "II*\0", 4);
    memcpy(tiff.bytes + 8, planes, sizeof planes);
    put(tiff.bytes + 8 + 768, 8, 4); /* offsets and lengths of the three tiles */
    put(tiff.bytes + 8 + 772, 8 + 256, 4);
    put(tiff.bytes + 8 + 776, 8 + 512, 4);
    for (int i = 0; i < 3; i++)
        put(tiff.bytes + 8 + 780 + 4 * i, 256, 4);
    tiff.size = 8 + 768 + 24;
    set(&tiff, WIDTH, LONG, 1, 5);
    set(&tiff, HEIGHT, LONG, 1, 7);
    set(&tiff, BITS, SHORT, 1, 8);
    set(&tiff, COMPRESSION, SHORT, 1, 1);
    set(&tiff, PHOTOMETRIC, SHORT, 1, 2);
    set(&tiff, SAMPLES, SHORT, 1, 3);
    set(&tiff, PLANAR, SHORT, 1, 2);
    set(&tiff, TILE_WIDTH, LONG, 1, 16);
    set(&tiff, TILE_HEIGHT, LONG, 1, 16);
    set(&tiff, 324, LONG, 3, 8 + 768);
    set(&tiff, 325, LONG, 3, 8 + 780);
    end(&tiff);
    uint8_t expected[5 * 7 * 3];
    for (int y = 0; y < 7; y++) {
        for (int x = 0; x < 5; x++) {
            for (int c = 0; c < 3; c++)
                expected[(y * 5 + x) * 3 + c] = planes[256 * c + 16 * y + x];
        }
    }
    assert_pixels(decode(&tiff), 3, 8, expected);
}

static void refuse(const struct tiff *tiff, const char *word)
{
    unet_image image = {0};
    unet_error error = {0};
    assert_error(unet_image_decode(tiff->bytes, tiff->size, "made.tif", &image, &error),
                 UNET_ERROR_INPUT, &error, word);
    assert_error(UNET_ERROR_INPUT, UNET_ERROR_INPUT, &error, "made.tif");
    assert_null(image.pixels);
}

/* No ink is white; black ink alone hides the others. */
static void converts_cmyk(void **state)
{
    (void)state;
    static const uint8_t cmyk[16] = {0, 0, 0, 0, 255, 0, 0, 0, 100, 7, 200, 128, 1, 99, 255, 255};
    /* (255 − k) − round(c × (255 − k) / 255) */
    static const uint8_t out[12] = {255, 255, 255, 0, 255, 255, 77, 124, 27, 0, 0, 0};
    struct tiff tiff;
    make(&tiff, 2, 2, 8, 4, 5, -1, cmyk, sizeof cmyk);
    assert_pixels(decode(&tiff), 3, 8, out);
}

/* A JPEG file as the only strip: the same pixels as those of the file alone. */
static void reads_jpeg_strips(void **state)
{
    (void)state;
    struct golden_file jpeg = golden_read(repository_path("tests/golden/images/jpeg-rgb-420.jpg"));
    struct golden_array known = golden_array("images", "jpeg-rgb-420.rgb.npy");
    struct tiff tiff;
    begin(&tiff, known.shape[1], known.shape[0], 8, 6, jpeg.bytes, jpeg.size);
    put(tiff.directory + 12 * 3 + 8, 7, 2);
    set_strip(&tiff, 3, known.shape[0], jpeg.size);
    set(&tiff, YCBCR_SUBSAMPLING, SHORT, 2, 2u << 16 | 2);
    end(&tiff);
    assert_pixels(decode(&tiff), 3, 8, known.data);
    /* libtiff would warn of an early end, and fill it with grey */
    begin(&tiff, known.shape[1], known.shape[0], 8, 6, jpeg.bytes, jpeg.size - 100);
    put(tiff.directory + 12 * 3 + 8, 7, 2);
    set_strip(&tiff, 3, known.shape[0], jpeg.size - 100);
    set(&tiff, YCBCR_SUBSAMPLING, SHORT, 2, 2u << 16 | 2);
    end(&tiff);
    refuse(&tiff, "broken");
    golden_free(&known);
    free(jpeg.bytes);
}

static void make_tagged(struct tiff *tiff, int bits, int samples, int photometric, int tag,
                        uint32_t value)
{
    static const uint8_t pixels[256];
    begin(tiff, 4, 4, bits, photometric, pixels, sizeof pixels);
    set_strip(tiff, samples, 4, sizeof pixels);
    if (tag != 0)
        set(tiff, tag, SHORT, 1, value);
    end(tiff);
}

static void refuses_what_is_no_picture(void **state)
{
    (void)state;
    struct tiff tiff;
    make_tagged(&tiff, 32, 1, 1, FORMAT, 3);
    refuse(&tiff, "floating-point");
    make_tagged(&tiff, 16, 1, 1, FORMAT, 2);
    refuse(&tiff, "signed");
    make_tagged(&tiff, 32, 1, 1, 0, 0);
    refuse(&tiff, "32 bits");
    make_tagged(&tiff, 4, 3, 2, 0, 0);
    refuse(&tiff, "4 bits");
    make_tagged(&tiff, 8, 3, 8, 0, 0);
    refuse(&tiff, "colour space");
    make_tagged(&tiff, 8, 2, 2, 0, 0);
    refuse(&tiff, "2 samples");
    make_tagged(&tiff, 8, 1, 1, 0, 0);
    put(tiff.bytes + 8 + 256 + 2 + 3 * 12 + 8, 34892, 2);
    refuse(&tiff, "compression 34892");
}

static void refuse_offset(struct tiff *tiff, size_t offset)
{
    put(tiff->bytes + 8 + 256 + 2 + 5 * 12 + 8, (uint32_t)offset, 4);
    refuse(tiff, "broken");
}

static void refuses_strips_beyond_the_file(void **state)
{
    (void)state;
    struct tiff tiff;
    make_tagged(&tiff, 8, 1, 1, 0, 0);
    refuse_offset(&tiff, tiff.size - 15);
    refuse_offset(&tiff, tiff.size);
    refuse_offset(&tiff, 0xfffffff0u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_16_bit_min_is_white),
        cmocka_unit_test(unpacks_12_bits),
        cmocka_unit_test(widens_narrow_grey),
        cmocka_unit_test(divides_by_premultiplied_alpha),
        cmocka_unit_test(turns_by_orientation),
        cmocka_unit_test(looks_up_palettes),
        cmocka_unit_test(joins_planar_tiles),
        cmocka_unit_test(converts_cmyk),
        cmocka_unit_test(reads_jpeg_strips),
        cmocka_unit_test(refuses_what_is_no_picture),
        cmocka_unit_test(refuses_strips_beyond_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
