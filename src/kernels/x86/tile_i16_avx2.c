/* Words of two 16-bit integers: vpmaddwd adds the two products, and another sum is needed. */
#include <immintrin.h>

typedef int input_word __attribute__((may_alias));

#define TILE_SET                          tile_set_i16_avx2
#define TILE_TYPE                         KERNEL_U8
#define TILE_WORD_CHANNELS                2
#define TILE_INPUT(p)                     _mm256_set1_epi32(*(const input_word *)(p))
#define TILE_WEIGHT(p)                    _mm256_load_si256((const __m256i *)(p))
#define TILE_MULTIPLY_ADD(x, weight, sum) _mm256_add_epi32(sum, _mm256_madd_epi16(weight, x))
#define TILE_SUM                          __m256i
#define TILE_SUM_TO_FLOAT(sum)            _mm256_cvtepi32_ps(sum)

#include "kernels/x86/tile_set_avx2.h"
