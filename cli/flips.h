/* What eval keeps of each image where it compares two networks. */
#ifndef UNET_CLI_FLIPS_H
#define UNET_CLI_FLIPS_H

#include <unet.h>

struct image_flips {
    char *name;
    unet_flip_counts counts;
};

struct flip_list {
    struct image_flips *items;
    size_t count, capacity;
};

void flip_list_add(struct flip_list *list, const char *name, const unet_flip_counts *counts);
/* Brings the images of which the largest shares flipped to the front; equals are in the order of
 * their names. */
void flip_list_sort(struct flip_list *list);
void flip_list_clear(struct flip_list *list);

double flip_share(const unet_flip_counts *counts);

#endif
