/* What the parts of the CUDA back end know of each other. */
#ifndef UNET_KERNELS_CUDA_CUDA_H
#define UNET_KERNELS_CUDA_CUDA_H

#include "kernels/cuda/gpu.h"
#include "kernels/device.h"

struct cudnn_plans;

struct device {
    int index;
    struct device_facts facts;
    size_t shared_bytes;       /* that a block may ask for */
    struct cudnn_plans *cudnn; /* what its streams share; NULL: nothing yet */
};

struct device_stream {
    struct device *device;
    cudaStream_t stream;
    cudaEvent_t marks[DEVICE_MARKS];
};

struct device_graph {
    cudaGraphExec_t exec;
};

/* UNET_OK, or DEVICE with "DOING: what CUDA says". */
unet_status cuda_check(cudaError_t result, const char *doing, unet_error *error);

#define TRY_CUDA(call, doing) TRY(cuda_check((call), (doing), error))

/* Calls from any thread act on the thread's current device: this makes it the stream's. */
unet_status cuda_select(const struct device *device, unet_error *error);

/* ---------------------------------------------------------------- device.c */

unet_status cuda_count(int *count, unet_error *error);
unet_status cuda_open(int index, struct device **device, unet_error *error);
void cuda_close(struct device *device);
const struct device_facts *cuda_facts(const struct device *device);
const char *cuda_refusal(const struct device *device, const struct kernel *kernel, char *text,
                         size_t bytes);

unet_status cuda_alloc(struct device *device, size_t bytes, void **memory, unet_error *error);
void cuda_free(struct device *device, void *memory);
unet_status cuda_alloc_host(struct device *device, size_t bytes, void **memory, unet_error *error);
void cuda_free_host(struct device *device, void *memory);

/* ---------------------------------------------------------------- gemm_rate.c */

unet_status cuda_gemm_rate(struct device *device, enum kernel_type type, bool tf32, double *flops,
                           unet_error *error);

/* ---------------------------------------------------------------- stream.c */

unet_status cuda_stream_open(struct device *device, struct device_stream **stream,
                             unet_error *error);
void cuda_stream_close(struct device_stream *stream);
unet_status cuda_upload(struct device_stream *stream, void *to, const void *from, size_t bytes,
                        unet_error *error);
unet_status cuda_download(struct device_stream *stream, void *to, const void *from, size_t bytes,
                          unet_error *error);
unet_status cuda_copy(struct device_stream *stream, void *to, const void *from, size_t bytes,
                      unet_error *error);
unet_status cuda_clear(struct device_stream *stream, void *memory, size_t bytes, unet_error *error);
unet_status cuda_wait(struct device_stream *stream, unet_error *error);

unet_status cuda_capture_begin(struct device_stream *stream, unet_error *error);
unet_status cuda_capture_end(struct device_stream *stream, struct device_graph **graph,
                             unet_error *error);
unet_status cuda_graph_launch(struct device_stream *stream, struct device_graph *graph,
                              unet_error *error);
void cuda_graph_free(struct device_graph *graph);

unet_status cuda_mark(struct device_stream *stream, int mark, unet_error *error);
unet_status cuda_elapsed(struct device_stream *stream, int from, int to, double *seconds,
                         unet_error *error);

#endif
