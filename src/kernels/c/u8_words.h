/* Words of four bytes in vectors of four: what VNNI does in one instruction, for plain C. */
#ifndef UNET_KERNELS_C_U8_WORDS_H
#define UNET_KERNELS_C_U8_WORDS_H

#include "kernels/c/vector.h"

typedef int32_t whole4 __attribute__((vector_size(16), may_alias));
typedef uint32_t bits4 __attribute__((vector_size(16), may_alias));
typedef int32_t whole1 __attribute__((may_alias));

static inline whole4 u8_words_broadcast(const float *p)
{
    return *(const whole1 *)p - (whole4){0};
}

static inline whole4 u8_words_load(const float *p)
{
    return *(const whole4 *)p;
}

/* sum + the four products: bytes of x without a sign, of `weight` with one. */
static inline whole4 u8_words_multiply_add(whole4 x, whole4 weight, whole4 sum)
{
    sum += (x & 0xff) * ((whole4)((bits4)weight << 24) >> 24);
    sum += (x >> 8 & 0xff) * ((whole4)((bits4)weight << 16) >> 24);
    sum += (x >> 16 & 0xff) * ((whole4)((bits4)weight << 8) >> 24);
    sum += (x >> 24 & 0xff) * (weight >> 24);
    return sum;
}

static inline vector4 u8_words_to_float(whole4 sum)
{
    return __builtin_convertvector(sum, vector4);
}

#endif
