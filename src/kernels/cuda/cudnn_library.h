/* NVIDIA's cuDNN 9, where it is installed: found at run time, never required. */
#ifndef UNET_KERNELS_CUDA_CUDNN_LIBRARY_H
#define UNET_KERNELS_CUDA_CUDNN_LIBRARY_H

#include <cudnn_graph.h>
#include <stdbool.h>

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

/* Whether its plans are to be candidates on a GPU of this compute capability: as the environment
 * variable UNET_CUDNN says, 1 or 0; else where this library has no faster kernels of its own, for
 * starting cuDNN takes time and memory, and its plans make builds longer. */
bool cudnn_is_wanted(int compute);

/* Loaded once and kept; NULL: it is not on this machine. */
const struct cudnn_library *cudnn_library(void);

#endif
