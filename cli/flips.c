#include "flips.h"

#include "message.h"

#include <stdlib.h>
#include <string.h>

void flip_list_add(struct flip_list *list, const char *name, const unet_flip_counts *counts)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity > 0 ? 2 * list->capacity : 64;
        list->items = must_reallocate(list->items, list->capacity * sizeof *list->items);
    }
    list->items[list->count++] = (struct image_flips){must_format("%s", name), *counts};
}

double flip_share(const unet_flip_counts *counts)
{
    return (double)counts->flips / (double)counts->pixels;
}

static int by_share(const void *a, const void *b)
{
    const struct image_flips *x = a, *y = b;
    double share_x = flip_share(&x->counts), share_y = flip_share(&y->counts);
    if (share_x != share_y)
        return share_x > share_y ? -1 : 1;
    return strcmp(x->name, y->name);
}

void flip_list_sort(struct flip_list *list)
{
    if (list->count > 0)
        qsort(list->items, list->count, sizeof *list->items, by_share);
}

void flip_list_clear(struct flip_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].name);
    free(list->items);
    *list = (struct flip_list){0};
}
