/* Threads for the pieces of a tensor's rows: x runs along a row, y over rows, z over images. */
#ifndef UNET_KERNELS_CUDA_GRID_CUH
#define UNET_KERNELS_CUDA_GRID_CUH

#include "kernels/cuda/gpu.h"

#define GRID_THREADS 256
#define GRID_MOST    65535 /* blocks in y and z; kernels loop over what is more */

static inline dim3 grid_for(int row_items, int rows, int images)
{
    unsigned blocks = ((unsigned)row_items + GRID_THREADS - 1) / GRID_THREADS;
    return dim3(blocks, (unsigned)(rows < GRID_MOST ? rows : GRID_MOST),
                (unsigned)(images < GRID_MOST ? images : GRID_MOST));
}

static inline __device__ char *pixel_at(const gpu_tensor &t, int image, int y, int x)
{
    return t.data + image * t.image_bytes + y * t.row_bytes + (size_t)x * t.pixel_bytes;
}

/* for all rows of all images that are this block's */
#define FOR_ROWS(image, images, row, rows)                                                         \
    for (int image = blockIdx.z; image < (images); image += gridDim.z)                             \
        for (int row = blockIdx.y; row < (rows); row += gridDim.y)

#endif
