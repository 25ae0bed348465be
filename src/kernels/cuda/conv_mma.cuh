/* What tensor cores multiply: see conv_gemm.cuh. */
#ifndef UNET_KERNELS_CUDA_CONV_MMA_CUH
#define UNET_KERNELS_CUDA_CONV_MMA_CUH

#include "kernels/cuda/conv_gemm.cuh"

/* A fragment of a lane: of 16 pixels the words of 32 bytes, of 8 outputs the same. TYPE says what the
 * words hold: GPU_F32 stands for ten bits of mantissa. */
template <int TYPE> struct mma_math {
    typedef float sum;

    static __device__ void one(sum *upper, sum *lower, const unsigned *a, const unsigned *b, bool)
    {
        if (TYPE == GPU_F16)
            mma_f16(upper, lower, a, b);
        else if (TYPE == GPU_BF16)
            mma_bf16(upper, lower, a, b);
        else if (TYPE == GPU_E4M3)
            mma_e4m3(upper, lower, a, b);
        else
            mma_tf32(upper, lower, a, b);
    }

    static __device__ void multiply(lane_sums<sum> *sums, unsigned in, int pixels, unsigned weights,
                                    int outputs, bool is_signed);
};

template <> struct mma_math<GPU_U8> {
    typedef int sum;

    static __device__ void one(sum *upper, sum *lower, const unsigned *a, const unsigned *b,
                               bool is_signed)
    {
        if (is_signed)
            mma_s8(upper, lower, a, b);
        else
            mma_u8(upper, lower, a, b);
    }

    static __device__ void multiply(lane_sums<sum> *sums, unsigned in, int pixels, unsigned weights,
                                    int outputs, bool is_signed);
};

/* Weights of 32 outputs: words of four times eight of them. Weights are rounded when they are packed,
 * pixels here. */
static __device__ void load_weight_words(unsigned words[LANE_PAIRS][2], unsigned weights,
                                         int outputs, int half)
{
    int lane = threadIdx.x % 32, row = lane % 8 + lane / 16 * 8, piece = half * 2 + lane / 8 % 2;
#pragma unroll
    for (int j = 0; j < LANE_PAIRS; j += 2)
        load_matrices(words[j], weights + staged_at(outputs + 8 * j + row, piece));
}

template <class MATH, bool ROUND>
static __device__ void multiply_chunk(lane_sums<typename MATH::sum> *sums, unsigned in, int pixels,
                                      unsigned weights, int outputs, bool is_signed)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; half++) { /* of the chunk's bytes */
        unsigned b[LANE_PAIRS][2];
        load_weight_words(b, weights, outputs, half);
#pragma unroll
        for (int i = 0; i < LANE_ROWS / 2; i++) {
            unsigned a[4];
            load_matrices(a, in + staged_at(pixels + 16 * i + lane % 16, half * 2 + lane / 16));
#pragma unroll
            for (int k = 0; k < 4 && ROUND; k++)
                a[k] = tf32_round(a[k]);
#pragma unroll
            for (int j = 0; j < LANE_PAIRS; j++)
                MATH::one(sums->at[2 * i][j], sums->at[2 * i + 1][j], a, b[j], is_signed);
        }
    }
}

template <int TYPE>
__device__ void mma_math<TYPE>::multiply(lane_sums<float> *sums, unsigned in, int pixels,
                                         unsigned weights, int outputs, bool is_signed)
{
    multiply_chunk<mma_math<TYPE>, TYPE == GPU_F32>(sums, in, pixels, weights, outputs, is_signed);
}

inline __device__ void mma_math<GPU_U8>::multiply(lane_sums<int> *sums, unsigned in, int pixels,
                                                  unsigned weights, int outputs, bool is_signed)
{
    multiply_chunk<mma_math<GPU_U8>, false>(sums, in, pixels, weights, outputs, is_signed);
}

#endif
