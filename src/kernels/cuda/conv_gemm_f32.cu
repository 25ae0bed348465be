/* Float32 as it is: no tensor core multiplies 24 bits of mantissa. */
#include "kernels/cuda/conv_gemm.cuh"

struct fma_math {
    typedef float sum;

    static __device__ float4 load(unsigned row, int at, int piece)
    {
        float4 v;
        asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                     : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                     : "r"(row + staged_at(at, piece))
                     : "memory");
        return v;
    }

    /* A lane's 8 × 8 sums, four products deep a piece. */
    static __device__ void multiply(lane_sums<float> *sums, unsigned in, int pixels,
                                    unsigned weights, int outputs, bool)
    {
        int lane = threadIdx.x % 32;
#pragma unroll
        for (int piece = 0; piece < CHUNK_PIECES; piece++) {
            float4 a[LANE_ROWS];
#pragma unroll
            for (int r = 0; r < LANE_ROWS; r++)
                a[r] = load(in, pixels + lane / 4 + 8 * r, piece);
#pragma unroll
            for (int c = 0; c < 2 * LANE_PAIRS; c++) {
                float4 b = load(weights, outputs + c / 2 * 8 + lane % 4 * 2 + c % 2, piece);
#pragma unroll
                for (int r = 0; r < LANE_ROWS; r++) {
                    float *sum = &sums->at[r][c / 2][c % 2];
                    *sum = fmaf(a[r].x, b.x, *sum);
                    *sum = fmaf(a[r].y, b.y, *sum);
                    *sum = fmaf(a[r].z, b.z, *sum);
                    *sum = fmaf(a[r].w, b.w, *sum);
                }
            }
        }
    }
};

cudaError_t gpu_gemm_f32(const gpu_gemm *gemm, int tile_outputs, cudaStream_t stream)
{
    return launch_tiles<fma_math>(gemm, tile_outputs, stream);
}
