/* What the files of this module share about unet_image. */
#ifndef UNET_IMAGE_PIXELS_H
#define UNET_IMAGE_PIXELS_H

#include "base/error.h"

size_t image_pixel_count(const unet_image *image);
/* Bytes of one row and of all of them. */
size_t image_row_bytes(const unet_image *image);
size_t image_bytes(const unet_image *image);

/* True if a picture of this size is one that the library takes. */
bool image_size_allowed(int64_t width, int64_t height);

/* USAGE unless `image` has pixels and is 1 or 3 channels of 8 or 16 bits; `what` names it. */
unet_status image_check(const unet_image *image, const char *what, unet_error *error);
/* As image_check; besides one channel of 8 bits is wanted. */
unet_status image_check_mask(const unet_image *mask, unet_error *error);

/* unet_image_new without zeroing the pixels; the arguments must be valid. */
unet_status image_allocate(int width, int height, int channels, int bits, unet_image *image,
                           unet_error *error);

/* RGB → grey as Pillow's convert("L") does; 16 bits stay 16. */
unet_status image_to_luma(const unet_image *image, unet_image *luma, unet_error *error);

/* One channel of 8-bit indices → RGB. */
unet_status image_from_palette(const unet_image *indices, const uint8_t palette[256][3],
                               unet_image *image, unet_error *error);

/* `count` pixels of CMYK (0: no ink) → RGB as Pillow's convert("RGB") does. */
void cmyk_to_rgb(const uint8_t *cmyk, size_t count, uint8_t *rgb);

/* Turns or mirrors *image as TIFF's Orientation (1 to 8) says, so that row 0 is the top. */
unet_status image_orient(unet_image *image, int orientation, unet_error *error);

#endif
