/* The transforms of winograd.h for tensors of bytes. */
#include "kernels/x86/vector_avx512.h"

/* Aligned to a tile of V. */
typedef int16_t words32 __attribute__((vector_size(64), aligned(32), may_alias));

static inline words32 words_load(const uint8_t *p)
{
    return (words32)_mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)p));
}

static inline words32 words_first(words32 a, words32 b)
{
    return (words32)_mm512_shuffle_i64x2((__m512i)a, (__m512i)b, 0x44);
}

static inline words32 words_second(words32 a, words32 b)
{
    return (words32)_mm512_shuffle_i64x2((__m512i)a, (__m512i)b, 0xee);
}

#define WORDS       words32
#define WORDS_LANES 32

#define WINOGRAD_TIER         u8_avx512
#define WINOGRAD_NO_6
#define WINOGRAD_TYPE         KERNEL_U8
#define WINOGRAD_ELEMENT      uint8_t
#define WINOGRAD_STORE(p, v)  vector_store_u8(p, v)
#define WINOGRAD_STREAM(p, v) vector_store_u8(p, v)

#include "kernels/winograd_template.h"
