/* PNG through libpng's low-level interface. */
#include "image/decode.h"

#include "base/memory.h"
#include "image/pixels.h"
#include "image/png_guard.h"

#include <string.h>

/* Deflate cannot shrink by more: a repeat of 258 bytes takes 2 bits at least. */
#define DEFLATE_MAX_RATIO 1032

/* One decoding. Everything that outlives a jump is in here, not in a function's variables. */
struct png_job {
    const struct image_source *source;
    size_t position;
    png_structp png;
    png_infop info;
    unet_image image;
    struct png_guard guard;
};

static void read_source(png_structp png, png_bytep out, size_t count)
{
    struct png_job *job = png_get_io_ptr(png);
    if (count > job->source->size - job->position)
        png_error(png, "the file ends early");
    memcpy(out, job->source->bytes + job->position, count);
    job->position += count;
}

/* Chunks of text, profiles and times are skipped unread: none changes a pixel. */
static unet_status read_header(struct png_job *job, unet_error *error)
{
    png_structp png = job->png;
    png_set_read_fn(png, job, read_source);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* refused below, with a reason */
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_read_info(png, job->info);
    int64_t width = png_get_image_width(png, job->info);
    int64_t height = png_get_image_height(png, job->info);
    TRY(decode_check_size(job->source, "PNG", width, height, error));
    uint64_t raw = (uint64_t)png_get_rowbytes(png, job->info) * (uint64_t)height;
    if (raw / DEFLATE_MAX_RATIO > job->source->size)
        return decode_damaged(job->source, "PNG", "too few bytes for its size", error);
    return UNET_OK;
}

/* Palette indices stay; grey is widened to 8 bits; alpha goes; 16 bits come in native order. */
static unet_status choose_layout(struct png_job *job, unet_error *error)
{
    png_structp png = job->png;
    int type = png_get_color_type(png, job->info);
    int bits = png_get_bit_depth(png, job->info);
    if (type == PNG_COLOR_TYPE_PALETTE)
        png_set_packing(png);
    else if (bits < 8)
        png_set_expand_gray_1_2_4_to_8(png);
    if (type & PNG_COLOR_MASK_ALPHA)
        png_set_strip_alpha(png);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (bits == 16)
        png_set_swap(png);
#endif
    bool rgb = (type & PNG_COLOR_MASK_COLOR) && !(type & PNG_COLOR_MASK_PALETTE);
    return image_allocate((int)png_get_image_width(png, job->info),
                          (int)png_get_image_height(png, job->info), rgb ? 3 : 1,
                          bits == 16 ? 16 : 8, &job->image, error);
}

static void read_rows(struct png_job *job)
{
    int passes = png_set_interlace_handling(job->png);
    png_read_update_info(job->png, job->info);
    size_t row_bytes = image_row_bytes(&job->image);
    if (png_get_rowbytes(job->png, job->info) != row_bytes)
        png_error(job->png, "unexpected row size");
    uint8_t *pixels = job->image.pixels;
    for (int pass = 0; pass < passes; pass++) {
        for (int y = 0; y < job->image.height; y++)
            png_read_row(job->png, pixels + (size_t)y * row_bytes, NULL);
    }
    png_read_end(job->png, NULL);
}

static unet_status look_up_palette(struct png_job *job, unet_error *error)
{
    png_colorp colors = NULL;
    int count = 0;
    if (job->source->indices || png_get_color_type(job->png, job->info) != PNG_COLOR_TYPE_PALETTE ||
        png_get_PLTE(job->png, job->info, &colors, &count) == 0)
        return UNET_OK;
    uint8_t palette[256][3] = {{0}}; /* indices beyond the palette are black, as in Pillow */
    for (int i = 0; i < count && i < 256; i++) {
        palette[i][0] = colors[i].red;
        palette[i][1] = colors[i].green;
        palette[i][2] = colors[i].blue;
    }
    unet_image colored;
    TRY(image_from_palette(&job->image, (const uint8_t(*)[3])palette, &colored, error));
    unet_image_clear(&job->image);
    job->image = colored;
    return UNET_OK;
}

/* Errors of libpng come back through the jump. */
static unet_status run(struct png_job *job, unet_error *error)
{
    if (setjmp(job->guard.jump) != 0) {
        if (job->guard.out_of_memory)
            return error_memory(error, job->source->size, "decoding a PNG");
        return decode_damaged(job->source, "PNG", job->guard.reason, error);
    }
    job->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &job->guard, png_guard_error,
                                        png_guard_warning, &job->guard, png_guard_allocate,
                                        png_guard_release);
    if (job->png != NULL)
        job->info = png_create_info_struct(job->png);
    if (job->info == NULL)
        return error_memory(error, job->source->size, "decoding a PNG");
    TRY(read_header(job, error));
    TRY(choose_layout(job, error));
    read_rows(job);
    return look_up_palette(job, error);
}

static unet_status decode_png(const struct image_source *source, unet_image *image,
                              unet_error *error)
{
    struct png_job job = {.source = source};
    unet_status status = run(&job, error);
    png_destroy_read_struct(&job.png, &job.info, NULL);
    if (status == UNET_OK)
        *image = job.image;
    else
        unet_image_clear(&job.image);
    return status;
}

static bool probe_png(const uint8_t *bytes, size_t size)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    return size >= sizeof signature && memcmp(bytes, signature, sizeof signature) == 0;
}

const struct image_reader png_reader = {"PNG", probe_png, decode_png};
