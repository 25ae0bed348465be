/* The vectors of c/vector.h in AVX-512; with AVX512_BF16 where the file is compiled for it. */
#ifndef UNET_KERNELS_X86_VECTOR_AVX512_H
#define UNET_KERNELS_X86_VECTOR_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#define VECTOR              __m512
#define VECTOR_LANES        16
#define VECTOR_STREAMS      1
#define vector_load(p)      _mm512_load_ps(p)
#define vector_store(p, v)  _mm512_store_ps(p, v)
#define vector_stream(p, v) _mm512_stream_ps(p, v)
#define vector_fence()      _mm_sfence()
#define vector_broadcast(x) _mm512_set1_ps(x)
#define vector_mul(a, b)    _mm512_mul_ps(a, b)
#define vector_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vector_max(a, b)    _mm512_max_ps(a, b)

static inline __m512 vector_choose(__m512 a, __m512 b, __m512 x, __m512 y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x);
}

static inline __m512 vector_load_int(const void *p)
{
    return _mm512_cvtepi32_ps(_mm512_load_si512(p));
}

static inline __m512 vector_load_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_load_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

#ifdef __AVX512BF16__
/* Takes denormals for zero. */
static inline void vector_store_bf16(uint16_t *p, __m512 v)
{
    _mm256_store_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh(v));
}

#define vector_stream_bf16(p, v)                                                                   \
    _mm256_stream_si256((__m256i *)(void *)(p), (__m256i)_mm512_cvtneps_pbh(v))
#else
/* As bf16_from_float. */
static inline void vector_store_bf16(uint16_t *p, __m512 v)
{
    __m512i bits = _mm512_castps_si512(v), half = _mm512_srli_epi32(bits, 16);
    __m512i odd = _mm512_and_si512(half, _mm512_set1_epi32(1));
    __m512i sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    __m512i rounded =
        _mm512_mask_or_epi32(_mm512_srli_epi32(sum, 16), nan, half, _mm512_set1_epi32(0x40));
    _mm256_store_si256((__m256i *)p, _mm512_cvtepi32_epi16(rounded));
}
#endif

static inline __m512 vector_load_u8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)p)));
}

static inline void vector_store_u8_mean(uint8_t *p, __m512 v)
{
    _mm_store_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
}

/* As u8_from_float; max(NaN, 0) is 0. */
static inline void vector_store_u8(uint8_t *p, __m512 v)
{
    v = _mm512_min_ps(_mm512_max_ps(v, _mm512_setzero_ps()), _mm512_set1_ps(255.0f));
    vector_store_u8_mean(p, v);
}

/* The bytes of four vectors, as u8_from_float rounds them: packing clips, but for what is too
 * large to be converted. It interleaves the quarters of the vectors, which are sorted at the
 * end. */
static inline __m512i vector_bytes(__m512 a, __m512 b, __m512 c, __m512 d)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512 most = _mm512_set1_ps(255.0f);
    __m512i first = _mm512_packs_epi32(_mm512_cvtps_epi32(_mm512_min_ps(most, a)),
                                       _mm512_cvtps_epi32(_mm512_min_ps(most, b)));
    __m512i second = _mm512_packs_epi32(_mm512_cvtps_epi32(_mm512_min_ps(most, c)),
                                        _mm512_cvtps_epi32(_mm512_min_ps(most, d)));
    return _mm512_permutexvar_epi32(order, _mm512_packus_epi16(first, second));
}

/* 64 bytes of as many sums, which are aligned; `out` need not be. */
#define vector_store_u8_four(out, sums)                                                            \
    _mm512_storeu_si512(out, vector_bytes(vector_load(sums), vector_load((sums) + 16),             \
                                          vector_load((sums) + 32), vector_load((sums) + 48)))

#endif
