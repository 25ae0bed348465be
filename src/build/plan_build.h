/* Plans of engines that are built: kernels by their times, or by the order of preference. */
#ifndef UNET_BUILD_PLAN_BUILD_H
#define UNET_BUILD_PLAN_BUILD_H

#include "build/choose_kernels.h"

/* Plans the graphs of one build. What was timed for one of them is known to the next. */
struct planner {
    const unet_build_options *options; /* checked and complete */
    const struct log *log;
    struct kernel_target target;        /* its device is the planner's own */
    char machine[TIMING_MACHINE_BYTES]; /* where keys of the cache begin */
    struct timing_cache cache;
    bool probed;
};

/* Opens the device and reads the timing cache that the options name. `planner` is ready for
 * planner_close, also after a failure. */
unet_status planner_open(const unet_build_options *options, const struct log *log,
                         struct planner *planner, unet_error *error);

/* Any size runs, but the one to tune for should: USAGE where it does not. `times`: NULL, or what a
 * plan of this graph needs, plan_step_count; zeroed where nothing is timed. Errors: as
 * unet_build. */
unet_status planner_plan(struct planner *planner, const struct graph *graph, struct plan *plan,
                         struct step_times *times, unet_error *error);

/* OUTPUT if what was measured cannot be written to the timing cache. */
unet_status planner_save(const struct planner *planner, unet_error *error);
void planner_close(struct planner *planner);

#endif
