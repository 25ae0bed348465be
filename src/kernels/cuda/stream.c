/* Streams: copies, capture, times. */
#include "kernels/cuda/cuda.h"

#include "base/memory.h"

unet_status cuda_stream_open(struct device *device, struct device_stream **stream,
                             unet_error *error)
{
    *stream = NULL;
    TRY(cuda_select(device, error));
    struct device_stream *opened = memory_calloc(1, sizeof *opened);
    if (opened == NULL)
        return error_memory(error, sizeof *opened, "a stream");
    opened->device = device;
    unet_status status =
        cuda_check(cudaStreamCreateWithFlags(&opened->stream, cudaStreamNonBlocking),
                   "opening a stream", error);
    if (status != UNET_OK) {
        memory_free(opened);
        return status;
    }
    *stream = opened;
    return UNET_OK;
}

void cuda_stream_close(struct device_stream *stream)
{
    if (stream == NULL)
        return;
    if (cuda_select(stream->device, NULL) == UNET_OK) {
        for (int i = 0; i < DEVICE_MARKS; i++)
            if (stream->marks[i] != NULL)
                (void)cudaEventDestroy(stream->marks[i]);
        (void)cudaStreamDestroy(stream->stream);
    }
    memory_free(stream);
}

static unet_status enqueue_copy(struct device_stream *stream, void *to, const void *from,
                                size_t bytes, enum cudaMemcpyKind kind, const char *doing,
                                unet_error *error)
{
    TRY(cuda_select(stream->device, error));
    TRY_CUDA(cudaMemcpyAsync(to, from, bytes, kind, stream->stream), doing);
    return UNET_OK;
}

unet_status cuda_upload(struct device_stream *stream, void *to, const void *from, size_t bytes,
                        unet_error *error)
{
    return enqueue_copy(stream, to, from, bytes, cudaMemcpyHostToDevice, "an upload", error);
}

unet_status cuda_download(struct device_stream *stream, void *to, const void *from, size_t bytes,
                          unet_error *error)
{
    return enqueue_copy(stream, to, from, bytes, cudaMemcpyDeviceToHost, "a download", error);
}

unet_status cuda_copy(struct device_stream *stream, void *to, const void *from, size_t bytes,
                      unet_error *error)
{
    return enqueue_copy(stream, to, from, bytes, cudaMemcpyDeviceToDevice, "a copy", error);
}

unet_status cuda_clear(struct device_stream *stream, void *memory, size_t bytes, unet_error *error)
{
    TRY(cuda_select(stream->device, error));
    TRY_CUDA(cudaMemsetAsync(memory, 0, bytes, stream->stream), "clearing memory");
    return UNET_OK;
}

unet_status cuda_wait(struct device_stream *stream, unet_error *error)
{
    TRY(cuda_select(stream->device, error));
    TRY_CUDA(cudaStreamSynchronize(stream->stream), "running kernels");
    return UNET_OK;
}

/* Thread-local: what other threads allocate meanwhile is none of this capture's business. */
unet_status cuda_capture_begin(struct device_stream *stream, unet_error *error)
{
    TRY(cuda_select(stream->device, error));
    TRY_CUDA(cudaStreamBeginCapture(stream->stream, cudaStreamCaptureModeThreadLocal),
             "beginning to record");
    return UNET_OK;
}

unet_status cuda_capture_end(struct device_stream *stream, struct device_graph **graph,
                             unet_error *error)
{
    cudaGraph_t recorded = NULL;
    *graph = NULL;
    TRY(cuda_select(stream->device, error));
    TRY_CUDA(cudaStreamEndCapture(stream->stream, &recorded), "recording kernels");
    struct device_graph *made = memory_calloc(1, sizeof *made);
    unet_status status = made == NULL ? error_memory(error, sizeof *made, "a graph of kernels")
                                      : cuda_check(cudaGraphInstantiate(&made->exec, recorded, 0),
                                                   "preparing what was recorded", error);
    (void)cudaGraphDestroy(recorded);
    if (status != UNET_OK) {
        memory_free(made);
        return status;
    }
    *graph = made;
    return UNET_OK;
}

unet_status cuda_graph_launch(struct device_stream *stream, struct device_graph *graph,
                              unet_error *error)
{
    TRY(cuda_select(stream->device, error));
    TRY_CUDA(cudaGraphLaunch(graph->exec, stream->stream), "launching what was recorded");
    return UNET_OK;
}

void cuda_graph_free(struct device_graph *graph)
{
    if (graph == NULL)
        return;
    if (graph->exec != NULL)
        (void)cudaGraphExecDestroy(graph->exec);
    memory_free(graph);
}

unet_status cuda_mark(struct device_stream *stream, int mark, unet_error *error)
{
    TRY(cuda_select(stream->device, error));
    if (stream->marks[mark] == NULL)
        TRY_CUDA(cudaEventCreate(&stream->marks[mark]), "making an event");
    TRY_CUDA(cudaEventRecord(stream->marks[mark], stream->stream), "marking a moment");
    return UNET_OK;
}

unet_status cuda_elapsed(struct device_stream *stream, int from, int to, double *seconds,
                         unet_error *error)
{
    float milliseconds = 0.0f;
    TRY(cuda_select(stream->device, error));
    TRY_CUDA(cudaEventElapsedTime(&milliseconds, stream->marks[from], stream->marks[to]),
             "reading the time between two marks");
    *seconds = (double)milliseconds * 1e-3;
    return UNET_OK;
}
