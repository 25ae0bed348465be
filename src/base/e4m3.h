/* Bytes of floating point: 4 bits of exponent, 3 of mantissa. There are no infinities; 448 is the
 * largest, 2^-9 the smallest above 0. */
#ifndef UNET_BASE_E4M3_H
#define UNET_BASE_E4M3_H

#include <math.h>
#include <stdint.h>

#define E4M3_MOST 448.0f
#define E4M3_NAN  0x7f

/* To the nearest, ties to even; beyond 448 to 448. */
static inline uint8_t e4m3_from_float(float value)
{
    uint8_t sign = signbit(value) ? 0x80 : 0;
    float rest = fabsf(value), fraction;
    int exponent;
    if (isnan(value))
        return sign | E4M3_NAN;
    if (rest >= E4M3_MOST)
        return sign | (E4M3_NAN - 1);
    if (rest < 0x1p-6f) /* subnormal, or its largest one's successor: a multiple of 2^-9 */
        return sign | (uint8_t)nearbyintf(rest * 0x1p9f);
    fraction = frexpf(rest, &exponent);            /* 0.5 ... 1 */
    int units = (int)nearbyintf(fraction * 16.0f); /* 8 ... 16; the latter carries */
    return sign | (uint8_t)(((exponent + 5) << 3) + units);
}

static inline float e4m3_to_float(uint8_t value)
{
    int exponent = value >> 3 & 0xf, mantissa = value & 7;
    float rest =
        exponent > 0 ? ldexpf((float)(8 + mantissa), exponent - 10) : ldexpf((float)mantissa, -9);
    if ((value & 0x7f) == E4M3_NAN)
        rest = NAN;
    return value & 0x80 ? -rest : rest;
}

/* The nearest float32 that an e4m3 can hold. */
static inline float e4m3_round(float value)
{
    return e4m3_to_float(e4m3_from_float(value));
}

#endif
