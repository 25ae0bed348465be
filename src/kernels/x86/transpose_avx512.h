/* rows_template.h's transpose16 in AVX-512. */
#ifndef UNET_KERNELS_X86_TRANSPOSE_AVX512_H
#define UNET_KERNELS_X86_TRANSPOSE_AVX512_H

#include <immintrin.h>
#include <stddef.h>

/* The transpose of a 4×4 matrix of 128-bit quarters: row i gets quarter i of each of the four. */
static inline void transpose_quarters(__m512 *a, __m512 *b, __m512 *c, __m512 *d)
{
    __m512 ab_even = _mm512_shuffle_f32x4(*a, *b, 0x88),
           ab_odd = _mm512_shuffle_f32x4(*a, *b, 0xdd);
    __m512 cd_even = _mm512_shuffle_f32x4(*c, *d, 0x88),
           cd_odd = _mm512_shuffle_f32x4(*c, *d, 0xdd);
    *a = _mm512_shuffle_f32x4(ab_even, cd_even, 0x88);
    *b = _mm512_shuffle_f32x4(ab_odd, cd_odd, 0x88);
    *c = _mm512_shuffle_f32x4(ab_even, cd_even, 0xdd);
    *d = _mm512_shuffle_f32x4(ab_odd, cd_odd, 0xdd);
}

/* In each quarter on its own, the transpose of the 4×4 floats that the four rows hold there. */
static inline void transpose_in_quarters(__m512 *a, __m512 *b, __m512 *c, __m512 *d)
{
    __m512d ab_low = _mm512_castps_pd(_mm512_unpacklo_ps(*a, *b));
    __m512d ab_high = _mm512_castps_pd(_mm512_unpackhi_ps(*a, *b));
    __m512d cd_low = _mm512_castps_pd(_mm512_unpacklo_ps(*c, *d));
    __m512d cd_high = _mm512_castps_pd(_mm512_unpackhi_ps(*c, *d));
    *a = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_low, cd_low));
    *b = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_low, cd_low));
    *c = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_high, cd_high));
    *d = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_high, cd_high));
}

static inline void transpose16(float *to, const float *from, size_t from_stride)
{
    __m512 row[16];
    for (int i = 0; i < 16; i++)
        row[i] = _mm512_loadu_ps(from + (size_t)i * from_stride);
    for (int i = 0; i < 16; i += 4)
        transpose_in_quarters(&row[i], &row[i + 1], &row[i + 2], &row[i + 3]);
    for (int j = 0; j < 4; j++)
        transpose_quarters(&row[j], &row[4 + j], &row[8 + j], &row[12 + j]);
    for (int quarter = 0; quarter < 4; quarter++)
        for (int j = 0; j < 4; j++)
            _mm512_store_ps(to + (quarter * 4 + j) * 16, row[quarter * 4 + j]);
}

#endif
