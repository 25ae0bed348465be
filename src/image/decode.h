/* The readers of image files. Each takes a whole file from memory. */
#ifndef UNET_IMAGE_DECODE_H
#define UNET_IMAGE_DECODE_H

#include "base/error.h"

struct image_source {
    const uint8_t *bytes;
    size_t size;
    const char *name; /* for messages */
    bool indices;     /* a palette image gives its indices instead of its colours */
};

struct image_reader {
    const char *format; /* "PNG" */
    bool (*probe)(const uint8_t *bytes, size_t size);
    /* Writes *image on success only. */
    unet_status (*decode)(const struct image_source *source, unet_image *image, unet_error *error);
};

extern const struct image_reader png_reader, jpeg_reader, tiff_reader;

/* INPUT: what is wrong with a file of `format`, and the advice to replace it. */
unet_status decode_damaged(const struct image_source *source, const char *format,
                           const char *reason, unet_error *error);
/* INPUT: a file that is sound but of a kind that is not read; `advice` says what to save it as. */
unet_status decode_unsupported(const struct image_source *source, const char *format,
                               const char *what, const char *advice, unet_error *error);
/* INPUT where the sides are refused. Called before anything of that size is allocated. */
unet_status decode_check_size(const struct image_source *source, const char *format, int64_t width,
                              int64_t height, unet_error *error);

#endif
