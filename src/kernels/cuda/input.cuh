/* What the caller gives: planes of floats, or pixels with a table. */
#ifndef UNET_KERNELS_CUDA_INPUT_CUH
#define UNET_KERNELS_CUDA_INPUT_CUH

#include "kernels/cuda/gpu.h"

/* Channel c of the pixel at `place` of an image. */
static inline __device__ float input_value(const float *planes, const gpu_pixels &pixels, int image,
                                           int channels, size_t pixels_an_image, size_t place,
                                           int c)
{
    if (pixels.bytes == NULL)
        return planes[((size_t)image * channels + c) * pixels_an_image + place];
    size_t pixel = (size_t)image * pixels_an_image + place;
    uint8_t byte = pixels.bytes[pixel * pixels.step + (pixels.step == 1 ? 0 : c)];
    return pixels.values[256 * c + byte];
}

#endif
