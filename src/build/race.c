#include "build/race.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"

#define ROUNDS    9
#define WARM_UPS  1
#define BUSY      1.25      /* elapsed time against processor time, where others run too */
#define RUNNER    "network" /* takes the kernel's place in the timing cache */
#define KEY_BYTES (TIMING_MACHINE_BYTES + 128)

static unet_status describe(const struct planner *planner, const struct trial *trial,
                            char key[KEY_BYTES], unet_error *error)
{
    const unet_build_options *options = planner->options;
    const struct plan *plan = &trial->engine.plan;
    size_t line = STEP_TEXT_BYTES + 96, bytes = line * (size_t)plan->step_count;
    struct layout layout;
    TRY(layout_create(plan, 1, options->height, options->width, options->threads, &layout, error));
    char *text = memory_calloc(bytes, 1);
    for (int i = 0; i < plan->step_count && text != NULL; i++) {
        char step[STEP_TEXT_BYTES];
        step_text(&plan->steps[i], &layout.steps[i], step);
        snprintf(text + (size_t)i * line, line, "%s %s", step, plan->steps[i].kernel->name);
    }
    layout_clear(&layout);
    if (text == NULL)
        return error_memory(error, bytes, "comparing plans");
    struct hash128 hash = hash_bytes(text, bytes);
    memory_free(text);
    int used = snprintf(key, KEY_BYTES, "%splan ", planner->machine);
    for (size_t i = 0; i < sizeof hash.bytes; i++)
        used += snprintf(key + used, KEY_BYTES - (size_t)used, "%02x", hash.bytes[i]);
    snprintf(key + used, KEY_BYTES - (size_t)used, " at %dx%d", options->width, options->height);
    return UNET_OK;
}

static int by_value(const void *left, const void *right)
{
    const double *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

struct track {
    float *input, *logits;
    double elapsed[2][ROUNDS], used[2][ROUNDS]; /* seconds; of processors: a thread's share */
};

static unet_status run_once(const struct planner *planner, struct trial *trial, struct track *track,
                            double *elapsed, double *used, unet_error *error)
{
    const unet_build_options *options = planner->options;
    double before = clock_seconds(), used_before = clock_process_seconds();
    TRY(unet_session_run(trial->session, track->input, 1, options->height, options->width,
                         track->logits, error));
    *used = (clock_process_seconds() - used_before) / options->threads;
    *elapsed = clock_seconds() - before;
    return UNET_OK;
}

static unet_status run(const struct planner *planner, struct trial *const trials[2],
                       struct track *track, unet_error *error)
{
    for (int round = -WARM_UPS; round < ROUNDS; round++) {
        int into = round > 0 ? round : 0; /* the first round takes the warm-up's place */
        for (int t = 0; t < 2; t++)
            TRY(run_once(planner, trials[t], track, &track->elapsed[t][into], &track->used[t][into],
                         error));
    }
    return UNET_OK;
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, by_value);
    return values[ROUNDS / 2];
}

static void take_medians(const struct planner *planner, struct track *track, int64_t nanoseconds[2])
{
    double elapsed[2], used[2];
    for (int t = 0; t < 2; t++) {
        elapsed[t] = median(track->elapsed[t]);
        used[t] = median(track->used[t]);
    }
    bool busy = elapsed[0] + elapsed[1] > BUSY * (used[0] + used[1]);
    if (busy)
        log_line(planner->log, LOG_DETAIL,
                 "other programs run here too: processor time decides between plans");
    for (int t = 0; t < 2; t++)
        nanoseconds[t] = 1 + (int64_t)(1e9 * (busy ? used[t] : elapsed[t]));
}

static unet_status measure(const struct planner *planner, struct trial *const trials[2],
                           int64_t nanoseconds[2], unet_error *error)
{
    const struct engine_facts *facts = &trials[0]->engine.facts;
    size_t pixels = (size_t)planner->options->height * (size_t)planner->options->width;
    size_t inputs = pixels * (size_t)facts->in_channels;
    struct track track = {.input = memory_calloc(inputs, sizeof(float)),
                          .logits =
                              memory_alloc_array(pixels * (size_t)facts->classes, sizeof(float))};
    unet_status status = UNET_OK;
    if (track.input == NULL || track.logits == NULL)
        status = error_memory(error, inputs * sizeof(float), "comparing plans");
    if (status == UNET_OK)
        status = run(planner, trials, &track, error);
    if (status == UNET_OK)
        take_medians(planner, &track, nanoseconds);
    memory_free(track.input);
    memory_free(track.logits);
    return status;
}

unet_status race_trials(struct planner *planner, struct trial *const trials[2],
                        double milliseconds[2], unet_error *error)
{
    char keys[2][KEY_BYTES];
    int64_t nanoseconds[2];
    bool known = true;
    for (int t = 0; t < 2; t++) {
        TRY(describe(planner, trials[t], keys[t], error));
        nanoseconds[t] = timing_cache_find(&planner->cache, keys[t], RUNNER);
        known = known && nanoseconds[t] > 0;
    }
    if (!known) {
        TRY(measure(planner, trials, nanoseconds, error));
        for (int t = 0; t < 2; t++)
            TRY(timing_cache_put(&planner->cache, keys[t], RUNNER, nanoseconds[t], error));
    }
    for (int t = 0; t < 2; t++)
        milliseconds[t] = 1e-6 * (double)nanoseconds[t];
    return UNET_OK;
}
