/* Launching kernels, and which thread has which part of a tensor. */
#ifndef UNET_KERNELS_CUDA_GRID_CUH
#define UNET_KERNELS_CUDA_GRID_CUH

#include "kernels/cuda/gpu.h"

#define GRID_THREADS 256
#define GRID_MOST    65535 /* blocks in y and z; kernels loop over what is more */

/* Since Hopper a kernel's blocks may take their places while the last blocks of the one before it still
 * run: between small kernels that saves a microsecond. Every kernel that is enqueued so begins with
 * this: what was enqueued before has ended then, and all it wrote is there. */
static inline __device__ void begin_after_previous()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

static inline int device_attribute(cudaDeviceAttr attribute)
{
    int device = 0, value = 0;
    (void)cudaGetDevice(&device);
    (void)cudaDeviceGetAttribute(&value, attribute, device);
    return value;
}

/* kernel<<<grid, threads, shared, stream>>>(args…) */
template <class... PARAMETERS, class... ARGS>
static cudaError_t enqueue(void (*kernel)(PARAMETERS...), dim3 grid, int threads, size_t shared,
                           cudaStream_t stream, const ARGS &...args)
{
    cudaLaunchAttribute overlap = {};
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = dim3((unsigned)threads);
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    config.attrs = &overlap;
    config.numAttrs = device_attribute(cudaDevAttrComputeCapabilityMajor) >= 9 ? 1 : 0;
    return cudaLaunchKernelEx(&config, kernel, args...);
}

/* Threads for the pieces of a tensor's rows: x runs along a row, y over rows, z over images. */
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
