/* What a TIFF's tags say about its samples, and whether that is read. */
#include "image/tiff.h"

#include <stdio.h>

/* No picture has larger tiles; a tag could ask for gigabytes. */
#define MAX_TILE_SIDE 8192

/* More samples than that are no picture but a stack. */
#define MAX_SAMPLES 64

static int tag16(TIFF *tiff, uint32_t tag)
{
    uint16_t value = 0;
    TIFFGetFieldDefaulted(tiff, tag, &value);
    return value;
}

static unet_status refuse(const struct tiff_job *job, const char *what, unet_error *error)
{
    return decode_unsupported(job->source, "TIFF", what,
                              "grey or RGB of 8 or 16 bits, or as a .npy array", error);
}

static unet_status read_size(struct tiff_job *job, unet_error *error)
{
    uint32_t width = 0, height = 0;
    if (!TIFFGetField(job->tiff, TIFFTAG_IMAGEWIDTH, &width) ||
        !TIFFGetField(job->tiff, TIFFTAG_IMAGELENGTH, &height))
        return decode_damaged(job->source, "TIFF", "its size is missing", error);
    TRY(decode_check_size(job->source, "TIFF", width, height, error));
    job->layout.width = (int)width;
    job->layout.height = (int)height;
    return UNET_OK;
}

/* Lossless ones, and those two that cameras and scanners write. Old-style JPEG is not among them:
 * its files disagree about what it means. */
static unet_status check_compression(struct tiff_job *job, unet_error *error)
{
    int scheme = tag16(job->tiff, TIFFTAG_COMPRESSION);
    switch (scheme) {
    case COMPRESSION_CCITTRLE:
    case COMPRESSION_CCITTFAX3:
    case COMPRESSION_CCITTFAX4:
    case COMPRESSION_JPEG:
        job->warnings_are_damage = true;
        break;
    case COMPRESSION_NONE:
    case COMPRESSION_LZW:
    case COMPRESSION_ADOBE_DEFLATE:
    case COMPRESSION_DEFLATE:
    case COMPRESSION_PACKBITS:
    case COMPRESSION_LZMA:
    case COMPRESSION_ZSTD:
        break;
    default:
        scheme = 0;
    }
    if (scheme != 0 && TIFFIsCODECConfigured((uint16_t)scheme))
        return UNET_OK;
    char what[64];
    snprintf(what, sizeof what, "compression %d", tag16(job->tiff, TIFFTAG_COMPRESSION));
    return decode_unsupported(job->source, "TIFF", what, "LZW, deflate or without compression",
                              error);
}

/* JPEG stores RGB as YCbCr; its decoder turns that back if asked. */
static unet_status choose_photometric(struct tiff_job *job, unet_error *error)
{
    struct tiff_layout *layout = &job->layout;
    layout->photometric = tag16(job->tiff, TIFFTAG_PHOTOMETRIC); /* 0, white, where it is missing */
    bool jpeg = tag16(job->tiff, TIFFTAG_COMPRESSION) == COMPRESSION_JPEG;
    if (layout->photometric == PHOTOMETRIC_YCBCR && jpeg && !layout->planar) {
        TIFFSetField(job->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        layout->photometric = PHOTOMETRIC_RGB;
    }
    switch (layout->photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_PALETTE:
        layout->kept = 1;
        return UNET_OK;
    case PHOTOMETRIC_RGB:
        layout->kept = 3;
        return UNET_OK;
    case PHOTOMETRIC_SEPARATED:
        layout->kept = 4;
        return UNET_OK;
    default:
        return refuse(job, "a colour space other than grey, RGB, palette and CMYK", error);
    }
}

/* Alpha is dropped as it is, unless the colours were multiplied by it. */
static void find_alpha(struct tiff_job *job)
{
    struct tiff_layout *layout = &job->layout;
    uint16_t count = 0, *kinds = NULL;
    TIFFGetFieldDefaulted(job->tiff, TIFFTAG_EXTRASAMPLES, &count, &kinds);
    bool colored =
        layout->photometric == PHOTOMETRIC_RGB || layout->photometric == PHOTOMETRIC_MINISBLACK;
    layout->premultiplied = colored && layout->samples > layout->kept && count > 0 &&
                            kinds != NULL && kinds[0] == EXTRASAMPLE_ASSOCALPHA &&
                            (layout->bits == 8 || layout->bits == 16);
    if (layout->premultiplied)
        layout->kept++;
}

static bool bits_allowed(const struct tiff_layout *layout)
{
    int bits = layout->bits;
    switch (layout->photometric) {
    case PHOTOMETRIC_RGB:
        return bits == 8 || bits == 16;
    case PHOTOMETRIC_SEPARATED:
        return bits == 8;
    case PHOTOMETRIC_PALETTE:
        return bits == 1 || bits == 2 || bits == 4 || bits == 8;
    default:
        return bits == 1 || bits == 2 || bits == 4 || bits == 8 || bits == 12 || bits == 16;
    }
}

static unet_status check_samples(struct tiff_job *job, unet_error *error)
{
    const struct tiff_layout *layout = &job->layout;
    static const char *const formats[] = {"", "", "signed", "floating-point"};
    int format = tag16(job->tiff, TIFFTAG_SAMPLEFORMAT);
    char what[96];
    if (format == SAMPLEFORMAT_INT || format == SAMPLEFORMAT_IEEEFP) {
        snprintf(what, sizeof what, "%s samples", formats[format]);
        return refuse(job, what, error);
    }
    if (!bits_allowed(layout)) {
        snprintf(what, sizeof what, "samples of %d bits", layout->bits);
        return refuse(job, what, error);
    }
    if (layout->samples < layout->kept || layout->samples > MAX_SAMPLES) {
        snprintf(what, sizeof what, "%d samples a pixel", layout->samples);
        return refuse(job, what, error);
    }
    return UNET_OK;
}

static unet_status read_blocks(struct tiff_job *job, unet_error *error)
{
    struct tiff_layout *layout = &job->layout;
    layout->tiled = TIFFIsTiled(job->tiff);
    uint32_t width = (uint32_t)layout->width, height = 0;
    if (layout->tiled) {
        TIFFGetField(job->tiff, TIFFTAG_TILEWIDTH, &width);
        TIFFGetField(job->tiff, TIFFTAG_TILELENGTH, &height);
        if (width > MAX_TILE_SIDE || height > MAX_TILE_SIDE)
            return refuse(job, "tiles above 8192 pixels a side", error);
    } else {
        TIFFGetFieldDefaulted(job->tiff, TIFFTAG_ROWSPERSTRIP, &height);
        if (height > (uint32_t)layout->height)
            height = (uint32_t)layout->height;
    }
    if (width == 0 || height == 0)
        return decode_damaged(job->source, "TIFF", "strips or tiles of no size", error);
    layout->block_width = (int)width;
    layout->block_height = (int)height;
    return UNET_OK;
}

unet_status tiff_read_layout(struct tiff_job *job, unet_error *error)
{
    struct tiff_layout *layout = &job->layout;
    TRY(read_size(job, error));
    TRY(check_compression(job, error));
    layout->samples = tag16(job->tiff, TIFFTAG_SAMPLESPERPIXEL);
    layout->bits = tag16(job->tiff, TIFFTAG_BITSPERSAMPLE);
    layout->planar = tag16(job->tiff, TIFFTAG_PLANARCONFIG) == PLANARCONFIG_SEPARATE;
    layout->orientation = tag16(job->tiff, TIFFTAG_ORIENTATION);
    TRY(choose_photometric(job, error));
    TRY(check_samples(job, error));
    find_alpha(job);
    return read_blocks(job, error);
}
