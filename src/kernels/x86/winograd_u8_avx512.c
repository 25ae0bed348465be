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

static inline words32 words_share(words32 x, int16_t c)
{
    return (words32)_mm512_mulhrs_epi16((__m512i)x, _mm512_set1_epi16(c));
}

/* Two, four or six pixels: the last two of six are `rest`. */
struct row_bytes {
    __m512i first;
    __m256i rest;
};

static inline struct row_bytes row_bytes(int out, const __m512 *y)
{
    struct row_bytes row = {vector_bytes(y[0], y[1], out > 2 ? y[2] : y[0], out > 2 ? y[3] : y[1]),
                            _mm256_setzero_si256()};
    if (out == 6)
        row.rest = _mm512_castsi512_si256(vector_bytes(y[4], y[5], y[4], y[5]));
    return row;
}

static inline void row_bytes_store(int out, uint8_t *to, struct row_bytes row)
{
    if (out == 2) {
        _mm256_storeu_si256((__m256i *)to, _mm512_castsi512_si256(row.first));
        return;
    }
    _mm512_storeu_si512(to, row.first);
    if (out == 6)
        _mm256_storeu_si256((__m256i *)(to + 64), row.rest);
}

/* A pixel is a quarter of a vector. */
static inline void row_bytes_pool(int out, uint8_t *to, struct row_bytes above,
                                  struct row_bytes below)
{
    __m512i columns = _mm512_max_epu8(above.first, below.first);
    __m512i pixels = _mm512_max_epu8(columns, _mm512_shuffle_i32x4(columns, columns, 0xb1));
    __m512i packed = _mm512_shuffle_i32x4(pixels, pixels, 0x08);
    if (out == 2) {
        _mm_store_si128((__m128i *)to, _mm512_castsi512_si128(packed));
        return;
    }
    _mm256_storeu_si256((__m256i *)to, _mm512_castsi512_si256(packed));
    if (out == 6) {
        __m256i rest = _mm256_max_epu8(above.rest, below.rest);
        _mm_store_si128((__m128i *)(to + 32), _mm_max_epu8(_mm256_castsi256_si128(rest),
                                                           _mm256_extracti128_si256(rest, 1)));
    }
}

#define ROW_BYTES   struct row_bytes
#define WORDS       words32
#define WORDS_LANES 32

#define WINOGRAD_TIER         u8_avx512
#define WINOGRAD_TYPE         KERNEL_U8
#define WINOGRAD_ELEMENT      uint8_t
#define WINOGRAD_STORE(p, v)  vector_store_u8(p, v)
#define WINOGRAD_STREAM(p, v) vector_store_u8(p, v)

#include "kernels/winograd_template.h"
