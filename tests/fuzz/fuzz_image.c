/* Any bytes as an image: it is decoded or refused with one line. */
#include <unet.h>

#include <stdlib.h>
#include <string.h>

#include "image/decode.h"

/* Every pixel is read, so that a sanitizer sees those that were not written. */
static void check(unet_image *image)
{
    size_t bytes = (size_t)image->width * (size_t)image->height * (size_t)image->channels *
                   (size_t)(image->bits / 8);
    bool sound = image->width >= 1 && image->height >= 1 &&
                 (image->channels == 1 || image->channels == 3) &&
                 (image->bits == 8 || image->bits == 16);
    uint8_t sum = 0;
    for (size_t i = 0; i < bytes; i++)
        sum ^= ((const uint8_t *)image->pixels)[i];
    volatile uint8_t sink = sum;
    (void)sink;
    if (!sound)
        abort();
    unet_image_clear(image);
}

static void check_error(unet_status status, const unet_error *error)
{
    bool expected = status == UNET_ERROR_INPUT || status == UNET_ERROR_MEMORY;
    if (!expected || error->message[0] == '\0' || strchr(error->message, '\n') != NULL)
        abort();
}

/* As a label too, where palettes are not looked up. */
static void decode_label(const uint8_t *data, size_t size)
{
    static const struct image_reader *const readers[] = {&png_reader, &tiff_reader};
    struct image_source source = {.bytes = data, .size = size, .name = "fuzz", .indices = true};
    for (size_t i = 0; i < 2; i++) {
        unet_image image = {0};
        if (readers[i]->probe(data, size) && readers[i]->decode(&source, &image, NULL) == UNET_OK)
            check(&image);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unet_image image = {0};
    unet_error error = {0};
    unet_status status = unet_image_decode(data, size, "fuzz", &image, &error);
    if (status == UNET_OK)
        check(&image);
    else
        check_error(status, &error);
    decode_label(data, size);
    return 0;
}
