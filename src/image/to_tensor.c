/* From an image to the network's input. */
#include "image/image.h"

#include "base/memory.h"
#include "image/pixels.h"
#include "image/value_map.h"

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

/* Luma for one channel, then the resize. A grey image for three channels stays grey: its channels
 * would all be resized alike. */
static unet_status prepare(unet_image *image, bool *owned, double scale, int channels,
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

unet_status image_to_tensor(const unet_image *image, const unet_preprocess *preprocess,
                            const struct pixel_range *range, int channels, float **tensor,
                            int *height, int *width, unet_error *error)
{
    TRY(image_check(image, "an image", error));
    TRY(check_channels(image->channels, channels, error));
    unet_preprocess steps = *preprocess;
    if (steps.normalize == UNET_NORMALIZE_DEFAULT)
        steps.normalize = UNET_NORMALIZE_255;
    unet_image current = *image;
    bool owned = false;
    unet_status status = prepare(&current, &owned, steps.scale, channels, error);
    if (status == UNET_OK)
        status = make_tensor(&current, &steps, range, channels, tensor, error);
    if (status == UNET_OK) {
        *height = current.height;
        *width = current.width;
    }
    if (owned)
        unet_image_clear(&current);
    return status;
}
