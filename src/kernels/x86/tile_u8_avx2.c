/* Products of bytes without VNNI. vpmaddubsw would add pairs of them in 16 bits, where
 * 2 · 255 · 127 does not fit; so bytes are widened, and vpmaddwd adds pairs in 32 bits. Of a word
 * the even bytes make one pair, the odd ones the other: then a mask or a shift widens them in their
 * places. With four pixels a step takes 46 instructions for 16 vpmaddwd; six would not fit the
 * registers. */
#include <immintrin.h>

typedef int input_word __attribute__((may_alias));

static inline __m256i input_pairs(const float *p, int odd)
{
    __m256i words = _mm256_set1_epi32(*(const input_word *)p);
    return odd ? _mm256_srli_epi16(words, 8) : _mm256_and_si256(words, _mm256_set1_epi16(0xff));
}

static inline __m256i weight_pairs(const float *p, int odd)
{
    __m256i words = _mm256_load_si256((const __m256i *)p);
    return _mm256_srai_epi16(odd ? words : _mm256_slli_epi16(words, 8), 8);
}

/* Left to itself the compiler would add both halves' products first, and keep them in memory. */
static inline __m256i pairs_multiply_add(__m256i x, __m256i weight, __m256i sum)
{
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x, weight));
    __asm__("" : "+x"(sum));
    return sum;
}

#define TILE_SET    tile_set_u8_avx2
#define TILE_TYPE   KERNEL_U8
#define TILE_PIXELS 4
#define TILE_HALVES
#define TILE_INPUT(p)                     input_pairs(p, half)
#define TILE_WEIGHT(p)                    weight_pairs(p, half)
#define TILE_MULTIPLY_ADD(x, weight, sum) pairs_multiply_add(x, weight, sum)
#define TILE_SUM                          __m256i
#define TILE_SUM_TO_FLOAT(sum)            _mm256_cvtepi32_ps(sum)

#include "kernels/x86/tile_set_avx2.h"
