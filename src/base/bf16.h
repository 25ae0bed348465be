/* bfloat16: the upper half of a float32. */
#ifndef UNET_BASE_BF16_H
#define UNET_BASE_BF16_H

#include <stdint.h>
#include <string.h>

static inline float bf16_to_float(uint16_t value)
{
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* To the nearest, ties to even. A NaN is made quiet, lest its bits round to infinity. */
static inline uint16_t bf16_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* The float32 that a bf16 can hold nearest to this one. */
static inline float bf16_round(float value)
{
    return bf16_to_float(bf16_from_float(value));
}

#endif
