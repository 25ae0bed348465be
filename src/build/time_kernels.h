/* Measures kernels as a session would run them: on its threads, in its memory, at the size that the
 * engine is tuned for, with caches as the layer before leaves them. */
#ifndef UNET_BUILD_TIME_KERNELS_H
#define UNET_BUILD_TIME_KERNELS_H

#include "plan/candidates.h"

struct kernel_timer;

/* The timer sets all pointers of `layout`, which like the plan must outlive it. Memory and threads
 * are only had when something is measured. */
unet_status kernel_timer_create(const struct plan *plan, struct layout *layout,
                                struct kernel_timer **timer, unet_error *error);

/* A measure_function (choose_kernels.h); `timer` is a struct kernel_timer. */
unet_status kernel_timer_measure(void *timer, int step, const struct candidates *candidates,
                                 int64_t *nanoseconds, unet_error *error);

void kernel_timer_free(struct kernel_timer **timer);

/* How long `threads` of them are busy with tasks that are handed out in order to whoever is
 * free. */
double makespan(const double *task_seconds, int tasks, int threads);

#endif
