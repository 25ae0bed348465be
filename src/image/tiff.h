/* TIFF through libtiff: what its four files share. tiff_layout reads the tags, tiff_raster the
 * samples, tiff_convert makes pixels of them; decode_tiff leads. */
#ifndef UNET_IMAGE_TIFF_H
#define UNET_IMAGE_TIFF_H

#include "image/decode.h"

#include <tiffio.h>

struct tiff_layout {
    int width, height;
    int samples;     /* of a pixel in the file, those that are passed over too */
    int bits;        /* of a sample: 1, 2, 4, 8, 12, 16 */
    int photometric; /* PHOTOMETRIC_MINISWHITE, MINISBLACK, RGB, PALETTE, SEPARATED */
    int kept;        /* samples of a pixel that are used: colours, then alpha if premultiplied */
    bool premultiplied;
    bool planar; /* each sample in blocks of its own */
    bool tiled;
    int block_width, block_height; /* of a tile; strips are as wide as the image */
    int orientation;
};

struct tiff_job {
    const struct image_source *source;
    size_t position;
    TIFF *tiff;
    struct tiff_layout layout;
    bool warnings_are_damage; /* lossy codecs only warn where data is missing */
    bool damaged;
    char reason[256]; /* the first message since the last reset */
};

unet_status tiff_read_layout(struct tiff_job *job, unet_error *error);

/* Bytes of a sample in memory: 1 or 2. */
int tiff_sample_bytes(const struct tiff_layout *layout);

/* Reads the kept samples: height × width × kept values of uint8_t, or uint16_t above 8 bits, as
 * they are in the file. Freed by memory_free. */
unet_status tiff_read_raster(struct tiff_job *job, void **raster, unet_error *error);

/* Makes the image of the raster, which it takes or frees. */
unet_status tiff_convert_raster(struct tiff_job *job, void *raster, unet_image *image,
                                unet_error *error);

#endif
