/* A convolution with bias and ReLU as a graph of cuDNN's operations, and the engines for it. */
#ifndef UNET_KERNELS_CUDA_CUDNN_GRAPH_H
#define UNET_KERNELS_CUDA_CUDNN_GRAPH_H

#include "kernels/cuda/cudnn_library.h"
#include "kernels/cuda/cudnn_plans.h"

#define CUDNN_MOST_MADE    96 /* descriptors of a graph */
#define CUDNN_MOST_CONFIGS 48 /* of its engines */

enum { CUDNN_X = 1, CUDNN_WEIGHTS, CUDNN_BIAS, CUDNN_Y, CUDNN_BEFORE_BIAS, CUDNN_BEFORE_RELU };

/* Plans refer to all of it: it lives as long as they do. */
struct cudnn_graph {
    const struct cudnn_library *library;
    cudnnStatus_t status; /* of the first call that failed; nothing is called after it */
    cudnnBackendDescriptor_t made[CUDNN_MOST_MADE];
    int made_count;
    cudnnBackendDescriptor_t configs[CUDNN_MOST_CONFIGS]; /* best first, says the library */
    int config_count;
};

/* An empty list of configurations where the library does not know such a graph. */
void cudnn_graph_make(struct cudnn_graph *graph, const struct cudnn_library *library,
                      cudnnHandle_t handle, const struct cudnn_conv *conv);
void cudnn_graph_clear(struct cudnn_graph *graph);

/* False of engines that transform (FFT, Winograd) or sum in less than the graph's type: their errors
 * are not those of a sum of products, which is what kernels are held to. */
bool cudnn_graph_keeps_precision(const struct cudnn_graph *graph, cudnnBackendDescriptor_t config);

/* Not final; destroyed with the graph. */
cudnnBackendDescriptor_t cudnn_graph_new(struct cudnn_graph *graph,
                                         cudnnBackendDescriptorType_t type);

#endif
