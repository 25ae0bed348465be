#include "kernels/cuda/conv_mma.cuh"

cudaError_t gpu_gemm_tf32(const gpu_gemm *gemm, int tile_outputs, cudaStream_t stream)
{
    return launch_tiles<mma_math<GPU_F32>>(gemm, tile_outputs, stream);
}
