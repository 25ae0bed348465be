/* IEEE 754's binary16: 5 bits of exponent, 10 of mantissa. */
#ifndef UNET_BASE_F16_H
#define UNET_BASE_F16_H

#include <stdint.h>
#include <string.h>

static inline float f16_to_float(uint16_t value)
{
    uint32_t sign = (uint32_t)(value & 0x8000u) << 16, rest = value & 0x7fffu, bits;
    float result;
    if (rest >= 0x7c00u) { /* infinity, NaN */
        bits = sign | 0x7f800000u | (rest & 0x3ffu) << 13;
    } else if (rest >= 0x400u) {
        bits = sign | ((rest << 13) + (112u << 23));
    } else { /* subnormal: a multiple of 2^-24 */
        result = (float)rest * 0x1p-24f;
        memcpy(&bits, &result, sizeof bits);
        bits |= sign;
    }
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* To the nearest, ties to even; beyond 65504 by half a unit or more to infinity. */
static inline uint16_t f16_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u) /* a NaN stays one, quiet */
        return (uint16_t)(sign | 0x7e00u | (rest >> 13 & 0x3ffu));
    if (rest >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u);
    if (rest < 0x38800000u) { /* below 2^-14: adding 0.5 leaves the multiple of 2^-24 at the end */
        float shifted;
        memcpy(&shifted, &rest, sizeof shifted);
        shifted += 0.5f;
        memcpy(&rest, &shifted, sizeof rest);
        return (uint16_t)(sign | (rest - 0x3f000000u));
    }
    return (uint16_t)(sign | ((rest - (112u << 23) + 0xfffu + (rest >> 13 & 1u)) >> 13));
}

/* The float32 that an f16 can hold nearest to this one. */
static inline float f16_round(float value)
{
    return f16_to_float(f16_from_float(value));
}

#endif
