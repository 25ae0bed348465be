/* The transforms of winograd.h for tensors of bytes. */
#include "kernels/x86/vector_avx2.h"

typedef int16_t words16 __attribute__((vector_size(32), may_alias));

static inline words16 words_load(const uint8_t *p)
{
    return (words16)_mm256_cvtepu8_epi16(_mm_load_si128((const __m128i *)p));
}

/* Whole numbers of floats. */
static inline void words_round(int16_t *p, __m256 v)
{
    __m256i whole = _mm256_cvtps_epi32(v);
    _mm_store_si128((__m128i *)p, _mm_packs_epi32(_mm256_castsi256_si128(whole),
                                                  _mm256_extracti128_si256(whole, 1)));
}

#define WORDS       words16
#define WORDS_LANES 16

#define WINOGRAD_TIER         u8_avx2
#define WINOGRAD_TYPE         KERNEL_U8
#define WINOGRAD_ELEMENT      uint8_t
#define WINOGRAD_STORE(p, v)  vector_store_u8(p, v)
#define WINOGRAD_STREAM(p, v) vector_store_u8(p, v)

#define WINOGRAD_V             int16_t
#define WINOGRAD_LOAD(p)       vector_load_u8(p)
#define WINOGRAD_STORE_V(p, v) words_round(p, v)

#include "kernels/winograd_template.h"
