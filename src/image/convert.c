/* Colour conversions and turns, with Pillow's arithmetic. */
#include "image/pixels.h"

#include <string.h>

/* ITU-R 601 weights in 16-bit fixed point, with Pillow's rounding. The sum stays below 2^32 for
 * 16-bit values too, so that one formula serves both depths. */
static inline uint32_t luma(uint32_t red, uint32_t green, uint32_t blue)
{
    return (red * 19595u + green * 38470u + blue * 7471u + 0x8000u) >> 16;
}

unet_status image_to_luma(const unet_image *image, unet_image *grey, unet_error *error)
{
    TRY(image_allocate(image->width, image->height, 1, image->bits, grey, error));
    size_t count = image_pixel_count(image);
    if (image->bits == 8) {
        const uint8_t *rgb = image->pixels;
        uint8_t *out = grey->pixels;
        for (size_t i = 0; i < count; i++)
            out[i] = (uint8_t)luma(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]);
    } else {
        const uint16_t *rgb = image->pixels;
        uint16_t *out = grey->pixels;
        for (size_t i = 0; i < count; i++)
            out[i] = (uint16_t)luma(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]);
    }
    return UNET_OK;
}

unet_status image_from_palette(const unet_image *indices, const uint8_t palette[256][3],
                               unet_image *image, unet_error *error)
{
    TRY(image_allocate(indices->width, indices->height, 3, 8, image, error));
    size_t count = image_pixel_count(indices);
    const uint8_t *index = indices->pixels;
    uint8_t *rgb = image->pixels;
    for (size_t i = 0; i < count; i++)
        memcpy(rgb + 3 * i, palette[index[i]], 3);
    return UNET_OK;
}

/* a × b / 255, rounded, without a division; exact for bytes. */
static inline int multiply_255(int a, int b)
{
    int product = a * b + 128;
    return (product + (product >> 8)) >> 8;
}

void cmyk_to_rgb(const uint8_t *cmyk, size_t count, uint8_t *rgb)
{
    for (size_t i = 0; i < count; i++) {
        int light = 255 - cmyk[4 * i + 3];
        for (int channel = 0; channel < 3; channel++)
            rgb[3 * i + channel] = (uint8_t)(light - multiply_255(cmyk[4 * i + channel], light));
    }
}

/* Where output pixel (0, 0) lies in the source, and the source steps of one output column and row,
 * all in pixels. */
struct turn {
    ptrdiff_t start, column, row;
};

static struct turn turn_of(const unet_image *image, int orientation)
{
    bool swapped = orientation >= 5;
    /* Bits: mirrored in x, mirrored in y, both in the source's frame. */
    static const uint8_t mirrors[9] = {0, 0, 1, 3, 2, 0, 2, 3, 1};
    ptrdiff_t width = image->width, height = image->height;
    ptrdiff_t x_step = mirrors[orientation] & 1 ? -1 : 1;
    ptrdiff_t y_step = mirrors[orientation] & 2 ? -width : width;
    struct turn turn = {.column = swapped ? y_step : x_step, .row = swapped ? x_step : y_step};
    if (x_step < 0)
        turn.start += width - 1;
    if (y_step < 0)
        turn.start += (height - 1) * width;
    return turn;
}

unet_status image_orient(unet_image *image, int orientation, unet_error *error)
{
    if (orientation < 2 || orientation > 8)
        return UNET_OK;
    bool swapped = orientation >= 5;
    unet_image turned;
    TRY(image_allocate(swapped ? image->height : image->width,
                       swapped ? image->width : image->height, image->channels, image->bits,
                       &turned, error));
    struct turn turn = turn_of(image, orientation);
    ptrdiff_t bytes = image->channels * (image->bits / 8);
    uint8_t *out = turned.pixels;
    const uint8_t *pixels = image->pixels;
    for (int y = 0; y < turned.height; y++) {
        const uint8_t *in = pixels + (turn.start + y * turn.row) * bytes;
        for (int x = 0; x < turned.width; x++, in += turn.column * bytes, out += bytes)
            memcpy(out, in, (size_t)bytes);
    }
    unet_image_clear(image);
    *image = turned;
    return UNET_OK;
}
