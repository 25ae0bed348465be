/* From an image to the network's input: to planes, or to a table for the image's own pixels. */
#include "image/image.h"

#include "base/memory.h"
#include "image/pixels.h"
#include "image/value_map.h"

#include <string.h>

/* Replaces *image, which may be the caller's (`owned` false), by one of ours. */
static void replace(unet_image *image, bool *owned, const unet_image *by)
{
    if (*owned)
        unet_image_clear(image);
    *image = *by;
    *owned = true;
}

/* As int(scale × side) in Python: the fraction is dropped. */
static unet_status scaled_size(const unet_image *image, double scale, int *width, int *height,
                               unet_error *error)
{
    double wide = scale * image->width, high = scale * image->height;
    if (!(scale > 0))
        return error_set(error, UNET_ERROR_USAGE, "scale %g: give a number above 0", scale);
    if (wide < 1 || high < 1)
        return error_set(error, UNET_ERROR_INPUT,
                         "scale %g is too small for an image of %d×%d, of which no pixel stays",
                         scale, image->width, image->height);
    if (wide >= UNET_MAX_SIDE + 1.0 || high >= UNET_MAX_SIDE + 1.0 ||
        !image_size_allowed((int64_t)wide, (int64_t)high))
        return error_set(error, UNET_ERROR_INPUT,
                         "scale %g is too large for an image of %d×%d: sides up to %d with at most "
                         "%d pixels are taken",
                         scale, image->width, image->height, UNET_MAX_SIDE, UNET_MAX_PIXELS);
    *width = (int)wide;
    *height = (int)high;
    return UNET_OK;
}

/* What goes into the network, before its values are normalised. */
struct prepared {
    unet_image image;
    bool owned; /* or the caller's */
    unet_preprocess steps;
};

static void prepared_clear(struct prepared *prepared)
{
    if (prepared->owned)
        unet_image_clear(&prepared->image);
    *prepared = (struct prepared){0};
}

/* Luma for one channel, then the resize. A grey image for three channels stays grey: its channels
 * would all be resized alike. */
static unet_status convert(unet_image *image, bool *owned, double scale, int channels,
                           unet_error *error)
{
    unet_image made;
    if (channels == 1 && image->channels == 3) {
        TRY(image_to_luma(image, &made, error));
        replace(image, owned, &made);
    }
    if (scale == 0 || scale == 1)
        return UNET_OK;
    int width = 0, height = 0;
    TRY(scaled_size(image, scale, &width, &height, error));
    TRY(unet_image_resize(image, width, height, &made, error));
    replace(image, owned, &made);
    return UNET_OK;
}

static void look_up(const unet_image *image, int channel, const float *table, float *out)
{
    size_t count = image_pixel_count(image), step = (size_t)image->channels;
    size_t first = image->channels == 1 ? 0 : (size_t)channel;
    if (image->bits == 8) {
        const uint8_t *pixel = (const uint8_t *)image->pixels + first;
        for (size_t i = 0; i < count; i++, pixel += step)
            out[i] = table[*pixel];
    } else {
        const uint16_t *pixel = (const uint16_t *)image->pixels + first;
        for (size_t i = 0; i < count; i++, pixel += step)
            out[i] = table[*pixel];
    }
}

static unet_status fill(const unet_image *image, const unet_preprocess *preprocess,
                        const struct pixel_range *range, int channels, float *tensor,
                        unet_error *error)
{
    struct value_map map;
    TRY(value_map_make(image, range, preprocess->normalize, &map, error));
    unet_status status = UNET_OK;
    for (int channel = 0; channel < channels && status == UNET_OK; channel++) {
        status = value_map_channel(&map, preprocess, channel, error);
        if (status == UNET_OK)
            look_up(image, channel, map.table, tensor + (size_t)channel * image_pixel_count(image));
    }
    value_map_clear(&map);
    return status;
}

static unet_status make_tensor(const unet_image *image, const unet_preprocess *preprocess,
                               const struct pixel_range *range, int channels, float **tensor,
                               unet_error *error)
{
    size_t bytes = image_pixel_count(image) * (size_t)channels * sizeof(float);
    float *made = memory_alloc_aligned(bytes);
    if (made == NULL)
        return error_memory(error, bytes, "the network's input");
    unet_status status = fill(image, preprocess, range, channels, made, error);
    if (status == UNET_OK)
        *tensor = made;
    else
        memory_free_aligned(made);
    return status;
}

/* Grey and RGB become each other; any other number must be the network's own. */
static unet_status check_channels(int found, int wanted, unet_error *error)
{
    bool convertible = (found == 1 || found == 3) && (wanted == 1 || wanted == 3);
    if (found == wanted || convertible)
        return UNET_OK;
    return error_set(error, UNET_ERROR_INPUT,
                     "the network takes %d channels and this image has %d: give it a .npy array, "
                     "uint8 of height×width×%d or float32 of %d×height×width",
                     wanted, found, wanted, wanted);
}

static unet_status prepare(const unet_image *image, const unet_preprocess *preprocess, int channels,
                           struct prepared *prepared, unet_error *error)
{
    TRY(image_check(image, "an image", error));
    TRY(check_channels(image->channels, channels, error));
    *prepared = (struct prepared){.image = *image, .steps = *preprocess};
    if (prepared->steps.normalize == UNET_NORMALIZE_DEFAULT)
        prepared->steps.normalize = UNET_NORMALIZE_255;
    unet_status status =
        convert(&prepared->image, &prepared->owned, prepared->steps.scale, channels, error);
    if (status != UNET_OK)
        prepared_clear(prepared);
    return status;
}

unet_status image_to_tensor(const unet_image *image, const unet_preprocess *preprocess,
                            const struct pixel_range *range, int channels, float **tensor,
                            int *height, int *width, unet_error *error)
{
    struct prepared prepared;
    TRY(prepare(image, preprocess, channels, &prepared, error));
    unet_status status =
        make_tensor(&prepared.image, &prepared.steps, range, channels, tensor, error);
    if (status == UNET_OK) {
        *height = prepared.image.height;
        *width = prepared.image.width;
    }
    prepared_clear(&prepared);
    return status;
}

/* ---------------------------------------------------------------- pixels as they are */

static unet_status fill_values(const struct prepared *prepared, const struct pixel_range *range,
                               int channels, float *values, unet_error *error)
{
    struct value_map map;
    TRY(value_map_make(&prepared->image, range, prepared->steps.normalize, &map, error));
    unet_status status = UNET_OK;
    for (int channel = 0; channel < channels && status == UNET_OK; channel++) {
        status = value_map_channel(&map, &prepared->steps, channel, error);
        if (status == UNET_OK)
            memcpy(values + (size_t)channel * map.entries, map.table, map.entries * sizeof *values);
    }
    value_map_clear(&map);
    return status;
}

static unet_status make_values(const struct prepared *prepared, const struct pixel_range *range,
                               int channels, float **values, unet_error *error)
{
    size_t count = (size_t)channels * 256;
    float *made = memory_alloc_array(count, sizeof *made);
    if (made == NULL)
        return error_memory(error, count * sizeof *made, "the values of pixels");
    unet_status status = fill_values(prepared, range, channels, made, error);
    if (status == UNET_OK)
        *values = made;
    else
        memory_free(made);
    return status;
}

unet_status image_to_pixels(const unet_image *image, const unet_preprocess *preprocess,
                            const struct pixel_range *range, int channels,
                            struct image_pixels *pixels, unet_error *error)
{
    struct prepared prepared;
    *pixels = (struct image_pixels){0};
    TRY(prepare(image, preprocess, channels, &prepared, error));
    float *values;
    unet_status status = make_values(&prepared, range, channels, &values, error);
    if (status == UNET_OK)
        *pixels = (struct image_pixels){prepared.image, prepared.owned, values};
    else
        prepared_clear(&prepared);
    return status;
}

void image_pixels_clear(struct image_pixels *pixels)
{
    if (pixels->owned)
        unet_image_clear(&pixels->image);
    memory_free(pixels->values);
    *pixels = (struct image_pixels){0};
}
