/* The back end in plain C: a device that is the host's memory behind other addresses. */
#ifndef UNET_TESTS_DEVICE_FAKE_H
#define UNET_TESTS_DEVICE_FAKE_H

#include "kernels/device.h"

/* Settings, read from the environment when they are needed:
 *   UNET_FAKE_DEVICES=N        how many there are; 1
 *   UNET_FAKE_MEMORY=BYTES     what a device has in all
 *   UNET_FAKE_NO_CAPTURE=1     kernels refuse to be captured
 *   UNET_FAKE_NO_BYTES=1       no kernel takes tensors of bytes
 *   UNET_FAKE_NO_FP8=1         no kernel takes tensors of e4m3
 *   UNET_FAKE_FAILS=KERNEL     that kernel fails when it is launched */
#define FAKE_COMPUTE 90

/* What has happened so far, for tests: dlsym "fake_counts_now". */
struct fake_counts {
    long launches; /* of kernels, also by graphs */
    long captures; /* graphs that were made */
    long replays;  /* and launched */
    long uploads, downloads;
    long live_bytes, live_objects; /* memory; with devices, streams and graphs */
};
typedef struct fake_counts fake_counts_function(void);

/* Device addresses fault where the host uses them: see fake_memory.c. NULL stays NULL. */
void *fake_host_address(const void *device_address);
bool fake_is_device_address(const void *address);

void *fake_memory_new(size_t bytes);
void fake_memory_free(void *address);
/* True while [address, address + bytes) lies in one allocation of alloc_host. */
bool fake_is_locked(const void *address, size_t bytes);
void *fake_locked_new(size_t bytes);
void fake_locked_free(void *address);
long fake_live_bytes(void);

extern const struct kernel *const fake_kernels[];
/* Enqueues a kernel, whatever it does when its turn comes. */
unet_status fake_enqueue(const struct kernel *kernel, const struct kernel_desc *desc,
                         const struct kernel_args *args, struct device_stream *stream,
                         unet_error *error);
/* What it takes there: narrower sources take less. */
double fake_seconds(const struct kernel *kernel, const struct kernel_desc *desc,
                    const struct kernel_args *args);
/* Its turn: `args` as launch got them. */
void fake_execute(const struct kernel *kernel, const struct kernel_desc *desc,
                  const struct kernel_args *args);

#endif
