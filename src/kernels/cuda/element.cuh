/* Elements of tensors in registers: 16 bytes as floats and back. */
#ifndef UNET_KERNELS_CUDA_ELEMENT_CUH
#define UNET_KERNELS_CUDA_ELEMENT_CUH

#include "kernels/cuda/gpu.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

/* Rounded once, to the nearest even. */
template <int TYPE> struct element;

template <> struct element<GPU_F32> {
    typedef float type;
    static __device__ float load(float value, bool) { return value; }
    static __device__ float store(float value, bool) { return value; }
};

template <> struct element<GPU_F16> {
    typedef __half type;
    static __device__ float load(__half value, bool) { return __half2float(value); }
    static __device__ __half store(float value, bool) { return __float2half_rn(value); }
};

template <> struct element<GPU_BF16> {
    typedef __nv_bfloat16 type;
    static __device__ float load(__nv_bfloat16 value, bool) { return __bfloat162float(value); }
    static __device__ __nv_bfloat16 store(float value, bool) { return __float2bfloat16_rn(value); }
};

template <> struct element<GPU_U8> {
    typedef uint8_t type;
    /* A signed byte is 128 less: its uppermost bit is the other one. */
    static __device__ float load(uint8_t value, bool is_signed)
    {
        return (float)(is_signed ? value ^ 0x80 : value);
    }
    static __device__ uint8_t store(float value, bool is_signed)
    {
        int whole = max(0, min(255, __float2int_rn(value))); /* 0 of a NaN */
        return (uint8_t)(is_signed ? whole ^ 0x80 : whole);
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
