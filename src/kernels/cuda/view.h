/* From libunet's structs to those that go to the GPU. */
#ifndef UNET_KERNELS_CUDA_VIEW_H
#define UNET_KERNELS_CUDA_VIEW_H

#include "kernels/cuda/cuda.h"

struct gpu_tensor gpu_view(const struct blocked *t);
struct gpu_pixels gpu_pixels_of(const struct kernel_pixels *pixels);
struct gpu_planes gpu_planes_of(const struct kernel_args *args);

/* Why one source, of as many channels as come out, is not what `desc` has; NULL: it is. */
const char *refuse_all_but_one(const struct kernel_desc *desc);

#endif
