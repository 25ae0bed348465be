/* An image's samples as a screen shows them. */
#ifndef UNET_IMAGE_SHOWN_H
#define UNET_IMAGE_SHOWN_H

#include "base/error.h"

struct shown {
    const unet_image *image;
    unsigned low, span; /* 16-bit values low … low + span are shown as 0 … 255 */
};

struct shown shown_of(const unet_image *image);

/* The sample at this index of `pixels`, 0 … 255. */
static inline unsigned shown_sample(const struct shown *shown, size_t sample)
{
    if (shown->image->bits == 8)
        return ((const uint8_t *)shown->image->pixels)[sample];
    unsigned value = ((const uint16_t *)shown->image->pixels)[sample] - shown->low;
    return (value * 255 + shown->span / 2) / shown->span;
}

#endif
