/* Elements of tensors in registers: 16 bytes as floats and back. */
#ifndef UNET_KERNELS_CUDA_ELEMENT_CUH
#define UNET_KERNELS_CUDA_ELEMENT_CUH

#include "kernels/cuda/gpu.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

/* A ReLU's result where `floor` is 0; a NaN stays one. */
static inline __device__ float at_least(float floor, float value)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("max.NaN.f32 %0, %0, %1;" : "+f"(value) : "f"(floor));
    return value;
#else
    return value < floor ? floor : value;
#endif
}

/* Rounded once, to the nearest even. store_two: of neighbours, which some types convert at once. */
template <int TYPE> struct element;

template <> struct element<GPU_F32> {
    typedef float type;
    static __device__ float load(float value, bool) { return value; }
    static __device__ float store(float value, bool) { return value; }
    static __device__ void store_two(float *to, float low, float high, bool)
    {
        to[0] = low;
        to[1] = high;
    }
};

template <> struct element<GPU_F16> {
    typedef __half type;
    static __device__ float load(__half value, bool) { return __half2float(value); }
    static __device__ __half store(float value, bool) { return __float2half_rn(value); }
    static __device__ void store_two(__half *to, float low, float high, bool)
    {
        *(__half2 *)to = __floats2half2_rn(low, high);
    }
};

template <> struct element<GPU_BF16> {
    typedef __nv_bfloat16 type;
    static __device__ float load(__nv_bfloat16 value, bool) { return __bfloat162float(value); }
    static __device__ __nv_bfloat16 store(float value, bool) { return __float2bfloat16_rn(value); }
    static __device__ void store_two(__nv_bfloat16 *to, float low, float high, bool)
    {
        *(__nv_bfloat162 *)to = __floats2bfloat162_rn(low, high);
    }
};

template <> struct element<GPU_U8> {
    typedef uint8_t type;
    /* A signed byte is 128 less: its uppermost bit is the other one. */
    static __device__ float load(uint8_t value, bool is_signed)
    {
        return (float)(is_signed ? value ^ 0x80 : value);
    }
    /* From 2^23 on floats are whole numbers: adding that rounds, faster than a conversion does. */
    static __device__ uint8_t store(float value, bool is_signed)
    {
        float within = fminf(fmaxf(value, 0.0f), 255.0f); /* 0 of a NaN */
        unsigned whole = __float_as_uint(within + 0x1p23f);
        return (uint8_t)(is_signed ? whole ^ 0x80 : whole);
    }
    static __device__ void store_two(uint8_t *to, float low, float high, bool is_signed)
    {
        to[0] = store(low, is_signed);
        to[1] = store(high, is_signed);
    }
};

template <> struct element<GPU_E4M3> {
    typedef uint8_t type;
    static __device__ float load(uint8_t value, bool)
    {
        return __half2float(__half(__nv_cvt_fp8_to_halfraw(value, __NV_E4M3)));
    }
    static __device__ uint8_t store(float value, bool)
    {
        return __nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3);
    }
    static __device__ void store_two(uint8_t *to, float low, float high, bool)
    {
        *(__nv_fp8x2_storage_t *)to =
            __nv_cvt_float2_to_fp8x2(make_float2(low, high), __NV_SATFINITE, __NV_E4M3);
    }
};

/* GPU_PIECE bytes. */
template <int TYPE> struct piece {
    typedef typename element<TYPE>::type type;
    static const int COUNT = GPU_PIECE / sizeof(type);
    union {
        uint4 bits;
        type elements[COUNT];
    };

    __device__ piece() {}
    __device__ void load(const char *from) { bits = *(const uint4 *)from; }
    __device__ void store(char *to) const { *(uint4 *)to = bits; }
    __device__ float get(int i, bool is_signed) const
    {
        return element<TYPE>::load(elements[i], is_signed);
    }
    __device__ void set(int i, float value, bool is_signed)
    {
        elements[i] = element<TYPE>::store(value, is_signed);
    }
    __device__ void set_two(int i, float low, float high, bool is_signed)
    {
        element<TYPE>::store_two(&elements[i], low, high, is_signed);
    }
};

/* Calls FUNCTION<type>(…) for a tensor's type. */
#define WITH_TYPE(type, call)                                                                      \
    switch (type) {                                                                                \
    case GPU_F32:                                                                                  \
        call(GPU_F32);                                                                             \
        break;                                                                                     \
    case GPU_F16:                                                                                  \
        call(GPU_F16);                                                                             \
        break;                                                                                     \
    case GPU_BF16:                                                                                 \
        call(GPU_BF16);                                                                            \
        break;                                                                                     \
    case GPU_E4M3:                                                                                 \
        call(GPU_E4M3);                                                                            \
        break;                                                                                     \
    default:                                                                                       \
        call(GPU_U8);                                                                              \
        break;                                                                                     \
    }

#endif
