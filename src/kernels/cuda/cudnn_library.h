/* NVIDIA's cuDNN 9, where it is installed and the environment variable UNET_CUDNN is 1: found at
 * run time, never required. Without being asked for it is left alone: it compiles many of its
 * plans as they are made, and a build that tries all of them takes more than a minute. */
#ifndef UNET_KERNELS_CUDA_CUDNN_LIBRARY_H
#define UNET_KERNELS_CUDA_CUDNN_LIBRARY_H

#include <cudnn_graph.h>

/* Its functions under their own names, less "cudnn". */
struct cudnn_library {
    __typeof__(cudnnGetVersion) *get_version;
    __typeof__(cudnnGetErrorString) *get_error_string;
    __typeof__(cudnnCreate) *create;
    __typeof__(cudnnDestroy) *destroy;
    __typeof__(cudnnSetStream) *set_stream;
    __typeof__(cudnnBackendCreateDescriptor) *create_descriptor;
    __typeof__(cudnnBackendDestroyDescriptor) *destroy_descriptor;
    __typeof__(cudnnBackendFinalize) *finalize;
    __typeof__(cudnnBackendSetAttribute) *set_attribute;
    __typeof__(cudnnBackendGetAttribute) *get_attribute;
    __typeof__(cudnnBackendExecute) *execute;
};

/* Loaded once and kept; NULL: it is not on this machine, or not asked for. */
const struct cudnn_library *cudnn_library(void);

#endif
