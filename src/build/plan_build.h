/* The plan of an engine that is built: kernels by their times, or by the order of preference. */
#ifndef UNET_BUILD_PLAN_BUILD_H
#define UNET_BUILD_PLAN_BUILD_H

#include "plan/plan.h"

/* `options` are checked and complete. Errors: as unet_build. */
unet_status plan_for_build(const struct graph *graph, const unet_build_options *options,
                           const struct log *log, struct plan *plan, unet_error *error);

#endif
