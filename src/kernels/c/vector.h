/* Four floats that the compiler keeps in one register of whatever machine it compiles for: SSE2,
 * NEON, or four scalars. (Left to themselves compilers take arrays of 16 sums apart into scalars.)
 *
 * The same names stand for 8 floats in x86/vector_avx2.h and for 16 in x86/vector_avx512.h; the
 * templates are written in them. Loads and stores are aligned. vector_stream is a store past the
 * caches where VECTOR_STREAMS: a cache line's vectors should follow each other, and vector_fence the
 * last one of a thread's task. vector_stream_bf16 is defined where there is one. vector_load_int converts 32-bit integers. vector_load_bf16 and vector_store_bf16 widen and
 * round as many bf16, …_u8 as many bytes, as u8_from_float does; aligned to their size.
 * vector_store_u8_mean does so of what needs no clipping: 0…255, and less than ½ beyond. */
#ifndef UNET_KERNELS_C_VECTOR_H
#define UNET_KERNELS_C_VECTOR_H

#include "base/bf16.h"
#include "base/u8.h"

typedef float vector4 __attribute__((vector_size(16), may_alias));

#define VECTOR              vector4
#define VECTOR_LANES        4
#define VECTOR_STREAMS      0
#define vector_load(p)      (*(const vector4 *)(p))
#define vector_store(p, v)  (*(vector4 *)(p) = (v))
#define vector_stream(p, v) vector_store(p, v)
#define vector_fence()      ((void)0)
#define vector_broadcast(x) ((x) - (vector4){0})
#define vector_mul(a, b)    ((a) * (b))
#define vector_fma(a, b, c) ((a) * (b) + (c))

/* a > b ? a : b; b where either is NaN. */
static inline vector4 vector_max(vector4 a, vector4 b)
{
    for (int lane = 0; lane < VECTOR_LANES; lane++)
        b[lane] = a[lane] > b[lane] ? a[lane] : b[lane];
    return b;
}

/* x where a > b, else y. */
static inline vector4 vector_choose(vector4 a, vector4 b, vector4 x, vector4 y)
{
    for (int lane = 0; lane < VECTOR_LANES; lane++)
        y[lane] = a[lane] > b[lane] ? x[lane] : y[lane];
    return y;
}

typedef int32_t integers4 __attribute__((vector_size(16), may_alias));

static inline vector4 vector_load_int(const void *p)
{
    return __builtin_convertvector(*(const integers4 *)p, vector4);
}

static inline vector4 vector_load_bf16(const uint16_t *p)
{
    return (vector4){bf16_to_float(p[0]), bf16_to_float(p[1]), bf16_to_float(p[2]),
                     bf16_to_float(p[3])};
}

static inline void vector_store_bf16(uint16_t *p, vector4 v)
{
    for (int lane = 0; lane < VECTOR_LANES; lane++)
        p[lane] = bf16_from_float(v[lane]);
}

static inline vector4 vector_load_u8(const uint8_t *p)
{
    return (vector4){p[0], p[1], p[2], p[3]};
}

static inline void vector_store_u8(uint8_t *p, vector4 v)
{
    for (int lane = 0; lane < VECTOR_LANES; lane++)
        p[lane] = u8_from_float(v[lane]);
}

static inline void vector_store_u8_mean(uint8_t *p, vector4 v)
{
    vector4 rounded = v + vector_broadcast(8388608.0f) - vector_broadcast(8388608.0f);
    for (int lane = 0; lane < VECTOR_LANES; lane++)
        p[lane] = (uint8_t)(int)rounded[lane];
}

#endif
