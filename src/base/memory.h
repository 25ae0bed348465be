/* Every allocation of the library goes through here, so that a test can make each one fail. */
#ifndef UNET_BASE_MEMORY_H
#define UNET_BASE_MEMORY_H

#include "base/error.h"

/* Alignment of tensors: a cache line and a 512-bit register. */
#define MEMORY_ALIGNMENT 64

/* As malloc, calloc, realloc, free; NULL on failure. Zero bytes give a unique pointer. The arrays
 * check count × size for overflow. */
void *memory_alloc(size_t bytes);
void *memory_calloc(size_t count, size_t size);
void *memory_realloc(void *block, size_t bytes);
void *memory_alloc_array(size_t count, size_t size);
void memory_free(void *block);
char *memory_strdup(const char *text);

/* MEMORY_ALIGNMENT-aligned, uninitialised. Freed by memory_free_aligned. Blocks of 2 MiB and more
 * are advised to use huge pages: a U-Net's tensors are streamed, and each TLB miss shows. */
void *memory_alloc_aligned(size_t bytes);
void memory_free_aligned(void *block);

/* An arena: blocks that live and die together. Zero-initialise it. */
struct arena {
    struct arena_chunk *chunks;
};

/* Zeroed memory, 16-byte aligned, or NULL. */
void *arena_alloc(struct arena *arena, size_t bytes);
void *arena_alloc_array(struct arena *arena, size_t count, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t length);
void arena_clear(struct arena *arena);

/* For tests: the n-th allocation from now fails (0: the next one), and all after it; −1 turns this
 * off. Per thread. Returns how many allocations were counted since the last call. */
long memory_fail_after(long n);

#endif
