/* Counts of the pixels where a mask differs from a reference's. */
#include "image/flips.h"

#include "image/pixels.h"

#include <math.h>

bool flip_is_near_boundary(const uint8_t *reference, int width, int height, int x, int y)
{
    int left = x > UNET_FLIP_REACH ? x - UNET_FLIP_REACH : 0;
    int right = width - 1 - x > UNET_FLIP_REACH ? x + UNET_FLIP_REACH : width - 1;
    int top = y > UNET_FLIP_REACH ? y - UNET_FLIP_REACH : 0;
    int bottom = height - 1 - y > UNET_FLIP_REACH ? y + UNET_FLIP_REACH : height - 1;
    uint8_t own = reference[(size_t)y * (size_t)width + (size_t)x];
    for (int row = top; row <= bottom; row++) {
        const uint8_t *line = reference + (size_t)row * (size_t)width;
        for (int column = left; column <= right; column++)
            if (line[column] != own)
                return true;
    }
    return false;
}

static unet_flip_counts count_flips(const uint8_t *reference, const uint8_t *mask, int width,
                                    int height)
{
    unet_flip_counts counts = {.pixels = (uint64_t)width * (uint64_t)height};
    for (int y = 0; y < height; y++) {
        size_t start = (size_t)y * (size_t)width;
        for (int x = 0; x < width; x++) {
            if (mask[start + (size_t)x] == reference[start + (size_t)x])
                continue;
            counts.flips++;
            counts.near_boundary += flip_is_near_boundary(reference, width, height, x, y);
        }
    }
    return counts;
}

unet_status unet_flips_new(int classes, unet_flips *flips, unet_error *error)
{
    unet_confusion confusion;
    TRY(unet_confusion_new(classes, &confusion, error));
    *flips = (unet_flips){.confusion = confusion};
    return UNET_OK;
}

unet_status unet_flips_add(unet_flips *flips, const uint8_t *reference, const uint8_t *mask,
                           int width, int height, unet_flip_counts *counts, unet_error *error)
{
    if (reference == NULL || mask == NULL || !image_size_allowed(width, height))
        return error_set(error, UNET_ERROR_USAGE,
                         "flips of masks of %d×%d: pass two masks of the same image", width,
                         height);
    size_t pixels = (size_t)width * (size_t)height;
    TRY(unet_confusion_add(&flips->confusion, reference, mask, pixels, -1, error));
    unet_flip_counts added = count_flips(reference, mask, width, height);
    double share = (double)added.flips / (double)added.pixels;
    if (share > flips->worst_share) {
        flips->worst_share = share;
        flips->worst_image = flips->images;
    }
    flips->total.pixels += added.pixels;
    flips->total.flips += added.flips;
    flips->total.near_boundary += added.near_boundary;
    flips->images++;
    if (counts != NULL)
        *counts = added;
    return UNET_OK;
}

double unet_flips_share(const unet_flips *flips)
{
    const unet_flip_counts *total = &flips->total;
    return total->pixels > 0 ? (double)total->flips / (double)total->pixels : NAN;
}

double unet_flips_near_share(const unet_flip_counts *counts)
{
    return counts->flips > 0 ? (double)counts->near_boundary / (double)counts->flips : NAN;
}

double unet_flips_least_iou(const unet_flips *flips, int *class_index)
{
    double least = NAN;
    int which = -1;
    for (int c = 0; c < flips->confusion.classes; c++) {
        if (isnan(unet_confusion_recall(&flips->confusion, c)))
            continue; /* no reference holds it */
        double iou = unet_confusion_iou(&flips->confusion, c);
        if (which < 0 || iou < least) {
            least = iou;
            which = c;
        }
    }
    if (class_index != NULL)
        *class_index = which;
    return least;
}

void unet_flips_clear(unet_flips *flips)
{
    if (flips == NULL)
        return;
    unet_confusion_clear(&flips->confusion);
    *flips = (unet_flips){0};
}
