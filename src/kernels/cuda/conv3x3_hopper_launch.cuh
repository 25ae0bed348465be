/* The types of sources that the 3x3 convolution of compute capability 9.0 has, its variants, and
 * their launches. */
#ifndef UNET_KERNELS_CUDA_CONV3X3_HOPPER_LAUNCH_CUH
#define UNET_KERNELS_CUDA_CONV3X3_HOPPER_LAUNCH_CUH

#include "kernels/cuda/conv3x3_hopper.cuh"

namespace hopper {

/* ---- types of sources ---- */

struct f16 {
    typedef float sum;
    static constexpr int bytes = 2;
    static constexpr bool may_be_signed = false;
    template <bool SIGNED, int M>
    static __device__ inline void product(float (&d)[M], uint64_t x, uint64_t y, int add)
    {
        product_f16(d, x, y, add);
    }
};

struct bf16 {
    typedef float sum;
    static constexpr int bytes = 2;
    static constexpr bool may_be_signed = false;
    template <bool SIGNED, int M>
    static __device__ inline void product(float (&d)[M], uint64_t x, uint64_t y, int add)
    {
        product_bf16(d, x, y, add);
    }
};

struct tf32 {
    typedef float sum;
    static constexpr int bytes = 4;
    static constexpr bool may_be_signed = false;
    template <bool SIGNED, int M>
    static __device__ inline void product(float (&d)[M], uint64_t x, uint64_t y, int add)
    {
        product_tf32(d, x, y, add);
    }
};

struct u8 {
    typedef int sum;
    static constexpr int bytes = 1;
    static constexpr bool may_be_signed = true;
    template <bool SIGNED, int M>
    static __device__ inline void product(int (&d)[M], uint64_t x, uint64_t y, int add)
    {
        if constexpr (SIGNED)
            product_s8_s8(d, x, y, add);
        else
            product_s8_u8(d, x, y, add);
    }
};

struct e4m3 {
    typedef float sum;
    static constexpr int bytes = 1;
    static constexpr bool may_be_signed = false;
    template <bool SIGNED, int M>
    static __device__ inline void product(float (&d)[M], uint64_t x, uint64_t y, int add)
    {
        product_e4m3(d, x, y, add);
    }
};

/* ---- launches ---- */

typedef void kernel_function(const hopper_conv);

struct variant {
    struct hopper_shape shape;
    kernel_function *run;
    int shared_bytes;
};

template <class T, int N, int ROW, int MODE, int CLUSTER> constexpr variant make_variant()
{
    return {{(enum hopper_mode)MODE, N, ROW, CLUSTER},
            kernel<T, N, ROW, MODE, CLUSTER>,
            sizes<N, ROW>::shared_bytes};
}

inline bool same(const hopper_shape &a, const hopper_shape &b)
{
    return a.mode == b.mode && a.pixels == b.pixels && a.row_bytes == b.row_bytes &&
           a.cluster == b.cluster;
}

inline cudaError_t launch(const variant *variants, size_t count, const hopper_conv *conv,
                          hopper_shape shape, int blocks, bool early, cudaStream_t stream)
{
    const variant *v = variants;
    while (v < variants + count && !same(v->shape, shape))
        v++;
    if (v == variants + count)
        return cudaErrorInvalidDeviceFunction;
    cudaError_t error = cudaFuncSetAttribute(
        (const void *)v->run, cudaFuncAttributeMaxDynamicSharedMemorySize, v->shared_bytes);
    if (error)
        return error;
    cudaLaunchAttribute attributes[2] = {};
    attributes[0].id = cudaLaunchAttributeClusterDimension;
    attributes[0].val.clusterDim.x = (unsigned)shape.cluster;
    attributes[0].val.clusterDim.y = attributes[0].val.clusterDim.z = 1;
    attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[1].val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)blocks);
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = (size_t)v->shared_bytes;
    config.stream = stream;
    config.attrs = attributes;
    config.numAttrs = early ? 2 : 1;
    void *parameters[] = {(void *)conv};
    return cudaLaunchKernelExC(&config, (const void *)v->run, parameters);
}

/* The variants that win somewhere: streamed in three widths, resident, split; narrow chunks. */
template <class T> struct variants {
    static constexpr variant all[] = {
        make_variant<T, 256, 128, HOPPER_STREAMED, 1>(),
        make_variant<T, 256, 128, HOPPER_RESIDENT, 1>(),
        make_variant<T, 256, 128, HOPPER_SPLIT, 2>(),
        make_variant<T, 128, 128, HOPPER_STREAMED, 1>(),
        make_variant<T, 128, 128, HOPPER_SPLIT, 2>(),
        make_variant<T, 64, 128, HOPPER_STREAMED, 1>(),
        make_variant<T, 256, 64, HOPPER_STREAMED, 1>(),
        make_variant<T, 256, 64, HOPPER_RESIDENT, 1>(),
    };
};

} /* namespace hopper */

#endif
