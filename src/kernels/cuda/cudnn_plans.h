/* cuDNN's execution plans of a convolution with bias and ReLU, and their execution. */
#ifndef UNET_KERNELS_CUDA_CUDNN_PLANS_H
#define UNET_KERNELS_CUDA_CUDNN_PLANS_H

#include "kernels/cuda/cuda.h"

#define CUDNN_PLANS     16         /* of a convolution that are told apart: the first that work */
#define CUDNN_WORKSPACE (16 << 20) /* bytes that a plan may ask for */

/* Everything that a plan depends on. Channels are padded as tensors are, so that padding is made by
 * weights of zero. Compared as bytes: no padding inside. */
struct cudnn_conv {
    int64_t type; /* enum kernel_type, of x, weights and y */
    int64_t images, in_channels, in_height, in_width, out_channels, out_height, out_width;
    int64_t x_stride[3], y_stride[3]; /* image, row, pixel, in elements */
    int64_t kernel_h, kernel_w, padding, stride, relu;
};

struct cudnn_tensors {
    const void *x, *weights, *bias;
    void *y, *workspace;
};

/* The plan'th plan, or the last, which the device keeps. DEVICE where there is none. */
unet_status cudnn_plans_run(struct device_stream *stream, const struct cudnn_conv *conv, int plan,
                            const struct cudnn_tensors *tensors, unet_error *error);

void cudnn_plans_close(struct cudnn_plans *plans);

/* "cudnn 9.14.0"; "": it is not on this machine, or not asked for. */
void cudnn_plans_version(char *text, size_t bytes);

#endif
