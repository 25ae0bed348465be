/* Where the entries of a zip archive lie. libzip keeps that to itself, and so cannot be asked
 * whether entries overlap; this walks the directory for the offsets alone. */
#ifndef UNET_MODEL_ZIP_EXTENTS_H
#define UNET_MODEL_ZIP_EXTENTS_H

#include "base/file.h"

struct zip_extent {
    uint64_t header, data, end; /* of the local header, of its first and past its last data byte */
};

/* Fills `extents` (count of them, in the directory's order). `stored_sizes` are the sizes in the
 * archive that libzip read. MODEL if there are not `count` entries, one lies outside the file, two
 * overlap, or a local header contradicts the directory; MEMORY. */
unet_status zip_find_extents(const struct file_map *file, const uint64_t *stored_sizes,
                             size_t count, struct zip_extent *extents, unet_error *error);

#endif
