/* The border between the host's side of Hopper's transposed convolution and its kernels. */
#ifndef UNET_KERNELS_CUDA_CONV_TRANSPOSE_HOPPER_H
#define UNET_KERNELS_CUDA_CONV_TRANSPOSE_HOPPER_H

#include "kernels/cuda/gpu.h"

#include <cuda.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HOPPER_GEMM_CHUNK   128 /* bytes of a pixel's channels that a stage holds */
#define HOPPER_GEMM_OUTPUTS 128 /* of a tile; its pixels are GPU_GEMM_ROWS × GPU_GEMM_COLUMNS */

/* gemm: its weights are [tile of outputs][chunk][output][HOPPER_GEMM_CHUNK bytes], rows swizzled.
 * map: of its only source, in boxes of a tile's pixels and a chunk. */
typedef cudaError_t hopper_gemm_function(const struct gpu_gemm *gemm, const CUtensorMap *map,
                                         cudaStream_t stream);
hopper_gemm_function hopper_gemm_f16, hopper_gemm_bf16, hopper_gemm_tf32, hopper_gemm_u8,
    hopper_gemm_e4m3;

#ifdef __cplusplus
}
#endif
#endif
