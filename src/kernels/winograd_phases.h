/* Winograd's convolution by many threads together. */
#ifndef UNET_KERNELS_WINOGRAD_PHASES_H
#define UNET_KERNELS_WINOGRAD_PHASES_H

#include "kernels/winograd_work.h"

/* As struct kernel's `share`. */
bool winograd_share(const struct kernel *kernel, const struct kernel_desc *desc,
                    const struct kernel_args *args, struct kernel_share *share);

/* As its `run`, of the phases. */
void winograd_run_phase(const struct winograd_method *method, const struct kernel_desc *desc,
                        const struct kernel_args *args, int task, int tasks, void *scratch);

#endif
