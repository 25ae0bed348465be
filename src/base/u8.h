/* Whole numbers 0…255, as tensors of bytes hold them. */
#ifndef UNET_BASE_U8_H
#define UNET_BASE_U8_H

#include <stdint.h>

/* To the nearest, ties to even; what is below 0 and a NaN become 0, what is above 255 becomes
 * 255. */
static inline uint8_t u8_from_float(float value)
{
    if (!(value > 0.0f))
        return 0;
    if (value >= 255.0f)
        return 255;
    const float shift = 8388608.0f; /* 2²³: the sum has no bits for a fraction */
    float rounded = value + shift;
    return (uint8_t)(rounded - shift);
}

#endif
