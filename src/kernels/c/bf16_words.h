/* Words of two bf16 in vectors of four: what AVX512_BF16 does in one instruction, for plain C. */
#ifndef UNET_KERNELS_C_BF16_WORDS_H
#define UNET_KERNELS_C_BF16_WORDS_H

#include "kernels/c/vector.h"

typedef uint32_t words4 __attribute__((vector_size(16), may_alias));
typedef uint32_t word1 __attribute__((may_alias));

static inline words4 words_broadcast(const float *p)
{
    return *(const word1 *)p - (words4){0};
}

static inline words4 words_load(const float *p)
{
    return *(const words4 *)p;
}

/* sum + the products of both pairs. */
static inline vector4 words_multiply_add(words4 x, words4 weight, vector4 sum)
{
    sum = vector_fma((vector4)(x << 16), (vector4)(weight << 16), sum);
    return vector_fma((vector4)(x & 0xffff0000u), (vector4)(weight & 0xffff0000u), sum);
}

#endif
