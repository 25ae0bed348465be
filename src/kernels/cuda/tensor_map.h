/* What the copy engine (TMA) of compute capability 9.0 knows of a tensor. */
#ifndef UNET_KERNELS_CUDA_TENSOR_MAP_H
#define UNET_KERNELS_CUDA_TENSOR_MAP_H

#include "kernels/cuda/gpu.h"

#include <cuda.h>

/* Boxes of row_bytes (64 or 128) of channels × columns × rows of one image, swizzled over as many
 * bytes. What lies outside of the tensor is zeros. */
cudaError_t tensor_map_encode(CUtensorMap *map, const struct gpu_tensor *t, int row_bytes,
                              int columns, int rows);

#endif
