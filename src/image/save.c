/* The pictures that a mask is saved as. */
#include "image/encode.h"
#include "image/pixels.h"
#include "image/shown.h"

#include <string.h>

/* Hundredths of the class colour in an overlay. */
#define OVERLAY_PERCENT 45

static void fill_indices(const void *context, int y, uint8_t *row)
{
    const unet_image *mask = context;
    size_t bytes = image_row_bytes(mask);
    memcpy(row, (const uint8_t *)mask->pixels + (size_t)y * bytes, bytes);
}

static unet_status save_indices(const char *path, const unet_image *mask, enum png_kind kind,
                                unet_error *error)
{
    TRY(image_check_mask(mask, error));
    struct png_picture picture = {.width = mask->width,
                                  .height = mask->height,
                                  .kind = kind,
                                  .fill_row = fill_indices,
                                  .context = mask};
    return png_save(path, &picture, error);
}

unet_status unet_mask_save(const char *path, const unet_image *mask, unet_error *error)
{
    return save_indices(path, mask, PNG_KIND_GREY, error);
}

unet_status unet_color_save(const char *path, const unet_image *mask, unet_error *error)
{
    return save_indices(path, mask, PNG_KIND_PALETTE, error);
}

/* ---------------------------------------------------------------- overlay */

struct overlay {
    struct shown shown;
    const unet_image *mask;
    uint8_t colors[256][3];
};

static void fill_overlay(const void *context, int y, uint8_t *row)
{
    const struct overlay *overlay = context;
    const unet_image *image = overlay->shown.image;
    size_t width = (size_t)image->width, channels = (size_t)image->channels;
    size_t start = (size_t)y * width;
    const uint8_t *mask = (const uint8_t *)overlay->mask->pixels + start;
    for (size_t x = 0; x < width; x++) {
        size_t sample = (start + x) * channels;
        unsigned share = mask[x] == 0 ? 0 : OVERLAY_PERCENT;
        for (size_t c = 0; c < 3; c++) {
            unsigned value = shown_sample(&overlay->shown, channels == 3 ? sample + c : sample);
            unsigned mixed = (100 - share) * value + share * overlay->colors[mask[x]][c];
            row[3 * x + c] = (uint8_t)((mixed + 50) / 100);
        }
    }
}

unet_status unet_overlay_save(const char *path, const unet_image *image, const unet_image *mask,
                              unet_error *error)
{
    TRY(image_check(image, "an image", error));
    TRY(image_check_mask(mask, error));
    if (image->channels != 1 && image->channels != 3)
        return error_set(error, UNET_ERROR_USAGE,
                         "an overlay on an image of %d channels: pass 1 (grey) or 3 (RGB)",
                         image->channels);
    if (image->width != mask->width || image->height != mask->height)
        return error_set(error, UNET_ERROR_USAGE,
                         "an overlay of a mask of %d×%d on an image of %d×%d: pass the mask of "
                         "this image",
                         mask->width, mask->height, image->width, image->height);
    struct overlay overlay = {.shown = shown_of(image), .mask = mask};
    for (int i = 0; i < 256; i++)
        unet_class_color(i, overlay.colors[i]);
    struct png_picture picture = {.width = image->width,
                                  .height = image->height,
                                  .kind = PNG_KIND_RGB,
                                  .fill_row = fill_overlay,
                                  .context = &overlay};
    return png_save(path, &picture, error);
}

/* ---------------------------------------------------------------- values */

struct values {
    const unet_image *mask;
    const uint8_t *values;
    int channels;
};

static void fill_values(const void *context, int y, uint8_t *row)
{
    const struct values *values = context;
    size_t width = (size_t)values->mask->width, channels = (size_t)values->channels;
    const uint8_t *mask = (const uint8_t *)values->mask->pixels + (size_t)y * width;
    for (size_t x = 0; x < width; x++) {
        const uint8_t *value = values->values + mask[x] * channels;
        for (size_t c = 0; c < channels; c++)
            row[x * channels + c] = value[c];
    }
}

static int largest(const unet_image *mask)
{
    const uint8_t *indices = mask->pixels;
    size_t count = image_pixel_count(mask);
    uint8_t most = 0;
    for (size_t i = 0; i < count; i++)
        most = indices[i] > most ? indices[i] : most;
    return most;
}

unet_status unet_values_save(const char *path, const unet_image *mask, const uint8_t *values,
                             size_t count, int channels, unet_error *error)
{
    TRY(image_check_mask(mask, error));
    if (channels != 1 && channels != 3)
        return error_set(error, UNET_ERROR_USAGE, "mask values of %d channels: pass 1 or 3",
                         channels);
    int most = largest(mask);
    if (values == NULL || (size_t)most >= count)
        return error_set(error, UNET_ERROR_USAGE,
                         "%s: class %d has no mask value, for there are %zu: save the mask or its "
                         "colours instead",
                         path, most, values == NULL ? 0 : count);
    struct values picked = {.mask = mask, .values = values, .channels = channels};
    struct png_picture picture = {.width = mask->width,
                                  .height = mask->height,
                                  .kind = channels == 3 ? PNG_KIND_RGB : PNG_KIND_GREY,
                                  .fill_row = fill_values,
                                  .context = &picked};
    return png_save(path, &picture, error);
}
