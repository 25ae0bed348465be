#include "model/zip_archive.h"

#include <string.h>
#include <zip.h>
#include <zlib.h>

#include "base/memory.h"
#include "model/zip_extents.h"

#define CRC_STEP ((size_t)1 << 30) /* zlib counts in 32 bits */

/* ---------------------------------------------------------------- opening */

static unet_status zip_failure(zip_error_t *reason, unet_error *error)
{
    unet_status status = UNET_ERROR_MODEL;
    if (zip_error_code_zip(reason) == ZIP_ER_MEMORY)
        status = error_set(error, UNET_ERROR_MEMORY, "out of memory for a zip directory");
    else
        error_set(error, status,
                  "is not a zip archive that can be read (%s): it is truncated, damaged or "
                  "oddly compressed; copy it again, or save it again with torch.save",
                  zip_error_strerror(reason));
    zip_error_fini(reason);
    return status;
}

static unet_status open_zip(struct zip_archive *archive, unet_error *error)
{
    zip_error_t reason;
    zip_error_init(&reason);
    zip_source_t *source =
        zip_source_buffer_create(archive->file->bytes, archive->file->size, 0, &reason);
    if (source == NULL)
        return zip_failure(&reason, error);
    archive->zip = zip_open_from_source(source, ZIP_RDONLY, &reason);
    if (archive->zip == NULL) {
        zip_source_free(source);
        return zip_failure(&reason, error);
    }
    zip_error_fini(&reason);
    return UNET_OK;
}

static bool stat_entry(const struct zip_archive *archive, size_t index, zip_stat_t *about)
{
    const zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_CRC |
                                ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    zip_stat_init(about);
    return zip_stat_index(archive->zip, index, ZIP_FL_ENC_RAW, about) == 0 &&
           (about->valid & needed) == needed;
}

static unet_status read_sizes(const struct zip_archive *archive, uint64_t *sizes, unet_error *error)
{
    for (size_t i = 0; i < archive->count; i++) {
        zip_stat_t about;
        if (!stat_entry(archive, i, &about))
            return error_set(error, UNET_ERROR_MODEL,
                             "entry %zu of the zip archive cannot be read; copy or save it again",
                             i);
        size_t first;
        if (!zip_archive_find(archive, about.name, &first) || first != i)
            return error_set(error, UNET_ERROR_MODEL,
                             "the zip archive has two entries named '%s'; save it again",
                             about.name);
        sizes[i] = about.comp_size;
    }
    return UNET_OK;
}

unet_status zip_archive_open(struct zip_archive *archive, const struct file_map *file,
                             unet_error *error)
{
    *archive = (struct zip_archive){.file = file};
    TRY(open_zip(archive, error));
    zip_int64_t count = zip_get_num_entries(archive->zip, 0);
    archive->count = count > 0 ? (size_t)count : 0;
    archive->extents = memory_alloc_array(archive->count, sizeof *archive->extents);
    uint64_t *sizes = memory_alloc_array(archive->count, sizeof *sizes);
    unet_status status =
        archive->extents != NULL && sizes != NULL
            ? read_sizes(archive, sizes, error)
            : error_memory(error, archive->count * sizeof *sizes, "a zip directory");
    if (status == UNET_OK)
        status = zip_find_extents(file, sizes, archive->count, archive->extents, error);
    memory_free(sizes);
    return status;
}

void zip_archive_close(struct zip_archive *archive)
{
    if (archive->zip != NULL)
        zip_discard(archive->zip);
    memory_free(archive->extents);
    *archive = (struct zip_archive){0};
}

/* ---------------------------------------------------------------- entries */

const char *zip_archive_name(const struct zip_archive *archive, size_t index)
{
    return zip_get_name(archive->zip, index, ZIP_FL_ENC_RAW);
}

bool zip_archive_find(const struct zip_archive *archive, const char *name, size_t *index)
{
    zip_int64_t found = zip_name_locate(archive->zip, name, ZIP_FL_ENC_RAW);
    if (found >= 0)
        *index = (size_t)found;
    return found >= 0;
}

static uint32_t checksum(const uint8_t *bytes, size_t size)
{
    uLong crc = crc32(0, NULL, 0);
    for (size_t done = 0; done < size;) {
        size_t step = size - done < CRC_STEP ? size - done : CRC_STEP;
        crc = crc32(crc, bytes + done, (uInt)step);
        done += step;
    }
    return (uint32_t)crc;
}

unet_status zip_archive_bytes(const struct zip_archive *archive, size_t index,
                              const uint8_t **bytes, size_t *size, unet_error *error)
{
    zip_stat_t about;
    if (!stat_entry(archive, index, &about))
        return error_set(error, UNET_ERROR_MODEL,
                         "entry %zu of the zip archive cannot be read; copy or save it again",
                         index);
    if (about.comp_method != ZIP_CM_STORE || about.encryption_method != ZIP_EM_NONE)
        return error_set(error, UNET_ERROR_MODEL,
                         "entry '%s' of the zip archive is %s, unlike what torch.save writes; load "
                         "the model in PyTorch and save it again",
                         about.name,
                         about.encryption_method != ZIP_EM_NONE ? "encrypted" : "compressed");
    if (about.size != about.comp_size)
        return error_set(error, UNET_ERROR_MODEL,
                         "entry '%s' of the zip archive has two different sizes; it is damaged, "
                         "copy or save it again",
                         about.name);
    *bytes = archive->file->bytes + archive->extents[index].data;
    *size = (size_t)about.size;
    if (about.crc != 0 && checksum(*bytes, *size) != about.crc)
        return error_set(
            error, UNET_ERROR_MODEL,
            "entry '%s' of the zip archive does not match its CRC; the file is damaged, "
            "copy or save it again",
            about.name);
    return UNET_OK;
}

unet_status zip_archive_verify(const struct zip_archive *archive, size_t *checksums,
                               unet_error *error)
{
    *checksums = 0;
    for (size_t i = 0; i < archive->count; i++) {
        zip_stat_t about;
        const uint8_t *bytes;
        size_t size;
        if (stat_entry(archive, i, &about) &&
            (about.comp_method != ZIP_CM_STORE || about.encryption_method != ZIP_EM_NONE))
            continue; /* nothing that is read */
        TRY(zip_archive_bytes(archive, i, &bytes, &size, error));
        *checksums += about.crc != 0;
    }
    return UNET_OK;
}
