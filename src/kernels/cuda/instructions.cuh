/* PTX that CUDA C++ has no function for. Before sm_80 there is no cp.async, and mma multiplies halves
 * alone, eight deep; e4m3 from sm_89 on. */
#ifndef UNET_KERNELS_CUDA_INSTRUCTIONS_CUH
#define UNET_KERNELS_CUDA_INSTRUCTIONS_CUH

#include <stdint.h>

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define HAS_AMPERE 1
#else
#define HAS_AMPERE 0
#endif

static inline __device__ unsigned in_shared(const void *pointer)
{
    return (unsigned)__cvta_generic_to_shared(pointer);
}

static inline __device__ void shared_store(unsigned to, uint4 value)
{
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(value.x), "r"(value.y),
                 "r"(value.z), "r"(value.w)
                 : "memory");
}

/* 16 bytes to shared memory through the first-level cache, where neighbours will find them; zeros
 * where they are not there (`from` is any valid address then). */
static inline __device__ void copy_async_near(unsigned to, const char *from, bool there)
{
#if HAS_AMPERE
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(there ? 16 : 0)
                 : "memory");
#else
    shared_store(to, there ? *(const uint4 *)from : make_uint4(0, 0, 0, 0));
#endif
}

/* The same past the first-level cache. */
static inline __device__ void copy_async(unsigned to, const char *from)
{
#if HAS_AMPERE
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
#else
    shared_store(to, *(const uint4 *)from);
#endif
}

static inline __device__ void copies_commit()
{
#if HAS_AMPERE
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/* Until all but the last COUNT groups of this thread have come. */
template <int COUNT> static inline __device__ void copies_wait()
{
#if HAS_AMPERE
    asm volatile("cp.async.wait_group %0;" ::"n"(COUNT) : "memory");
#endif
}

/* Four 8 × 16-byte matrices; a lane gets word lane % 4 of row lane / 4 of each, and names a row. */
static inline __device__ void load_matrices(unsigned *words, unsigned row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(row)
                 : "memory");
}

/* 16 rows × 32 bytes times 32 bytes × 8 columns. c: rows g and g + 8, two columns each. */
#define MMA(name, shape, types, constraint, sum)                                                   \
    static inline __device__ void name(sum *upper, sum *lower, const unsigned *a,                  \
                                       const unsigned *b)                                          \
    {                                                                                              \
        asm volatile("mma.sync.aligned." shape ".row.col." types                                   \
                     " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"            \
                     : constraint(upper[0]), constraint(upper[1]), constraint(lower[0]),           \
                       constraint(lower[1])                                                        \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));          \
    }

/* Kernels of these are refused there. */
#define NO_MMA(name, sum)                                                                          \
    static inline __device__ void name(sum *, sum *, const unsigned *, const unsigned *)           \
    {                                                                                              \
        __trap();                                                                                  \
    }

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
MMA(mma_e4m3, "m16n8k32", "f32.e4m3.e4m3.f32", "+f", float)
#else
NO_MMA(mma_e4m3, float)
#endif

#if HAS_AMPERE
MMA(mma_f16, "m16n8k16", "f32.f16.f16.f32", "+f", float)
MMA(mma_bf16, "m16n8k16", "f32.bf16.bf16.f32", "+f", float)
MMA(mma_tf32, "m16n8k8", "f32.tf32.tf32.f32", "+f", float)
MMA(mma_u8, "m16n8k32", "s32.u8.s8.s32", "+r", int)
MMA(mma_s8, "m16n8k32", "s32.s8.s8.s32", "+r", int)

/* Ten bits of mantissa, to the nearest. */
static inline __device__ unsigned tf32_round(unsigned bits)
{
    unsigned result;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(__uint_as_float(bits)));
    return result;
}
#else
static inline __device__ void mma_f16(float *upper, float *lower, const unsigned *a,
                                      const unsigned *b)
{
#pragma unroll
    for (int half = 0; half < 2; half++)
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32"
                     " {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                     : "+f"(upper[0]), "+f"(upper[1]), "+f"(lower[0]), "+f"(lower[1])
                     : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
}

NO_MMA(mma_bf16, float)
NO_MMA(mma_tf32, float)
NO_MMA(mma_u8, int)
NO_MMA(mma_s8, int)

static inline __device__ unsigned tf32_round(unsigned bits)
{
    return bits;
}
#endif

#endif
