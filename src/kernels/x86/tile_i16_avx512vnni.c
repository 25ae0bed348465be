/* Words of two 16-bit integers: a step takes as many loads as of floats, and twice the products. */
#include <immintrin.h>

typedef int input_word __attribute__((may_alias));

#define TILE_SET                          tile_set_i16_avx512vnni
#define TILE_TYPE                         KERNEL_U8
#define TILE_WORD_CHANNELS                2
#define TILE_INPUT(p)                     _mm512_set1_epi32(*(const input_word *)(p))
#define TILE_WEIGHT(p)                    _mm512_load_si512(p)
#define TILE_MULTIPLY_ADD(x, weight, sum) _mm512_dpwssd_epi32(sum, weight, x)
#define TILE_SUM                          __m512i
#define TILE_SUM_TO_FLOAT(sum)            _mm512_cvtepi32_ps(sum)

#include "kernels/x86/tile_set_avx512.h"
