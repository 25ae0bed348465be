/* A GPU as the modules above see it: memory, streams, graphs and kernels, through a back end that
 * is loaded at run time. docs/gpu.md says how it fits in.
 *
 * The back end is a shared object of its own (libunet-cuda.so), so that one libunet works with and
 * without a GPU. It exports device_backend_table, a function that returns its table. Everything in
 * the table follows libunet's conventions: unet_status and the error last, nothing printed.
 *
 * Thread-safety: a device may be used by any number of threads; a stream by one at a time. */
#ifndef UNET_KERNELS_DEVICE_H
#define UNET_KERNELS_DEVICE_H

#include "kernels/kernel.h"

/* Of this header and of the structs of kernel.h: a back end of another one is refused. */
#define DEVICE_ABI 2

struct device;        /* the back end's */
struct device_stream; /* what is enqueued here runs in order */
struct device_graph;  /* what was captured from a stream, to be launched as a whole */

struct device_facts {
    char name[64];         /* "NVIDIA H200" */
    char architecture[16]; /* "sm_90" */
    int compute;           /* 90 */
    int multiprocessors;
    size_t memory_bytes, l2_bytes;
    char driver[24], runtime[24]; /* "13.0" */
    char libraries[64];           /* "cudnn 9.15.0"; "" */
};

/* Events on a stream, for times between them. */
#define DEVICE_MARKS 64

struct device_backend {
    int abi;
    size_t kernel_bytes, desc_bytes, args_bytes; /* of the structs that both sides share */
    const char *name;                            /* "cuda" */

    /* All kernels in the order of preference, as kernel_list; terminated by NULL. */
    const struct kernel *const *kernels;

    /* 0 and UNET_OK where the driver works and sees none. DEVICE: no driver, or one that is too
     * old. */
    unet_status (*count)(int *count, unet_error *error);
    /* DEVICE names what is there. */
    unet_status (*open)(int index, struct device **device, unet_error *error);
    void (*close)(struct device *device);
    const struct device_facts *(*facts)(const struct device *device);
    /* Why this device cannot run the kernel: "needs sm_90, this is sm_80"; NULL: it can. */
    const char *(*refusal)(const struct device *device, const struct kernel *kernel, char *text,
                           size_t bytes);

    /* The device's memory, 256-byte aligned. MEMORY says how much is left. */
    unet_status (*alloc)(struct device *device, size_t bytes, void **memory, unet_error *error);
    void (*free)(struct device *device, void *memory);
    /* The host's memory, page-locked: copies from and to it are fast and do not block. */
    unet_status (*alloc_host)(struct device *device, size_t bytes, void **memory,
                              unet_error *error);
    void (*free_host)(struct device *device, void *memory);

    unet_status (*stream_open)(struct device *device, struct device_stream **stream,
                               unet_error *error);
    void (*stream_close)(struct device_stream *stream);
    /* Enqueue. Host memory that is not page-locked is free again on return. */
    unet_status (*upload)(struct device_stream *stream, void *to, const void *from, size_t bytes,
                          unet_error *error);
    unet_status (*download)(struct device_stream *stream, void *to, const void *from, size_t bytes,
                            unet_error *error);
    unet_status (*copy)(struct device_stream *stream, void *to, const void *from, size_t bytes,
                        unet_error *error);
    unet_status (*clear)(struct device_stream *stream, void *memory, size_t bytes,
                         unet_error *error);
    /* Until all that was enqueued has run. DEVICE: something of it failed. */
    unet_status (*wait)(struct device_stream *stream, unet_error *error);

    /* Between these, what kernels enqueue on the stream is recorded instead of run. */
    unet_status (*capture_begin)(struct device_stream *stream, unet_error *error);
    unet_status (*capture_end)(struct device_stream *stream, struct device_graph **graph,
                               unet_error *error);
    unet_status (*graph_launch)(struct device_stream *stream, struct device_graph *graph,
                                unet_error *error);
    void (*graph_free)(struct device_graph *graph);

    /* mark is below DEVICE_MARKS. Seconds between two marks that have been reached (after wait). */
    unet_status (*mark)(struct device_stream *stream, int mark, unet_error *error);
    unet_status (*elapsed)(struct device_stream *stream, int from, int to, double *seconds,
                           unet_error *error);

    /* 2 × multiply-adds a second that a library's large matrix products of this type reach there,
     * measured in some milliseconds; `tf32`: of F32 with products of 10 bits. 0: not known. */
    unet_status (*gemm_rate)(struct device *device, enum kernel_type type, bool tf32, double *flops,
                             unet_error *error);
};

typedef const struct device_backend *device_backend_function(void);
#define DEVICE_BACKEND_SYMBOL "device_backend_table"

/* The back end, loaded once: from the file that UNET_CUDA_LIBRARY names, else libunet-cuda.so
 * beside this library, else wherever the loader finds it. DEVICE: there is none, or it is of
 * another version; says where it was looked for. */
unet_status device_backend_load(const struct device_backend **backend, unet_error *error);

/* The index in "cuda" (0), "cuda:0", "cuda:1", …; USAGE for anything else. */
unet_status device_parse(const char *name, int *index, unet_error *error);

#endif
