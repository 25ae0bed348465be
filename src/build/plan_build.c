#include "build/plan_build.h"

#include "base/cpu.h"
#include "build/choose_kernels.h"
#include "build/time_kernels.h"

struct work {
    const unet_build_options *options;
    const struct log *log;
    const struct plan *plan; /* of default kernels */
    struct layout layout;
    struct timing_cache cache;
    struct kernel_timer *timer;
    bool probed;
};

/* The first step that is not known shows that there will be something to write. */
static unet_status measure(void *context, int step, const struct candidates *candidates,
                           int64_t *nanoseconds, unet_error *error)
{
    struct work *work = context;
    if (!work->probed && work->options->timing_cache != NULL)
        TRY(timing_cache_probe(work->options->timing_cache, error));
    work->probed = true;
    return kernel_timer_measure(work->timer, step, candidates, nanoseconds, error);
}

static void tell_outcome(const struct work *work, const struct chooser *chooser)
{
    if (chooser->measured > 0)
        log_line(work->log, LOG_DETAIL, "layers timed here: %d; threads: %d", chooser->measured,
                 work->options->threads);
    if (chooser->unmeasured > 0)
        log_line(
            work->log, LOG_NOTICE,
            "timing takes too long here: %d of the layers took the first of their kernels in the "
            "order of preference",
            chooser->unmeasured);
}

static unet_status choose(struct work *work, const char **names, unet_error *error)
{
    char machine[TIMING_MACHINE_BYTES];
    const char *path = work->options->timing_cache;
    struct chooser chooser = {.plan = work->plan,
                              .layout = &work->layout,
                              .machine = machine,
                              .cache = &work->cache,
                              .measure = measure,
                              .context = work,
                              .log = work->log};
    TRY(timing_machine(work->options->threads, machine, error));
    if (path != NULL)
        TRY(timing_cache_read(&work->cache, path, error));
    TRY(kernel_timer_create(work->plan, &work->layout, &work->timer, error));
    TRY(choose_kernels(&chooser, names, error));
    tell_outcome(work, &chooser);
    return path != NULL ? timing_cache_save(&work->cache, path, error) : UNET_OK;
}

/* `names` have been allocated for each step of the plan; they live as long as the kernels. */
static unet_status choose_timed(const struct plan *plan, const unet_build_options *options,
                                const struct log *log, const char **names, unet_error *error)
{
    struct work work = {.options = options, .log = log, .plan = plan};
    TRY(layout_create(plan, options->height, options->width, options->threads, &work.layout,
                      error));
    unet_status status = choose(&work, names, error);
    kernel_timer_free(&work.timer);
    timing_cache_clear(&work.cache);
    layout_clear(&work.layout);
    return status;
}

/* Replaces a plan of default kernels. */
static unet_status take_fastest(struct plan *plan, const unet_build_options *options,
                                const struct log *log, unet_error *error)
{
    struct plan timed;
    size_t count = (size_t)plan->step_count;
    const char **names = memory_calloc(count, sizeof *names);
    if (names == NULL)
        return error_memory(error, count * sizeof *names, "kernel names");
    unet_status status = choose_timed(plan, options, log, names, error);
    if (status == UNET_OK)
        status = plan_create(plan->graph, plan->tier, names, NULL, &timed, error);
    memory_free(names);
    if (status != UNET_OK)
        return status;
    plan_clear(plan);
    *plan = timed;
    return UNET_OK;
}

/* Any size runs, but the one to tune for should: a size that does not is a slip. */
static unet_status check_size(const struct plan *plan, const unet_build_options *options,
                              unet_error *error)
{
    struct layout layout;
    TRY(layout_create(plan, options->height, options->width, 1, &layout, error));
    layout_clear(&layout);
    return UNET_OK;
}

unet_status plan_for_build(const struct graph *graph, const unet_build_options *options,
                           const struct log *log, struct plan *plan, unet_error *error)
{
    bool timed = options->timing == UNET_TIMING_ON;
    enum cpu_tier tier;
    struct plan made;
    TRY(cpu_tier_allowed(&tier, error));
    /* Whoever chooses tells what was refused: here, or where kernels are timed. */
    TRY(plan_create(graph, tier, NULL, timed ? NULL : log, &made, error));
    unet_status status =
        timed ? take_fastest(&made, options, log, error) : check_size(&made, options, error);
    if (status == UNET_OK)
        *plan = made;
    else
        plan_clear(&made);
    return status;
}
