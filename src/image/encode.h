/* The PNG writer. */
#ifndef UNET_IMAGE_ENCODE_H
#define UNET_IMAGE_ENCODE_H

#include "base/error.h"

enum png_kind { PNG_KIND_GREY, PNG_KIND_PALETTE, PNG_KIND_RGB };

/* A picture of 8 bits a sample whose rows are asked for one after the other, so that it need not
 * exist as a whole. */
struct png_picture {
    int width, height;
    enum png_kind kind; /* PALETTE: the colours of unet_class_color */
    /* Fills a row of width × 1 or 3 bytes. */
    void (*fill_row)(const void *context, int y, uint8_t *row);
    const void *context;
};

/* Writes the file whole or not at all; missing folders are made. OUTPUT, MEMORY. */
unet_status png_save(const char *path, const struct png_picture *picture, unet_error *error);

#endif
