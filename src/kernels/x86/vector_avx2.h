/* The vectors of c/vector.h in AVX2 and FMA. */
#ifndef UNET_KERNELS_X86_VECTOR_AVX2_H
#define UNET_KERNELS_X86_VECTOR_AVX2_H

#include <immintrin.h>

#define VECTOR              __m256
#define VECTOR_LANES        8
#define vector_load(p)      _mm256_load_ps(p)
#define vector_store(p, v)  _mm256_store_ps(p, v)
#define vector_stream(p, v) vector_store(p, v)
#define vector_fence()      ((void)0)
#define vector_broadcast(x) _mm256_set1_ps(x)
#define vector_mul(a, b)    _mm256_mul_ps(a, b)
#define vector_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vector_max(a, b)    _mm256_max_ps(a, b)

#endif
