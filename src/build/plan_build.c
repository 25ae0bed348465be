#include "build/plan_build.h"

#include <string.h>

#include "base/cpu.h"
#include "build/time_device.h"
#include "build/time_kernels.h"

struct work {
    struct planner *planner;
    const struct plan *plan; /* of default kernels */
    struct layout layout;
    struct kernel_timer *timer;        /* of the CPU; */
    struct device_timer *device_timer; /* or of the device */
};

static bool on_device(const struct work *work)
{
    return target_is_device(&work->plan->target);
}

/* The first step that is not known shows that there will be something to write. */
static unet_status measure(void *context, int step, const struct candidates *candidates,
                           int64_t *nanoseconds, unet_error *error)
{
    struct work *work = context;
    struct planner *planner = work->planner;
    if (!planner->probed && planner->options->timing_cache != NULL)
        TRY(timing_cache_probe(planner->options->timing_cache, error));
    planner->probed = true;
    if (on_device(work))
        return device_timer_measure(work->device_timer, step, candidates, nanoseconds, error);
    return kernel_timer_measure(work->timer, step, candidates, nanoseconds, error);
}

static unet_status make_timer(struct work *work, unet_error *error)
{
    if (on_device(work))
        return device_timer_create(work->plan, &work->layout, work->planner->log,
                                   &work->device_timer, error);
    return kernel_timer_create(work->plan, &work->layout, &work->timer, error);
}

static void tell_outcome(const struct planner *planner, const struct chooser *chooser)
{
    if (chooser->measured > 0 && target_is_device(&planner->target))
        log_line(planner->log, LOG_DETAIL, "layers timed here: %d", chooser->measured);
    else if (chooser->measured > 0)
        log_line(planner->log, LOG_DETAIL, "layers timed here: %d; threads: %d", chooser->measured,
                 planner->options->threads);
    if (chooser->unmeasured > 0)
        log_line(
            planner->log, LOG_NOTICE,
            "timing takes too long here: %d of the layers took the first of their kernels in the "
            "order of preference",
            chooser->unmeasured);
}

static unet_status choose(struct work *work, const char **names, struct step_times *times,
                          unet_error *error)
{
    struct planner *planner = work->planner;
    struct chooser chooser = {.plan = work->plan,
                              .layout = &work->layout,
                              .machine = planner->machine,
                              .cache = &planner->cache,
                              .measure = measure,
                              .context = work,
                              .times = times,
                              .log = planner->log};
    TRY(make_timer(work, error));
    TRY(choose_kernels(&chooser, names, error));
    tell_outcome(planner, &chooser);
    return UNET_OK;
}

static int planner_batch(const struct planner *planner)
{
    return target_is_device(&planner->target) ? planner->options->batch : 1;
}

/* `names` have been allocated for each step of the plan; they live as long as the kernels. */
static unet_status choose_timed(struct planner *planner, const struct plan *plan,
                                const char **names, struct step_times *times, unet_error *error)
{
    struct work work = {.planner = planner, .plan = plan};
    const unet_build_options *options = planner->options;
    TRY(layout_create(plan, planner_batch(planner), options->height, options->width,
                      options->threads, &work.layout, error));
    unet_status status = choose(&work, names, times, error);
    kernel_timer_free(&work.timer);
    device_timer_free(&work.device_timer);
    layout_clear(&work.layout);
    return status;
}

/* Replaces a plan of default kernels. */
static unet_status take_fastest(struct planner *planner, struct plan *plan,
                                struct step_times *times, unet_error *error)
{
    struct plan timed;
    size_t count = (size_t)plan->step_count;
    const char **names = memory_calloc(count, sizeof *names);
    if (names == NULL)
        return error_memory(error, count * sizeof *names, "kernel names");
    unet_status status = choose_timed(planner, plan, names, times, error);
    if (status == UNET_OK)
        status = plan_create(plan->graph, plan->target, names, NULL, &timed, error);
    memory_free(names);
    if (status != UNET_OK)
        return status;
    plan_clear(plan);
    *plan = timed;
    return UNET_OK;
}

static unet_status check_size(const struct plan *plan, const unet_build_options *options,
                              unet_error *error)
{
    struct layout layout;
    TRY(layout_create(plan, 1, options->height, options->width, 1, &layout, error));
    layout_clear(&layout);
    return UNET_OK;
}

/* ---------------------------------------------------------------- the planner */

static unet_status open_target(const unet_build_options *options, const struct log *log,
                               struct kernel_target *target, unet_error *error)
{
    const char *device = options->device != NULL ? options->device : "cpu";
    int index;
    enum cpu_tier tier;
    unet_error why;
    if (strcmp(device, "auto") == 0) {
        if (target_open(0, target, &why) == UNET_OK)
            return UNET_OK;
        log_line(log, LOG_NOTICE, "built for the CPU: %s", why.message);
    } else if (strcmp(device, "cpu") != 0) {
        TRY(device_parse(device, &index, error));
        return target_open(index, target, error);
    }
    TRY(cpu_tier_allowed(&tier, error));
    *target = target_cpu(tier);
    return UNET_OK;
}

unet_status planner_open(const unet_build_options *options, const struct log *log,
                         struct planner *planner, unet_error *error)
{
    *planner = (struct planner){.options = options, .log = log};
    TRY(open_target(options, log, &planner->target, error));
    if (target_is_device(&planner->target))
        timing_device(&planner->target, planner->machine);
    else
        TRY(timing_machine(options->threads, planner->machine, error));
    if (options->timing == UNET_TIMING_ON && options->timing_cache != NULL)
        return timing_cache_read(&planner->cache, options->timing_cache, error);
    return UNET_OK;
}

unet_status planner_plan(struct planner *planner, const struct graph *graph, struct plan *plan,
                         struct step_times *times, unet_error *error)
{
    bool timed = planner->options->timing == UNET_TIMING_ON;
    struct plan made;
    /* Whoever chooses tells what was refused: here, or where kernels are timed. */
    TRY(plan_create(graph, planner->target, NULL, timed ? NULL : planner->log, &made, error));
    unet_status status = timed ? take_fastest(planner, &made, times, error)
                               : check_size(&made, planner->options, error);
    if (status == UNET_OK)
        *plan = made;
    else
        plan_clear(&made);
    return status;
}

unet_status planner_save(const struct planner *planner, unet_error *error)
{
    const unet_build_options *options = planner->options;
    if (options->timing != UNET_TIMING_ON || options->timing_cache == NULL)
        return UNET_OK;
    return timing_cache_save(&planner->cache, options->timing_cache, error);
}

void planner_close(struct planner *planner)
{
    timing_cache_clear(&planner->cache);
    target_close(&planner->target);
}
