/* The transforms of winograd.h for tensors of bytes. */
#include "kernels/x86/vector_avx2.h"

typedef int16_t words16 __attribute__((vector_size(32), may_alias));

static inline words16 words_load(const uint8_t *p)
{
    return (words16)_mm256_cvtepu8_epi16(_mm_load_si128((const __m128i *)p));
}

static inline words16 words_share(words16 x, int16_t c)
{
    return (words16)_mm256_mulhrs_epi16((__m256i)x, _mm256_set1_epi16(c));
}

#define WORDS       words16
#define WORDS_LANES 16

#define WINOGRAD_TIER         u8_avx2
#define WINOGRAD_TYPE         KERNEL_U8
#define WINOGRAD_ELEMENT      uint8_t
#define WINOGRAD_STORE(p, v)  vector_store_u8(p, v)
#define WINOGRAD_STREAM(p, v) vector_store_u8(p, v)

#include "kernels/winograd_template.h"
