#include "image/shown.h"

#include "image/pixels.h"

/* Microscopes fill a part of the 16 bits; shown whole, their images would be black. */
static void find_span(struct shown *shown)
{
    const uint16_t *values = shown->image->pixels;
    size_t count = image_pixel_count(shown->image) * (size_t)shown->image->channels;
    unsigned low = 65535, high = 0;
    for (size_t i = 0; i < count; i++) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    shown->low = low;
    shown->span = high > low ? high - low : 1;
}

struct shown shown_of(const unet_image *image)
{
    struct shown shown = {.image = image, .span = 1};
    if (image->bits == 16)
        find_span(&shown);
    return shown;
}
