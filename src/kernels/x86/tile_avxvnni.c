#include <immintrin.h>

typedef int input_word __attribute__((may_alias));

#define TILE_SET                          tile_set_avxvnni
#define TILE_TYPE                         KERNEL_U8
#define TILE_INPUT(p)                     _mm256_set1_epi32(*(const input_word *)(p))
#define TILE_WEIGHT(p)                    _mm256_load_si256((const __m256i *)(p))
#define TILE_MULTIPLY_ADD(x, weight, sum) _mm256_dpbusd_avx_epi32(sum, x, weight)
#define TILE_SUM                          __m256i
#define TILE_SUM_TO_FLOAT(sum)            _mm256_cvtepi32_ps(sum)

#include "kernels/x86/tile_set_avx2.h"
