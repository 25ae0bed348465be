/* Finds names: a hash table from a name to a number, most often its index in an array. */
#ifndef UNET_BASE_NAMES_H
#define UNET_BASE_NAMES_H

#include "base/memory.h"

/* Zero-initialise it. Names are not copied: they must outlive the index. */
struct name_index {
    struct name_slot *slots;
    size_t capacity, count;
};

/* False if memory is out. The name must not be there yet. */
bool name_index_add(struct name_index *index, const char *name, size_t length, size_t value);

/* False if there is none of that name. */
bool name_index_find(const struct name_index *index, const char *name, size_t length,
                     size_t *value);

void name_index_clear(struct name_index *index);

#endif
