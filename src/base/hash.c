#include "base/hash.h"

#include <string.h>
#include <xxhash.h>

struct hash128 hash_bytes(const void *bytes, size_t count)
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, count));
    struct hash128 hash;
    memcpy(hash.bytes, canonical.digest, sizeof hash.bytes);
    return hash;
}

bool hash_equal(const struct hash128 *a, const struct hash128 *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
