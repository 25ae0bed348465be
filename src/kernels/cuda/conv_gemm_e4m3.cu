#include "kernels/cuda/conv_mma.cuh"

cudaError_t gpu_gemm_e4m3(const gpu_gemm *gemm, int tile_outputs, cudaStream_t stream)
{
    return launch_tiles<mma_math<GPU_E4M3>>(gemm, tile_outputs, stream);
}
