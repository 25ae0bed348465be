/* Words of two 16-bit integers in vectors of four, for plain C. */
#ifndef UNET_KERNELS_C_I16_WORDS_H
#define UNET_KERNELS_C_I16_WORDS_H

#include "kernels/c/vector.h"

typedef int32_t i16_sums __attribute__((vector_size(16), may_alias));
typedef uint32_t i16_bits __attribute__((vector_size(16), may_alias));
typedef int32_t i16_word __attribute__((may_alias));

static inline i16_sums i16_words_broadcast(const float *p)
{
    return *(const i16_word *)p - (i16_sums){0};
}

static inline i16_sums i16_words_load(const float *p)
{
    return *(const i16_sums *)p;
}

/* sum + both products. */
static inline i16_sums i16_words_multiply_add(i16_sums x, i16_sums weight, i16_sums sum)
{
    sum += ((i16_sums)((i16_bits)x << 16) >> 16) * ((i16_sums)((i16_bits)weight << 16) >> 16);
    return sum + (x >> 16) * (weight >> 16);
}

#endif
