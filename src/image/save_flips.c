/* The picture of where two masks differ. */
#include "base/memory.h"
#include "image/encode.h"
#include "image/flips.h"
#include "image/pixels.h"
#include "image/shown.h"

/* Discs of 7 and 11 pixels across: the few flips that no boundary explains are seen among many. */
#define NEAR_HALO_REACH 3
#define FAR_HALO_REACH  5

/* Hundredths of the image's light that stay, and of the mark's colour in a halo. */
#define DIMMED_PERCENT 55
#define HALO_PERCENT   40

/* Where marks meet, the later one stands: a flip always shows its colour. */
enum mark { MARK_NONE, MARK_NEAR_HALO, MARK_FAR_HALO, MARK_NEAR, MARK_FAR };

struct flip_picture {
    struct shown shown; /* of no image: black */
    int width, height;
    uint8_t *marks; /* height × width */
};

static void put_mark(struct flip_picture *picture, int x, int y, enum mark mark)
{
    uint8_t *place = picture->marks + (size_t)y * (size_t)picture->width + (size_t)x;
    if (mark > *place)
        *place = (uint8_t)mark;
}

static void mark_flip(struct flip_picture *picture, int x, int y, bool near)
{
    int reach = near ? NEAR_HALO_REACH : FAR_HALO_REACH;
    for (int down = -reach; down <= reach; down++) {
        if (y + down < 0 || y + down >= picture->height)
            continue;
        for (int across = -reach; across <= reach; across++)
            if (x + across >= 0 && x + across < picture->width &&
                across * across + down * down <= reach * reach + 1)
                put_mark(picture, x + across, y + down, near ? MARK_NEAR_HALO : MARK_FAR_HALO);
    }
    put_mark(picture, x, y, near ? MARK_NEAR : MARK_FAR);
}

static void mark_flips(struct flip_picture *picture, const uint8_t *reference, const uint8_t *mask)
{
    for (int y = 0; y < picture->height; y++)
        for (int x = 0; x < picture->width; x++) {
            size_t at = (size_t)y * (size_t)picture->width + (size_t)x;
            if (mask[at] != reference[at])
                mark_flip(picture, x, y,
                          flip_is_near_boundary(reference, picture->width, picture->height, x, y));
        }
}

/* Grey, so that no colour of the image is taken for a mark's. ITU-R 601's weights, in hundredths.
 */
static unsigned dimmed(const struct shown *shown, size_t pixel)
{
    if (shown->image == NULL)
        return 0;
    unsigned light = 100 * shown_sample(shown, pixel);
    if (shown->image->channels == 3)
        light = 30 * shown_sample(shown, 3 * pixel) + 59 * shown_sample(shown, 3 * pixel + 1) +
                11 * shown_sample(shown, 3 * pixel + 2);
    return (light * DIMMED_PERCENT + 5000) / 10000;
}

static void fill_flips(const void *context, int y, uint8_t *row)
{
    static const uint8_t colors[2][3] = {{255, 196, 0}, {255, 32, 160}};
    const struct flip_picture *picture = context;
    for (int x = 0; x < picture->width; x++) {
        size_t at = (size_t)y * (size_t)picture->width + (size_t)x;
        enum mark mark = picture->marks[at];
        bool far = mark == MARK_FAR || mark == MARK_FAR_HALO;
        unsigned ground = dimmed(&picture->shown, at);
        unsigned share = mark == MARK_NONE ? 0 : mark < MARK_NEAR ? HALO_PERCENT : 100;
        for (size_t c = 0; c < 3; c++)
            *row++ = (uint8_t)(((100 - share) * ground + share * colors[far][c] + 50) / 100);
    }
}

static unet_status check_size(const unet_image *other, const char *what, const unet_image *mask,
                              unet_error *error)
{
    if (other->width == mask->width && other->height == mask->height)
        return UNET_OK;
    return error_set(error, UNET_ERROR_USAGE,
                     "a picture of flips of a mask of %d×%d and %s of %d×%d: pass those of one "
                     "image",
                     mask->width, mask->height, what, other->width, other->height);
}

static unet_status check_pictures(const unet_image *image, const unet_image *reference,
                                  const unet_image *mask, unet_error *error)
{
    TRY(image_check_mask(reference, error));
    TRY(image_check_mask(mask, error));
    TRY(check_size(reference, "a reference", mask, error));
    if (image == NULL)
        return UNET_OK;
    TRY(image_check(image, "an image", error));
    if (image->channels != 1 && image->channels != 3)
        return error_set(error, UNET_ERROR_USAGE,
                         "a picture of flips on an image of %d channels: pass 1 (grey), 3 (RGB) or "
                         "no image",
                         image->channels);
    return check_size(image, "an image", mask, error);
}

unet_status unet_flips_save(const char *path, const unet_image *image, const unet_image *reference,
                            const unet_image *mask, unet_error *error)
{
    TRY(check_pictures(image, reference, mask, error));
    struct flip_picture flips = {.width = mask->width, .height = mask->height};
    size_t pixels = image_pixel_count(mask);
    flips.marks = memory_calloc(pixels, 1);
    if (flips.marks == NULL)
        return error_memory(error, pixels, "a picture of flips");
    if (image != NULL)
        flips.shown = shown_of(image);
    mark_flips(&flips, reference->pixels, mask->pixels);
    struct png_picture picture = {.width = flips.width,
                                  .height = flips.height,
                                  .kind = PNG_KIND_RGB,
                                  .fill_row = fill_flips,
                                  .context = &flips};
    unet_status status = png_save(path, &picture, error);
    memory_free(flips.marks);
    return status;
}
