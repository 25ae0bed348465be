/* The vectors of c/vector.h in AVX2 and FMA. */
#ifndef UNET_KERNELS_X86_VECTOR_AVX2_H
#define UNET_KERNELS_X86_VECTOR_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#define VECTOR              __m256
#define VECTOR_LANES        8
#define VECTOR_STREAMS      1
#define vector_load(p)      _mm256_load_ps(p)
#define vector_store(p, v)  _mm256_store_ps(p, v)
#define vector_stream(p, v) _mm256_stream_ps(p, v)
#define vector_fence()      _mm_sfence()
#define vector_broadcast(x) _mm256_set1_ps(x)
#define vector_mul(a, b)    _mm256_mul_ps(a, b)
#define vector_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vector_max(a, b)    _mm256_max_ps(a, b)

static inline __m256 vector_choose(__m256 a, __m256 b, __m256 x, __m256 y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}

static inline __m256 vector_load_int(const void *p)
{
    return _mm256_cvtepi32_ps(_mm256_load_si256(p));
}

static inline __m256 vector_load_bf16(const uint16_t *p)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_load_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

/* As bf16_from_float. */
static inline void vector_store_bf16(uint16_t *p, __m256 v)
{
    __m256i bits = _mm256_castps_si256(v), half = _mm256_srli_epi32(bits, 16);
    __m256i odd = _mm256_and_si256(half, _mm256_set1_epi32(1));
    __m256i sum = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    __m256i quiet = _mm256_or_si256(half, _mm256_set1_epi32(0x40));
    __m256i rounded = _mm256_blendv_epi8(_mm256_srli_epi32(sum, 16), quiet, nan);
    __m256i packed = _mm256_packus_epi32(rounded, rounded); /* in each 128-bit half on its own */
    packed = _mm256_permute4x64_epi64(packed, 0x08);
    _mm_store_si128((__m128i *)p, _mm256_castsi256_si128(packed));
}

static inline __m256 vector_load_u8(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

static inline void vector_store_u8_mean(uint8_t *p, __m256 v)
{
    __m256i whole = _mm256_cvtps_epi32(v);
    __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(words, words));
}

/* As u8_from_float; max(NaN, 0) is 0. */
static inline void vector_store_u8(uint8_t *p, __m256 v)
{
    v = _mm256_min_ps(_mm256_max_ps(v, _mm256_setzero_ps()), _mm256_set1_ps(255.0f));
    vector_store_u8_mean(p, v);
}

#endif
