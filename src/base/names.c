#include "base/names.h"

#include <string.h>

#include "base/hash.h"

#define FIRST_CAPACITY 64

struct name_slot {
    const char *name; /* NULL: free */
    size_t length, value;
};

static size_t hash_name(const char *name, size_t length)
{
    struct hash128 hash = hash_bytes(name, length);
    size_t word;
    memcpy(&word, hash.bytes, sizeof word);
    return word;
}

/* The slot that holds the name, or the free one where it belongs. Capacities are powers of two and
 * at most three quarters full, so the search ends. */
static struct name_slot *probe(struct name_slot *slots, size_t capacity, const char *name,
                               size_t length)
{
    size_t at = hash_name(name, length) & (capacity - 1);
    while (slots[at].name != NULL &&
           (slots[at].length != length || memcmp(slots[at].name, name, length) != 0))
        at = (at + 1) & (capacity - 1);
    return &slots[at];
}

static bool grow(struct name_index *index)
{
    size_t capacity = index->capacity == 0 ? FIRST_CAPACITY : index->capacity * 2;
    struct name_slot *slots = memory_calloc(capacity, sizeof *slots);
    if (slots == NULL)
        return false;
    for (size_t i = 0; i < index->capacity; i++) {
        const struct name_slot *old = &index->slots[i];
        if (old->name != NULL)
            *probe(slots, capacity, old->name, old->length) = *old;
    }
    memory_free(index->slots);
    index->slots = slots;
    index->capacity = capacity;
    return true;
}

bool name_index_add(struct name_index *index, const char *name, size_t length, size_t value)
{
    if (index->count >= index->capacity / 4 * 3 && !grow(index))
        return false;
    *probe(index->slots, index->capacity, name, length) =
        (struct name_slot){.name = name, .length = length, .value = value};
    index->count++;
    return true;
}

bool name_index_find(const struct name_index *index, const char *name, size_t length, size_t *value)
{
    if (index->count == 0)
        return false;
    const struct name_slot *slot = probe(index->slots, index->capacity, name, length);
    if (slot->name == NULL)
        return false;
    *value = slot->value;
    return true;
}

void name_index_clear(struct name_index *index)
{
    memory_free(index->slots);
    *index = (struct name_index){0};
}
