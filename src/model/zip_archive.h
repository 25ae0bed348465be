/* The entries of a zip archive in memory. libzip reads the directory; the entries' bytes are used
 * where they lie, for torch.save stores them uncompressed. */
#ifndef UNET_MODEL_ZIP_ARCHIVE_H
#define UNET_MODEL_ZIP_ARCHIVE_H

#include "base/file.h"

struct zip_archive {
    const struct file_map *file;
    struct zip *zip;
    struct zip_extent *extents; /* by index: where the entry lies */
    size_t count;
};

/* Opens the archive and checks its layout: entries lie inside the file, apart from each other, and
 * are called in place as in the directory. MODEL, MEMORY. Close it in any case. */
unet_status zip_archive_open(struct zip_archive *archive, const struct file_map *file,
                             unet_error *error);
void zip_archive_close(struct zip_archive *archive);

/* The name of an entry; it lives as long as the archive. */
const char *zip_archive_name(const struct zip_archive *archive, size_t index);
bool zip_archive_find(const struct zip_archive *archive, const char *name, size_t *index);

/* An entry's bytes, in the file. MODEL if it is compressed or encrypted, or its checksum differs
 * (one of 0 was not recorded). */
unet_status zip_archive_bytes(const struct zip_archive *archive, size_t index,
                              const uint8_t **bytes, size_t *size, unet_error *error);

/* Compares the checksum of each entry that is stored as it is and has one, and counts them. */
unet_status zip_archive_verify(const struct zip_archive *archive, size_t *checksums,
                               unet_error *error);

#endif
