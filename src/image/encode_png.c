/* PNG through libpng's low-level interface, set for speed. Masks are runs of equal bytes: looking
 * for runs alone makes them smaller than zlib's lowest level does, and faster. Filters would hide
 * the runs, and in pictures of grey, whose three channels repeat, they gain nothing. */
#include "image/encode.h"

#include "base/file.h"
#include "base/memory.h"
#include "image/png_guard.h"

#include <zlib.h>

#define COMPRESSION_LEVEL 1

/* libpng's own 8 KiB would make an IDAT chunk, with a checksum, of each. */
#define CHUNK_BYTES 65536

/* One encoding. Everything that outlives a jump is in here, not in a function's variables. */
struct png_job {
    const struct png_picture *picture;
    const char *path;
    png_structp png;
    png_infop info;
    struct file_writer writer;
    uint8_t *row;
    struct png_guard guard;
    unet_error *error;
    unet_status write_status;
};

static void write_bytes(png_structp png, png_bytep bytes, size_t count)
{
    struct png_job *job = png_get_io_ptr(png);
    job->write_status = file_writer_write(&job->writer, bytes, count, job->error);
    if (job->write_status != UNET_OK)
        png_error(png, "write");
}

static void flush(png_structp png)
{
    (void)png;
}

static void set_palette(struct png_job *job)
{
    png_color palette[256];
    for (int i = 0; i < 256; i++) {
        uint8_t rgb[3];
        unet_class_color(i, rgb);
        palette[i] = (png_color){.red = rgb[0], .green = rgb[1], .blue = rgb[2]};
    }
    png_set_PLTE(job->png, job->info, palette, 256);
}

static void write_header(struct png_job *job)
{
    static const int types[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_PALETTE, PNG_COLOR_TYPE_RGB};
    const struct png_picture *picture = job->picture;
    png_set_write_fn(job->png, job, write_bytes, flush);
    png_set_compression_level(job->png, COMPRESSION_LEVEL);
    png_set_compression_buffer_size(job->png, CHUNK_BYTES);
    png_set_filter(job->png, PNG_FILTER_TYPE_BASE, PNG_FILTER_NONE);
    if (picture->kind != PNG_KIND_RGB)
        png_set_compression_strategy(job->png, Z_RLE);
    png_set_IHDR(job->png, job->info, (png_uint_32)picture->width, (png_uint_32)picture->height, 8,
                 types[picture->kind], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (picture->kind == PNG_KIND_PALETTE)
        set_palette(job);
    png_write_info(job->png, job->info);
}

static unet_status report(const struct png_job *job)
{
    if (job->write_status != UNET_OK)
        return job->write_status; /* the writer has written the message */
    if (job->guard.out_of_memory)
        return error_memory(job->error, CHUNK_BYTES, "encoding a PNG");
    return error_set(job->error, UNET_ERROR_OUTPUT, "%s: cannot be encoded as PNG: %s", job->path,
                     job->guard.reason);
}

/* Errors of libpng come back through the jump. */
static unet_status run(struct png_job *job)
{
    if (setjmp(job->guard.jump) != 0)
        return report(job);
    job->png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &job->guard, png_guard_error,
                                         png_guard_warning, &job->guard, png_guard_allocate,
                                         png_guard_release);
    if (job->png != NULL)
        job->info = png_create_info_struct(job->png);
    int channels = job->picture->kind == PNG_KIND_RGB ? 3 : 1;
    job->row = memory_alloc_array((size_t)job->picture->width, (size_t)channels);
    if (job->info == NULL || job->row == NULL)
        return error_memory(job->error, CHUNK_BYTES, "encoding a PNG");
    write_header(job);
    for (int y = 0; y < job->picture->height; y++) {
        job->picture->fill_row(job->picture->context, y, job->row);
        png_write_row(job->png, job->row);
    }
    png_write_end(job->png, NULL);
    return UNET_OK;
}

unet_status png_save(const char *path, const struct png_picture *picture, unet_error *error)
{
    struct png_job job = {.picture = picture, .path = path, .error = error};
    TRY(file_writer_open(&job.writer, path, true, error));
    unet_status status = run(&job);
    if (status == UNET_OK)
        status = file_writer_commit(&job.writer, error);
    png_destroy_write_struct(&job.png, &job.info);
    memory_free(job.row);
    file_writer_close(&job.writer);
    return status;
}
