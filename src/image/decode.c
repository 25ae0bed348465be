/* From a file or memory to an image or a label, whatever the format. */
#include "image/decode.h"

#include "base/file.h"
#include "image/pixels.h"

#include <string.h>
#include <strings.h>

/* Above the largest image without compression: an endless stream shall not fill the memory. */
#define MOST_BYTES ((size_t)2 << 30)

static const struct image_reader *const readers[] = {&png_reader, &jpeg_reader, &tiff_reader};

#define READER_COUNT (sizeof readers / sizeof readers[0])

unet_status decode_damaged(const struct image_source *source, const char *format,
                           const char *reason, unet_error *error)
{
    return error_set(error, UNET_ERROR_INPUT, "%s: broken %s (%s): replace it with a sound copy",
                     source->name, format, reason);
}

unet_status decode_unsupported(const struct image_source *source, const char *format,
                               const char *what, const char *advice, unet_error *error)
{
    return error_set(error, UNET_ERROR_INPUT, "%s: %s with %s is not read: save it as %s",
                     source->name, format, what, advice);
}

unet_status decode_check_size(const struct image_source *source, const char *format, int64_t width,
                              int64_t height, unet_error *error)
{
    if (image_size_allowed(width, height))
        return UNET_OK;
    if (width < 1 || height < 1)
        return decode_damaged(source, format, "a side of no pixels", error);
    return error_set(error, UNET_ERROR_INPUT,
                     "%s: too large, with %lld×%lld pixels; sides up to %d with at most %d pixels "
                     "are read: cut or shrink it",
                     source->name, (long long)width, (long long)height, UNET_MAX_SIDE,
                     UNET_MAX_PIXELS);
}

static unet_status decode(const struct image_source *source, unet_image *image, unet_error *error)
{
    if (source->size == 0)
        return error_set(error, UNET_ERROR_INPUT, "%s: the file is empty: replace it",
                         source->name);
    for (size_t i = 0; i < READER_COUNT; i++) {
        if (readers[i]->probe(source->bytes, source->size))
            return readers[i]->decode(source, image, error);
    }
    return error_set(error, UNET_ERROR_INPUT,
                     "%s: not a PNG, JPEG or TIFF, whatever its name says: save it as one of these",
                     source->name);
}

unet_status unet_image_decode(const void *data, size_t bytes, const char *name, unet_image *image,
                              unet_error *error)
{
    struct image_source source = {.bytes = data, .size = bytes, .name = name};
    return decode(&source, image, error);
}

static unet_status decode_file(const char *path, bool indices, unet_image *image, unet_error *error)
{
    struct file_map map;
    TRY(file_map_read(path, MOST_BYTES, UNET_ERROR_INPUT, &map, error));
    struct image_source source = {
        .bytes = map.bytes, .size = map.size, .name = path, .indices = indices};
    unet_status status = decode(&source, image, error);
    file_map_close(&map);
    return status;
}

unet_status unet_image_load(const char *path, unet_image *image, unet_error *error)
{
    return decode_file(path, false, image, error);
}

unet_status unet_label_load(const char *path, unet_image *label, unet_error *error)
{
    unet_image image;
    TRY(decode_file(path, true, &image, error));
    if (image.channels == 1 && image.bits == 8) {
        *label = image;
        return UNET_OK;
    }
    unet_status status = error_set(
        error, UNET_ERROR_INPUT,
        "%s: a label must be grey or palettised, 8 bits or less; this is %s of %d bits: save it "
        "with the class index of each pixel as its value",
        path, image.channels == 1 ? "grey" : "RGB", image.bits);
    unet_image_clear(&image);
    return status;
}

bool unet_is_image_name(const char *path)
{
    static const char *const extensions[] = {".png", ".jpg", ".jpeg", ".tif", ".tiff"};
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name) /* ".png" is a hidden file without an extension */
        return false;
    for (size_t i = 0; i < sizeof extensions / sizeof extensions[0]; i++) {
        if (strcasecmp(dot, extensions[i]) == 0)
            return true;
    }
    return false;
}
