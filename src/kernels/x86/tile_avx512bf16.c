/* A step takes as many loads as of floats, and twice the products. */
#include <immintrin.h>

typedef int input_word __attribute__((may_alias));

#define TILE_SET                          tile_set_avx512bf16
#define TILE_TYPE                         KERNEL_BF16
#define TILE_INPUT(p)                     ((__m512bh)_mm512_set1_epi32(*(const input_word *)(p)))
#define TILE_WEIGHT(p)                    ((__m512bh)_mm512_load_si512(p))
#define TILE_MULTIPLY_ADD(x, weight, sum) _mm512_dpbf16_ps(sum, weight, x)

#include "kernels/x86/tile_set_avx512.h"
