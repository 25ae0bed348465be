/* Checksums of engine sections: XXH3-128 through xxHash. Against accidents, not against forgers. */
#ifndef UNET_BASE_HASH_H
#define UNET_BASE_HASH_H

#include "base/error.h"

struct hash128 {
    uint8_t bytes[16]; /* canonical (big-endian) form */
};

struct hash128 hash_bytes(const void *bytes, size_t count);
bool hash_equal(const struct hash128 *a, const struct hash128 *b);

#endif
