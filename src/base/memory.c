#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE       ((size_t)2 << 20)
#define ARENA_CHUNK     ((size_t)16 << 10)
#define ARENA_ALIGNMENT ((size_t)16)

static _Thread_local long fail_after = -1;
static _Thread_local long counted;

long memory_fail_after(long n)
{
    long before = counted;
    counted = 0;
    fail_after = n;
    return before;
}

static bool allowed(void)
{
    counted++;
    if (fail_after < 0)
        return true;
    if (fail_after == 0)
        return false;
    fail_after--;
    return true;
}

void *memory_alloc(size_t bytes)
{
    return allowed() ? malloc(bytes > 0 ? bytes : 1) : NULL;
}

void *memory_calloc(size_t count, size_t size)
{
    bool empty = count == 0 || size == 0;
    return allowed() ? calloc(empty ? 1 : count, empty ? 1 : size) : NULL;
}

void *memory_realloc(void *block, size_t bytes)
{
    return allowed() ? realloc(block, bytes > 0 ? bytes : 1) : NULL;
}

void *memory_alloc_array(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return memory_alloc(bytes);
}

void memory_free(void *block)
{
    free(block);
}

char *memory_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = memory_alloc(bytes);
    if (copy != NULL)
        memcpy(copy, text, bytes);
    return copy;
}

void *memory_alloc_aligned(size_t bytes)
{
    size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : MEMORY_ALIGNMENT;
    size_t rounded;
    if (!allowed() || __builtin_add_overflow(bytes, alignment - 1, &rounded))
        return NULL;
    rounded &= ~(alignment - 1);
    void *block = aligned_alloc(alignment, rounded > 0 ? rounded : alignment);
#ifdef MADV_HUGEPAGE
    if (block != NULL && bytes >= HUGE_PAGE)
        madvise(block, rounded, MADV_HUGEPAGE); /* advice: without huge pages it is only slower */
#endif
    return block;
}

void memory_free_aligned(void *block)
{
    free(block);
}

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, capacity;
    _Alignas(16) unsigned char bytes[];
};

static struct arena_chunk *new_chunk(struct arena *arena, size_t bytes)
{
    size_t capacity = bytes > ARENA_CHUNK ? bytes : ARENA_CHUNK;
    size_t total;
    if (__builtin_add_overflow(capacity, sizeof(struct arena_chunk), &total))
        return NULL;
    struct arena_chunk *chunk = memory_calloc(1, total);
    if (chunk == NULL)
        return NULL;
    chunk->capacity = capacity;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    return chunk;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    size_t rounded;
    if (__builtin_add_overflow(bytes, ARENA_ALIGNMENT - 1, &rounded))
        return NULL;
    rounded &= ~(ARENA_ALIGNMENT - 1);
    struct arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->capacity - chunk->used < rounded)
        chunk = new_chunk(arena, rounded);
    if (chunk == NULL)
        return NULL;
    void *block = chunk->bytes + chunk->used;
    chunk->used += rounded;
    return block;
}

void *arena_alloc_array(struct arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return arena_alloc(arena, bytes);
}

char *arena_strndup(struct arena *arena, const char *text, size_t length)
{
    char *copy = arena_alloc(arena, length + 1);
    if (copy != NULL)
        memcpy(copy, text, length);
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

void arena_clear(struct arena *arena)
{
    while (arena->chunks != NULL) {
        struct arena_chunk *next = arena->chunks->next;
        memory_free(arena->chunks);
        arena->chunks = next;
    }
}
