#include "inspect.h"

#include <stdio.h>

const char *text_of_shape(const int64_t *shape, int rank)
{
    static char text[UNET_MAX_RANK * 24];
    size_t used = 0;
    if (rank == 0)
        return "scalar";
    for (int i = 0; i < rank; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%lld", i > 0 ? "x" : "",
                                 (long long)shape[i]);
    return text;
}

const char *text_of_mask_values(const uint8_t *values, size_t count, int channels)
{
    enum { SHOWN = 12 };
    static char text[SHOWN * 32];
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count && i < SHOWN; i++) {
        const uint8_t *value = values + i * (size_t)channels;
        const char *comma = i > 0 ? ", " : "";
        if (channels == 3)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s(%d, %d, %d)", comma,
                                     value[0], value[1], value[2]);
        else
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%d", comma, value[0]);
    }
    if (count > SHOWN)
        snprintf(text + used, sizeof text - used, ", ...");
    return text;
}
