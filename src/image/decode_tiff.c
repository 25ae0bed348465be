/* A TIFF of one page, from memory. */
#include "image/tiff.h"

#include "image/pixels.h"

#include <stdio.h>
#include <string.h>

/* What libtiff may allocate at once; its arrays of tags are far below. */
#define MAX_ALLOCATION ((tmsize_t)1 << 31)

/* Smaller versions of a picture and masks that may lie beside it; no program writes that many. */
#define MAX_COMPANIONS 64

static void keep_reason(struct tiff_job *job, const char *format, va_list arguments)
{
    if (job->reason[0] == '\0')
        vsnprintf(job->reason, sizeof job->reason, format, arguments);
    job->damaged = true;
}

/* 1: handled; libtiff's own handlers, which print, are not asked. */
static int on_error(TIFF *tiff, void *user, const char *module, const char *format,
                    va_list arguments)
{
    (void)tiff;
    (void)module;
    keep_reason(user, format, arguments);
    return 1;
}

static int on_warning(TIFF *tiff, void *user, const char *module, const char *format,
                      va_list arguments)
{
    (void)tiff;
    (void)module;
    struct tiff_job *job = user;
    if (job->warnings_are_damage)
        keep_reason(job, format, arguments);
    return 1;
}

static tmsize_t read_source(thandle_t handle, void *out, tmsize_t count)
{
    struct tiff_job *job = handle;
    size_t left = job->source->size - job->position;
    size_t taken = (size_t)count < left ? (size_t)count : left;
    memcpy(out, job->source->bytes + job->position, taken);
    job->position += taken;
    return (tmsize_t)taken;
}

static tmsize_t refuse_write(thandle_t handle, void *bytes, tmsize_t count)
{
    (void)handle;
    (void)bytes;
    (void)count;
    return -1;
}

static toff_t seek_source(thandle_t handle, toff_t offset, int whence)
{
    struct tiff_job *job = handle;
    toff_t base = whence == SEEK_CUR ? job->position : whence == SEEK_END ? job->source->size : 0;
    toff_t target = base + offset;
    job->position = target < job->source->size ? (size_t)target : job->source->size;
    return target;
}

static int close_source(thandle_t handle)
{
    (void)handle;
    return 0;
}

static toff_t size_source(thandle_t handle)
{
    const struct tiff_job *job = handle;
    return job->source->size;
}

static int map_source(thandle_t handle, void **base, toff_t *size)
{
    const struct tiff_job *job = handle;
    *base = (void *)job->source->bytes; /* libtiff only reads a file that is open for reading */
    *size = job->source->size;
    return 1;
}

static void unmap_source(thandle_t handle, void *base, toff_t size)
{
    (void)handle;
    (void)base;
    (void)size;
}

/* Handlers a handle leave the process-wide ones of the program alone. */
static unet_status open_tiff(struct tiff_job *job, unet_error *error)
{
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (options == NULL)
        return error_memory(error, job->source->size, "decoding a TIFF");
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, job);
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, job);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, MAX_ALLOCATION);
    job->tiff =
        TIFFClientOpenExt(job->source->name, "r", job, read_source, refuse_write, seek_source,
                          close_source, size_source, map_source, unmap_source, options);
    TIFFOpenOptionsFree(options);
    if (job->tiff == NULL)
        return decode_damaged(job->source, "TIFF", job->reason, error);
    return UNET_OK;
}

/* libtiff reads a directory whose last bytes, the offset of the next one, are cut off; it is the
 * end of many files. A directory is a number of entries, the entries, and that offset. */
static unet_status check_directory_end(struct tiff_job *job, unet_error *error)
{
    bool big = TIFFIsBigTIFF(job->tiff), big_endian = TIFFIsBigEndian(job->tiff);
    size_t count_bytes = big ? 8 : 2, entry_bytes = big ? 20 : 12, next_bytes = big ? 8 : 4;
    uint64_t start = TIFFCurrentDirOffset(job->tiff), size = job->source->size, count = 0;
    if (start > size || size - start < count_bytes)
        return decode_damaged(job->source, "TIFF", "the file ends early", error);
    for (size_t i = 0; i < count_bytes; i++)
        count = count << 8 | job->source->bytes[start + (big_endian ? i : count_bytes - 1 - i)];
    uint64_t left = size - start - count_bytes;
    if (left < next_bytes || count > (left - next_bytes) / entry_bytes)
        return decode_damaged(job->source, "TIFF", "the file ends early", error);
    return UNET_OK;
}

/* Whether the first page of several is the one that is meant, only the file's owner knows. Leaves
 * the first page: nothing can be read of it afterwards. */
static unet_status check_single_page(struct tiff_job *job, unet_error *error)
{
    job->reason[0] = '\0';
    for (int i = 0; !TIFFLastDirectory(job->tiff); i++) {
        uint32_t kind = 0;
        if (!TIFFReadDirectory(job->tiff))
            return decode_damaged(job->source, "TIFF", job->reason, error);
        TIFFGetFieldDefaulted(job->tiff, TIFFTAG_SUBFILETYPE, &kind);
        if ((kind & (FILETYPE_REDUCEDIMAGE | FILETYPE_MASK)) == 0 || i == MAX_COMPANIONS)
            return decode_unsupported(job->source, "TIFF", "several pages",
                                      "one file for each page", error);
    }
    return UNET_OK;
}

static unet_status run(struct tiff_job *job, unet_image *image, unet_error *error)
{
    TRY(open_tiff(job, error));
    TRY(check_directory_end(job, error));
    TRY(tiff_read_layout(job, error));
    void *raster;
    TRY(tiff_read_raster(job, &raster, error));
    TRY(tiff_convert_raster(job, raster, image, error));
    unet_status status = image_orient(image, job->layout.orientation, error);
    if (status == UNET_OK)
        status = check_single_page(job, error);
    if (status != UNET_OK)
        unet_image_clear(image);
    return status;
}

static unet_status decode_tiff(const struct image_source *source, unet_image *image,
                               unet_error *error)
{
    struct tiff_job job = {.source = source};
    unet_image made = {0};
    unet_status status = run(&job, &made, error);
    if (job.tiff != NULL)
        TIFFClose(job.tiff);
    if (status == UNET_OK)
        *image = made;
    return status;
}

static bool probe_tiff(const uint8_t *bytes, size_t size)
{
    static const char *const magics[] = {"II*\0", "MM\0*", "II+\0", "MM\0+"};
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
        if (size >= 4 && memcmp(bytes, magics[i], 4) == 0)
            return true;
    }
    return false;
}

const struct image_reader tiff_reader = {"TIFF", probe_tiff, decode_tiff};
