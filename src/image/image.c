#include "image/pixels.h"

#include "base/memory.h"

#include <string.h>

size_t image_pixel_count(const unet_image *image)
{
    return (size_t)image->width * (size_t)image->height;
}

size_t image_row_bytes(const unet_image *image)
{
    return (size_t)image->width * (size_t)image->channels * (size_t)(image->bits / 8);
}

size_t image_bytes(const unet_image *image)
{
    return image_row_bytes(image) * (size_t)image->height;
}

bool image_size_allowed(int64_t width, int64_t height)
{
    return width >= 1 && height >= 1 && width <= UNET_MAX_SIDE && height <= UNET_MAX_SIDE &&
           width * height <= UNET_MAX_PIXELS;
}

static unet_status check_format(int width, int height, int channels, int bits, const char *what,
                                unet_error *error)
{
    if (!image_size_allowed(width, height))
        return error_set(error, UNET_ERROR_USAGE,
                         "%s of %d×%d: sides must be 1 to %d, with at most %d pixels", what, width,
                         height, UNET_MAX_SIDE, UNET_MAX_PIXELS);
    if (channels < 1 || channels > UNET_MAX_CHANNELS)
        return error_set(error, UNET_ERROR_USAGE, "%s of %d channels: pass 1 to %d", what, channels,
                         UNET_MAX_CHANNELS);
    if (bits != 8 && bits != 16)
        return error_set(error, UNET_ERROR_USAGE, "%s of %d bits: pass 8 or 16", what, bits);
    return UNET_OK;
}

unet_status image_check(const unet_image *image, const char *what, unet_error *error)
{
    if (image == NULL || image->pixels == NULL)
        return error_set(error, UNET_ERROR_USAGE, "%s without pixels: load or make one first",
                         what);
    return check_format(image->width, image->height, image->channels, image->bits, what, error);
}

unet_status image_check_mask(const unet_image *mask, unet_error *error)
{
    TRY(image_check(mask, "a mask", error));
    if (mask->channels != 1 || mask->bits != 8)
        return error_set(error, UNET_ERROR_USAGE,
                         "a mask of %d channels and %d bits: pass one channel of 8 bits",
                         mask->channels, mask->bits);
    return UNET_OK;
}

unet_status image_allocate(int width, int height, int channels, int bits, unet_image *image,
                           unet_error *error)
{
    unet_image made = {.width = width, .height = height, .channels = channels, .bits = bits};
    size_t bytes = image_bytes(&made);
    made.pixels = memory_alloc(bytes);
    if (made.pixels == NULL)
        return error_memory(error, bytes, "an image's pixels");
    *image = made;
    return UNET_OK;
}

unet_status unet_image_new(int width, int height, int channels, int bits, unet_image *image,
                           unet_error *error)
{
    TRY(check_format(width, height, channels, bits, "an image", error));
    TRY(image_allocate(width, height, channels, bits, image, error));
    memset(image->pixels, 0, image_bytes(image));
    return UNET_OK;
}

void unet_image_clear(unet_image *image)
{
    if (image == NULL)
        return;
    memory_free(image->pixels);
    *image = (unet_image){0};
}
