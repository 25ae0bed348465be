/* Two plans of a whole network against each other. */
#ifndef UNET_BUILD_RACE_H
#define UNET_BUILD_RACE_H

#include "build/plan_build.h"
#include "build/trial.h"

/* Medians of interleaved runs at the size to tune for, in milliseconds; known from the timing cache
 * or measured and kept there. Where other programs keep the processors so busy that these medians
 * would tell of them, it is what the runs take of processor time, shared out evenly. */
unet_status race_trials(struct planner *planner, struct trial *const trials[2],
                        double milliseconds[2], unet_error *error);

#endif
