/* What a flip is, for those who count and those who draw. */
#ifndef UNET_IMAGE_FLIPS_H
#define UNET_IMAGE_FLIPS_H

#include "base/error.h"

/* True if the reference holds another class than at (x, y) within UNET_FLIP_REACH columns and rows.
 */
bool flip_is_near_boundary(const uint8_t *reference, int width, int height, int x, int y);

#endif
