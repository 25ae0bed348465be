/* A TIFF's samples → pixels: depths are widened, white-is-zero is turned, palettes and CMYK are
 * converted, and colours are divided by the alpha that they were multiplied by. */
#include "image/tiff.h"

#include "base/memory.h"
#include "image/pixels.h"

/* Widens 1, 2 and 4 bits to 0 … 255 and turns white-is-zero around, in place. 12 bits stay small
 * numbers in 16, as Pillow keeps them. */
static void fix_grey8(const struct tiff_layout *layout, uint8_t *values, size_t count)
{
    unsigned factor = 255u / ((1u << layout->bits) - 1);
    unsigned flip = layout->photometric == PHOTOMETRIC_MINISWHITE ? 255 : 0;
    if (factor == 1 && flip == 0)
        return;
    for (size_t i = 0; i < count; i++)
        values[i] = (uint8_t)(values[i] * factor ^ flip);
}

static void fix_grey16(const struct tiff_layout *layout, uint16_t *values, size_t count)
{
    unsigned flip = (1u << layout->bits) - 1;
    if (layout->photometric != PHOTOMETRIC_MINISWHITE)
        return;
    for (size_t i = 0; i < count; i++)
        values[i] = (uint16_t)(values[i] ^ flip);
}

/* Pillow's division: rounded down, limited, and 0 where nothing shows. */
static unsigned divide_alpha(unsigned value, unsigned alpha, unsigned top)
{
    if (alpha == 0)
        return 0;
    uint64_t quotient = (uint64_t)value * top / alpha;
    return quotient < top ? (unsigned)quotient : top;
}

/* kept samples with alpha last → kept − 1 colours, in place: the reader is ahead of the writer. */
static void drop_alpha(const struct tiff_layout *layout, void *raster, size_t count)
{
    int kept = layout->kept, colors = kept - 1;
    uint8_t *bytes = raster;
    uint16_t *words = raster;
    for (size_t i = 0; i < count; i++) {
        size_t in = i * (size_t)kept, out = i * (size_t)colors;
        unsigned alpha =
            layout->bits == 8 ? bytes[in + (size_t)colors] : words[in + (size_t)colors];
        for (size_t c = 0; c < (size_t)colors; c++) {
            if (layout->bits == 8)
                bytes[out + c] = (uint8_t)divide_alpha(bytes[in + c], alpha, 255);
            else
                words[out + c] = (uint16_t)divide_alpha(words[in + c], alpha, 65535);
        }
    }
}

/* TIFF's palettes have 16 bits; Pillow takes the high byte. */
static unet_status read_palette(struct tiff_job *job, uint8_t palette[256][3], unet_error *error)
{
    uint16_t *red = NULL, *green = NULL, *blue = NULL;
    if (!TIFFGetField(job->tiff, TIFFTAG_COLORMAP, &red, &green, &blue))
        return decode_damaged(job->source, "TIFF", "its palette is missing", error);
    for (int i = 0; i < 1 << job->layout.bits; i++) {
        palette[i][0] = (uint8_t)(red[i] >> 8);
        palette[i][1] = (uint8_t)(green[i] >> 8);
        palette[i][2] = (uint8_t)(blue[i] >> 8);
    }
    return UNET_OK;
}

static unet_status convert_palette(struct tiff_job *job, unet_image *image, unet_error *error)
{
    uint8_t palette[256][3] = {{0}};
    unet_image colored;
    if (job->source->indices)
        return UNET_OK;
    TRY(read_palette(job, palette, error));
    TRY(image_from_palette(image, (const uint8_t(*)[3])palette, &colored, error));
    unet_image_clear(image);
    *image = colored;
    return UNET_OK;
}

static unet_status convert(struct tiff_job *job, unet_image *image, unet_error *error)
{
    const struct tiff_layout *layout = &job->layout;
    size_t count = image_pixel_count(image);
    switch (layout->photometric) {
    case PHOTOMETRIC_PALETTE:
        return convert_palette(job, image, error);
    case PHOTOMETRIC_SEPARATED:
        cmyk_to_rgb(image->pixels, count, image->pixels);
        return UNET_OK;
    case PHOTOMETRIC_RGB:
        break;
    default:
        if (layout->bits <= 8)
            fix_grey8(layout, image->pixels, count * (size_t)layout->kept);
        else
            fix_grey16(layout, image->pixels, count);
    }
    if (layout->premultiplied)
        drop_alpha(layout, image->pixels, count);
    return UNET_OK;
}

unet_status tiff_convert_raster(struct tiff_job *job, void *raster, unet_image *image,
                                unet_error *error)
{
    const struct tiff_layout *layout = &job->layout;
    bool colored =
        layout->photometric == PHOTOMETRIC_RGB || layout->photometric == PHOTOMETRIC_SEPARATED;
    unet_image made = {
        .width = layout->width,
        .height = layout->height,
        .channels = colored ? 3 : 1,
        .bits = layout->bits > 8 ? 16 : 8,
        .pixels = raster, /* a sample more a pixel than the image needs, in some kinds */
    };
    unet_status status = convert(job, &made, error);
    if (status == UNET_OK)
        *image = made;
    else
        unet_image_clear(&made);
    return status;
}
