/* The kernel of every step by what the candidates take: known from the timing cache, or
 * measured. */
#ifndef UNET_BUILD_CHOOSE_KERNELS_H
#define UNET_BUILD_CHOOSE_KERNELS_H

#include "build/timing_cache.h"
#include "plan/candidates.h"

/* Times the candidates of a step against each other: a number above 0 for each, or 0 for the first
 * where there was no time for that. */
typedef unet_status measure_function(void *context, int step, const struct candidates *candidates,
                                     int64_t *nanoseconds, unet_error *error);

/* What a step's candidates take; 0 for the first: not known. */
struct step_times {
    struct candidates candidates;
    int64_t nanoseconds[CANDIDATES_MOST];
    int winner;
};

struct chooser {
    const struct plan *plan; /* of default kernels */
    const struct layout *layout;
    const char *machine; /* where keys begin: timing_machine */
    struct timing_cache *cache;
    measure_function *measure;
    void *context;
    const struct log *log;
    struct step_times *times; /* out: one a step; then a step of one candidate is timed too. NULL:
                                 not wanted */
    int measured, unmeasured; /* out: steps that were timed, and those that there was no time for */
};

/* `names`: a kernel a step, for plan_create. Steps of equal text are timed once. What was refused,
 * what each candidate took and what won goes to the log as details. */
unet_status choose_kernels(struct chooser *chooser, const char **names, unet_error *error);

#endif
