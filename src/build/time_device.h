/* Measures a device's kernels as a session would run them: in its memory, at the size and batch
 * that the engine is tuned for, with nothing of what they read in the device's cache. */
#ifndef UNET_BUILD_TIME_DEVICE_H
#define UNET_BUILD_TIME_DEVICE_H

#include "plan/candidates.h"

struct device_timer;

/* The timer sets all pointers of `layout`, which like the plan must outlive it. Memory is only had
 * when something is measured. Kernels that fail are told to the log as a detail. */
unet_status device_timer_create(const struct plan *plan, struct layout *layout,
                                const struct log *log, struct device_timer **timer,
                                unet_error *error);

/* A measure_function (choose_kernels.h); `timer` is a struct device_timer. */
unet_status device_timer_measure(void *timer, int step, const struct candidates *candidates,
                                 int64_t *nanoseconds, unet_error *error);

void device_timer_free(struct device_timer **timer);

#endif
