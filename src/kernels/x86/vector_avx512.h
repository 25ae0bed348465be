/* The vectors of c/vector.h in AVX-512. */
#ifndef UNET_KERNELS_X86_VECTOR_AVX512_H
#define UNET_KERNELS_X86_VECTOR_AVX512_H

#include <immintrin.h>

#define VECTOR              __m512
#define VECTOR_LANES        16
#define vector_load(p)      _mm512_load_ps(p)
#define vector_store(p, v)  _mm512_store_ps(p, v)
#define vector_stream(p, v) _mm512_stream_ps(p, v)
#define vector_fence()      _mm_sfence()
#define vector_broadcast(x) _mm512_set1_ps(x)
#define vector_mul(a, b)    _mm512_mul_ps(a, b)
#define vector_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vector_max(a, b)    _mm512_max_ps(a, b)

#endif
