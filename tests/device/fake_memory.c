/* Memory of the device that is none. An address is the host's with a bit turned that no address of
 * the host has: whoever follows it without asking faults, and a host's address where the device's
 * belongs is found. Fresh memory holds NaN in every type. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"

#define DEVICE_BIT ((uintptr_t)1 << 62)
#define ALIGNMENT  256

struct block {
    char *memory;
    size_t bytes;
    bool locked;
    struct block *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *blocks;
static long live_bytes;

bool fake_is_device_address(const void *address)
{
    return ((uintptr_t)address & DEVICE_BIT) != 0;
}

void *fake_host_address(const void *address)
{
    if (address == NULL)
        return NULL;
    if (!fake_is_device_address(address)) {
        fprintf(stderr, "fake device: %p is an address of the host\n", address);
        abort();
    }
    return (void *)((uintptr_t)address ^ DEVICE_BIT);
}

static size_t limit(void)
{
    const char *text = getenv("UNET_FAKE_MEMORY");
    return text != NULL ? (size_t)strtoull(text, NULL, 10) : (size_t)1 << 32;
}

static void *new_block(size_t bytes, bool locked)
{
    struct block *block = malloc(sizeof *block);
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    pthread_mutex_lock(&lock);
    bool fits = locked || (size_t)live_bytes + bytes <= limit();
    block->memory = fits ? aligned_alloc(ALIGNMENT, rounded) : NULL;
    if (block->memory != NULL) {
        memset(block->memory, 0xff, rounded);
        block->bytes = bytes;
        block->locked = locked;
        block->next = blocks;
        blocks = block;
        live_bytes += (long)bytes;
    }
    pthread_mutex_unlock(&lock);
    void *memory = block->memory;
    if (memory == NULL)
        free(block);
    return memory;
}

static void free_block(void *memory)
{
    pthread_mutex_lock(&lock);
    struct block **at = &blocks;
    while (*at != NULL && (*at)->memory != memory)
        at = &(*at)->next;
    struct block *block = *at;
    if (block == NULL) {
        fprintf(stderr, "fake device: %p was never allocated\n", memory);
        abort();
    }
    *at = block->next;
    live_bytes -= (long)block->bytes;
    pthread_mutex_unlock(&lock);
    free(block->memory);
    free(block);
}

void *fake_memory_new(size_t bytes)
{
    void *memory = new_block(bytes, false);
    return memory != NULL ? (void *)((uintptr_t)memory ^ DEVICE_BIT) : NULL;
}

void fake_memory_free(void *address)
{
    if (address != NULL)
        free_block(fake_host_address(address));
}

void *fake_locked_new(size_t bytes)
{
    return new_block(bytes, true);
}

void fake_locked_free(void *address)
{
    if (address != NULL)
        free_block(address);
}

bool fake_is_locked(const void *address, size_t bytes)
{
    bool found = false;
    pthread_mutex_lock(&lock);
    for (const struct block *block = blocks; block != NULL; block = block->next) {
        const char *first = address;
        found = found || (block->locked && first >= block->memory &&
                          first + bytes <= block->memory + block->bytes);
    }
    pthread_mutex_unlock(&lock);
    return found;
}

long fake_live_bytes(void)
{
    pthread_mutex_lock(&lock);
    long bytes = live_bytes;
    pthread_mutex_unlock(&lock);
    return bytes;
}
