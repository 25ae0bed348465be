#include "kernels/x86/vector_avx2.h"

#include <stddef.h>

#define ROW_OPS row_ops_avx2

/* In each 128-bit half on its own, the transpose of the 4×4 floats that the four rows hold there.
 */
static inline void transpose_in_halves(__m256 *a, __m256 *b, __m256 *c, __m256 *d)
{
    __m256d ab_low = _mm256_castps_pd(_mm256_unpacklo_ps(*a, *b));
    __m256d ab_high = _mm256_castps_pd(_mm256_unpackhi_ps(*a, *b));
    __m256d cd_low = _mm256_castps_pd(_mm256_unpacklo_ps(*c, *d));
    __m256d cd_high = _mm256_castps_pd(_mm256_unpackhi_ps(*c, *d));
    *a = _mm256_castpd_ps(_mm256_unpacklo_pd(ab_low, cd_low));
    *b = _mm256_castpd_ps(_mm256_unpackhi_pd(ab_low, cd_low));
    *c = _mm256_castpd_ps(_mm256_unpacklo_pd(ab_high, cd_high));
    *d = _mm256_castpd_ps(_mm256_unpackhi_pd(ab_high, cd_high));
}

static inline void transpose8(float *to, const float *from, size_t from_stride)
{
    __m256 row[8];
    for (int i = 0; i < 8; i++)
        row[i] = _mm256_loadu_ps(from + (size_t)i * from_stride);
    transpose_in_halves(&row[0], &row[1], &row[2], &row[3]);
    transpose_in_halves(&row[4], &row[5], &row[6], &row[7]);
    for (int j = 0; j < 4; j++) {
        _mm256_store_ps(to + j * 16, _mm256_permute2f128_ps(row[j], row[4 + j], 0x20));
        _mm256_store_ps(to + (4 + j) * 16, _mm256_permute2f128_ps(row[j], row[4 + j], 0x31));
    }
}

static inline void transpose16(float *to, const float *from, size_t from_stride)
{
    for (int i = 0; i < 16; i += 8)
        for (int j = 0; j < 16; j += 8)
            transpose8(to + j * 16 + i, from + (size_t)i * from_stride + j, from_stride);
}

#include "kernels/c/rows_template.h"
