/* Which kernels can run a step, which of them are worth timing, and which one wins. Costs come from
 * the caller: nothing here has a clock. */
#ifndef UNET_PLAN_CANDIDATES_H
#define UNET_PLAN_CANDIDATES_H

#include "plan/plan.h"

#define CANDIDATES_MOST 64

struct candidates {
    const struct kernel *kernels[CANDIDATES_MOST]; /* in the list's order of preference */
    int count;
    char reasons[640]; /* why the others cannot run it, "; " between them */
};

/* Every kernel of the step's operation that runs it on the plan's target. Refusals go to the log as
 * details. */
void candidates_find(const struct plan *plan, const struct plan_step *step, const struct log *log,
                     struct candidates *found);

/* DEVICE if there is none: names the layer and the reasons. */
unet_status candidates_check(const struct plan *plan, const struct plan_step *step,
                             const struct candidates *found, unet_error *error);

/* Leaves those that may win: each method (a kernel's name without its tier) in its highest tier,
 * and plain C only where nothing else runs. What goes is told to the log as a detail. */
void candidates_reduce(const struct plan *plan, const struct plan_step *step, const struct log *log,
                       struct candidates *found);

/* The index of the lowest cost; of those that come within 2% of it the first, so that a choice
 * between equals stays the same from build to build. `count` is at least 1. */
int candidates_cheapest(const int64_t *costs, int count);

/* All that a kernel's time depends on but the machine, in words: operation, channels, window, what
 * is fused, sizes. Two steps of equal text take equal time. */
#define STEP_TEXT_BYTES 320
void step_text(const struct plan_step *step, const struct layout_step *laid,
               char text[STEP_TEXT_BYTES]);

#endif
