/* What kernels are chosen for and run on: a tier of the CPU, or a device. */
#ifndef UNET_KERNELS_TARGET_H
#define UNET_KERNELS_TARGET_H

#include "kernels/device.h"

struct kernel_target {
    enum cpu_tier tier;                   /* where there is no device */
    const struct device_backend *backend; /* NULL: the CPU */
    struct device *device;                /* the owner's, who outlives all plans for it */
    int index;                            /* of the device */
};

struct kernel_target target_cpu(enum cpu_tier tier);

/* Opens the device of that index, the owner of which the caller becomes. DEVICE. */
unet_status target_open(int index, struct kernel_target *target, unet_error *error);
/* Of a target that was opened. */
void target_close(struct kernel_target *target);

static inline bool target_is_device(const struct kernel_target *target)
{
    return target->backend != NULL;
}

/* What packed weights are made for: "avx512", "cuda sm_90". Two of equal text run the same
 * kernels. */
#define TARGET_NAME_BYTES 16
void target_name(const struct kernel_target *target, char name[TARGET_NAME_BYTES]);

/* As device_parse takes it: "cpu", "cuda:0". */
#define DEVICE_NAME_BYTES 16
void target_device(const struct kernel_target *target, char name[DEVICE_NAME_BYTES]);
/* What it calls itself: "NVIDIA H200"; "" for the CPU. Lives as long as the target is open. */
const char *target_device_name(const struct kernel_target *target);

/* All of its kernels, in the order of preference; terminated by NULL. */
const struct kernel *const *target_kernels(const struct kernel_target *target);
/* NULL if there is none of that name. */
const struct kernel *target_kernel_find(const struct kernel_target *target, const char *name);

/* Why it cannot run the kernel, whatever the operation; NULL: it can. Returns a static or
 * `text`. */
const char *target_kernel_refusal(const struct kernel_target *target, const struct kernel *kernel,
                                  char *text, size_t bytes);
/* The same for one operation. */
const char *target_refusal(const struct kernel_target *target, const struct kernel *kernel,
                           const struct kernel_desc *desc, char *text, size_t bytes);

/* Why tensors of this type gain nothing there, as kernel_type_refusal; of a device: why it runs no
 * convolution of them. With `tf32`: of F32 with products of 10 bits. NULL: fine. Returns a static
 * or `text`. */
const char *target_type_refusal(const struct kernel_target *target, enum kernel_type type,
                                bool tf32, char *text, size_t bytes);

/* What it runs: "fp32, tf32, fp16 and bf16". */
#define TARGET_PRECISIONS_BYTES 64
void target_precisions(const struct kernel_target *target, char text[TARGET_PRECISIONS_BYTES]);

#endif
