/* Strips and tiles → the kept samples, in one array. */
#include "image/tiff.h"

#include "base/memory.h"

#include <string.h>

/* What a strip may hold, unpacked: the largest RGB image of 16 bits in one piece. */
#define MAX_BLOCK_BYTES ((uint64_t)UNET_MAX_PIXELS * 6)

/* Where the samples of a block's row go. */
struct row_target {
    void *out;
    int pixels;
    int step; /* samples from one pixel to the next in `out` */
};

int tiff_sample_bytes(const struct tiff_layout *layout)
{
    return layout->bits > 8 ? 2 : 1;
}

/* Sample `index` of a row, for depths whose samples share bytes; the high bits come first. */
static inline unsigned packed_sample(const uint8_t *row, size_t index, unsigned bits)
{
    size_t position = index * bits;
    const uint8_t *bytes = row + position / 8;
    if (bits == 12) {
        unsigned pair = (unsigned)bytes[0] << 8 | bytes[1];
        return position % 8 == 0 ? pair >> 4 : pair & 0xfff;
    }
    return bytes[0] >> (8 - bits - position % 8) & ((1u << bits) - 1);
}

/* Takes sample `first` of every pixel of `samples` samples. */
static void unpack_sample(const uint8_t *row, int bits, int first, int samples,
                          const struct row_target *target)
{
    size_t index = (size_t)first;
    for (int x = 0; x < target->pixels; x++, index += (size_t)samples) {
        size_t at = (size_t)x * (size_t)target->step;
        if (bits == 8)
            ((uint8_t *)target->out)[at] = row[index];
        else if (bits == 16)
            memcpy((uint16_t *)target->out + at, row + 2 * index, 2);
        else if (bits == 12)
            ((uint16_t *)target->out)[at] = (uint16_t)packed_sample(row, index, 12);
        else
            ((uint8_t *)target->out)[at] = (uint8_t)packed_sample(row, index, (unsigned)bits);
    }
}

static void unpack_row(const struct tiff_layout *layout, const uint8_t *row,
                       const struct row_target *target)
{
    int sample_bytes = tiff_sample_bytes(layout);
    bool whole_bytes = layout->bits == 8 || layout->bits == 16;
    if (layout->planar) {
        unpack_sample(row, layout->bits, 0, 1, target);
    } else if (whole_bytes && layout->samples == layout->kept) {
        memcpy(target->out, row,
               (size_t)target->pixels * (size_t)layout->kept * (size_t)sample_bytes);
    } else {
        for (int sample = 0; sample < layout->kept; sample++) {
            struct row_target one = *target;
            one.out = (uint8_t *)target->out + sample * sample_bytes;
            unpack_sample(row, layout->bits, sample, layout->samples, &one);
        }
    }
}

static size_t row_stride(const struct tiff_layout *layout)
{
    uint64_t samples = layout->planar ? 1 : (uint64_t)layout->samples;
    return (size_t)(((uint64_t)layout->block_width * samples * (uint64_t)layout->bits + 7) / 8);
}

static int rows_of_block(const struct tiff_layout *layout, int y)
{
    int left = layout->height - y;
    return left < layout->block_height ? left : layout->block_height;
}

/* Decodes the block at (x, y) of plane `plane`; false if it is not all there. */
static bool read_block(struct tiff_job *job, int x, int y, int plane, uint8_t *block)
{
    const struct tiff_layout *layout = &job->layout;
    tmsize_t wanted, got;
    if (layout->tiled) {
        uint32_t tile = TIFFComputeTile(job->tiff, (uint32_t)x, (uint32_t)y, 0, (uint16_t)plane);
        wanted = (tmsize_t)row_stride(layout) * layout->block_height;
        got = TIFFReadEncodedTile(job->tiff, tile, block, wanted);
    } else {
        uint32_t strip = TIFFComputeStrip(job->tiff, (uint32_t)y, (uint16_t)plane);
        wanted = (tmsize_t)row_stride(layout) * rows_of_block(layout, y);
        got = TIFFReadEncodedStrip(job->tiff, strip, block, wanted);
    }
    return got == wanted && !job->damaged;
}

static void place_block(const struct tiff_layout *layout, int x, int y, int plane,
                        const uint8_t *block, uint8_t *raster)
{
    int right = layout->width - x;
    size_t sample_bytes = (size_t)tiff_sample_bytes(layout);
    size_t stride = row_stride(layout);
    struct row_target target = {.pixels = right < layout->block_width ? right : layout->block_width,
                                .step = layout->kept};
    int rows = rows_of_block(layout, y);
    for (int row = 0; row < rows; row++) {
        size_t pixel = (size_t)(y + row) * (size_t)layout->width + (size_t)x;
        target.out = raster + (pixel * (size_t)layout->kept + (size_t)plane) * sample_bytes;
        unpack_row(layout, block + (size_t)row * stride, &target);
    }
}

static unet_status read_blocks(struct tiff_job *job, uint8_t *block, uint8_t *raster,
                               unet_error *error)
{
    const struct tiff_layout *layout = &job->layout;
    int planes = layout->planar ? layout->kept : 1;
    job->damaged = false; /* what was wrong with tags that are not used does not matter */
    job->reason[0] = '\0';
    for (int plane = 0; plane < planes; plane++) {
        for (int y = 0; y < layout->height; y += layout->block_height) {
            for (int x = 0; x < layout->width; x += layout->block_width) {
                if (!read_block(job, x, y, plane, block))
                    return decode_damaged(
                        job->source, "TIFF",
                        job->reason[0] != '\0' ? job->reason : "pixels are missing", error);
                place_block(layout, x, y, plane, block, raster);
            }
        }
    }
    return UNET_OK;
}

/* libtiff's own idea of a row must be ours, or its decoder would write another amount. */
static unet_status check_stride(struct tiff_job *job, unet_error *error)
{
    const struct tiff_layout *layout = &job->layout;
    uint64_t theirs = layout->tiled ? TIFFTileRowSize64(job->tiff) : TIFFScanlineSize64(job->tiff);
    if (theirs != row_stride(layout))
        return decode_unsupported(job->source, "TIFF", "this arrangement of samples",
                                  "plain RGB or grey", error);
    if ((uint64_t)row_stride(layout) * (uint64_t)layout->block_height > MAX_BLOCK_BYTES)
        return decode_unsupported(job->source, "TIFF", "strips of this size", "smaller strips",
                                  error);
    return UNET_OK;
}

unet_status tiff_read_raster(struct tiff_job *job, void **raster, unet_error *error)
{
    const struct tiff_layout *layout = &job->layout;
    TRY(check_stride(job, error));
    size_t block_bytes = row_stride(layout) * (size_t)layout->block_height;
    size_t raster_bytes = (size_t)layout->width * (size_t)layout->height * (size_t)layout->kept *
                          (size_t)tiff_sample_bytes(layout);
    uint8_t *block = memory_alloc(block_bytes);
    uint8_t *samples = memory_alloc(raster_bytes);
    unet_status status;
    if (block == NULL || samples == NULL)
        status = error_memory(error, block_bytes + raster_bytes, "decoding a TIFF");
    else
        status = read_blocks(job, block, samples, error);
    memory_free(block);
    if (status == UNET_OK)
        *raster = samples;
    else
        memory_free(samples);
    return status;
}
