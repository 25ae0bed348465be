/* Checksums of engine sections: XXH3-128 through xxHash. Against accidents, not against forgers. */
#ifndef UNET_BASE_HASH_H
#define UNET_BASE_HASH_H

#include "base/error.h"

struct hash128 {
    uint8_t bytes[16]; /* canonical (big-endian) form */
};

struct hash128 hash_bytes(const void *bytes, size_t count);

/* For what may be large: more than HASH_PIECE bytes count as the hashes of their pieces, one behind
 * the other (the last piece may be shorter), which several threads compute. */
#define HASH_PIECE ((size_t)4 << 20)
unet_status hash_in_pieces(const void *bytes, size_t count, struct hash128 *hash,
                           unet_error *error);

bool hash_equal(const struct hash128 *a, const struct hash128 *b);

#endif
