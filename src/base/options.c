#include "base/options.h"

#include <string.h>

static unet_status no_size(const char *name, unet_error *error)
{
    return error_set(error, UNET_ERROR_USAGE, "%s.size is not set; set it to sizeof(%s)", name,
                     name);
}

unet_status options_read(void *into, size_t known, const void *from, const char *name,
                         unet_error *error)
{
    memset(into, 0, known);
    memcpy(into, &known, sizeof known);
    if (from == NULL)
        return UNET_OK;
    size_t size;
    memcpy(&size, from, sizeof size);
    if (size < sizeof size)
        return no_size(name, error);
    const unsigned char *bytes = from;
    for (size_t i = known; i < size; i++)
        if (bytes[i] != 0)
            return error_set(error, UNET_ERROR_USAGE,
                             "%s has a member set that version %s does not know; update libunet",
                             name, unet_version());
    size_t common = size < known ? size : known;
    memcpy((unsigned char *)into + sizeof size, bytes + sizeof size, common - sizeof size);
    return UNET_OK;
}

unet_status options_write(void *to, const void *from, size_t known, const char *name,
                          unet_error *error)
{
    size_t size;
    memcpy(&size, to, sizeof size);
    if (size < sizeof size)
        return no_size(name, error);
    size_t common = size < known ? size : known;
    unsigned char *bytes = to;
    memcpy(bytes + sizeof size, (const unsigned char *)from + sizeof size, common - sizeof size);
    memset(bytes + common, 0, size - common);
    return UNET_OK;
}
