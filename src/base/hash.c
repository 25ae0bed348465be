#include "base/hash.h"

#include <limits.h>
#include <string.h>
#include <xxhash.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "base/threads.h"

/* More read no faster than memory delivers. */
#define MOST_THREADS 8

struct hash128 hash_bytes(const void *bytes, size_t count)
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, count));
    struct hash128 hash;
    memcpy(hash.bytes, canonical.digest, sizeof hash.bytes);
    return hash;
}

struct pieces {
    const uint8_t *bytes;
    size_t count;
    struct hash128 *hashes;
};

static void hash_piece(void *context, int task, int thread)
{
    (void)thread;
    const struct pieces *pieces = context;
    size_t first = (size_t)task * HASH_PIECE, left = pieces->count - first;
    pieces->hashes[task] = hash_bytes(pieces->bytes + first, left < HASH_PIECE ? left : HASH_PIECE);
}

/* Where no threads can be had, the caller's own does it all. */
static void hash_all(struct pieces *pieces, int count)
{
    int threads = cpu_usable_threads();
    threads = threads < MOST_THREADS ? threads : MOST_THREADS;
    struct thread_pool *pool = NULL;
    unet_error ignored;
    if (thread_pool_create(threads < count ? threads : count, &pool, &ignored) == UNET_OK) {
        thread_pool_run(pool, count, hash_piece, pieces);
        thread_pool_free(&pool);
        return;
    }
    for (int i = 0; i < count; i++)
        hash_piece(pieces, i, 0);
}

unet_status hash_in_pieces(const void *bytes, size_t count, struct hash128 *hash, unet_error *error)
{
    if (count <= HASH_PIECE) {
        *hash = hash_bytes(bytes, count);
        return UNET_OK;
    }
    size_t needed = (count + HASH_PIECE - 1) / HASH_PIECE;
    struct pieces pieces = {.bytes = bytes, .count = count};
    if (needed <= INT_MAX)
        pieces.hashes = memory_alloc_array(needed, sizeof *pieces.hashes);
    if (pieces.hashes == NULL)
        return error_memory(error, needed * sizeof *pieces.hashes, "hashes");
    hash_all(&pieces, (int)needed);
    *hash = hash_bytes(pieces.hashes, needed * sizeof *pieces.hashes);
    memory_free(pieces.hashes);
    return UNET_OK;
}

bool hash_equal(const struct hash128 *a, const struct hash128 *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
