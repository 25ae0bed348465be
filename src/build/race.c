#include "build/race.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"

#define ROUNDS    9
#define WARM_UPS  1
#define ENQUEUED  4         /* runs at a time on a device */
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
    int batch = target_is_device(&planner->target) ? options->batch : 1;
    TRY(layout_create(plan, batch, options->height, options->width, options->threads, &layout,
                      error));
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

/* Buffers of the host or, where the sessions are on a device, there. */
struct track {
    float *input, *logits;
    double elapsed[2][ROUNDS], used[2][ROUNDS]; /* seconds; of processors: a thread's share */
};

static unet_status run_on_cpu(const unet_build_options *options, unet_session *session,
                              struct track *track, double *elapsed, double *used, unet_error *error)
{
    double before = clock_seconds(), used_before = clock_process_seconds();
    TRY(unet_session_run(session, track->input, 1, options->height, options->width, track->logits,
                         error));
    *used = (clock_process_seconds() - used_before) / options->threads;
    *elapsed = clock_seconds() - before;
    return UNET_OK;
}

/* Several at once, so that the device has nothing to wait for. Who else uses the processors does
 * not matter there. */
static unet_status run_on_device(const unet_build_options *options, unet_session *session,
                                 struct track *track, double *elapsed, double *used,
                                 unet_error *error)
{
    double before = clock_seconds();
    for (int i = 0; i < ENQUEUED; i++)
        TRY(unet_session_enqueue(session, track->input, options->batch, options->height,
                                 options->width, track->logits, error));
    TRY(unet_session_wait(session, error));
    *used = *elapsed = (clock_seconds() - before) / ENQUEUED;
    return UNET_OK;
}

static unet_status run(const struct planner *planner, struct trial *const trials[2],
                       struct track *track, unet_error *error)
{
    bool device = target_is_device(&planner->target);
    for (int round = -WARM_UPS; round < ROUNDS; round++) {
        int into = round > 0 ? round : 0; /* the first round takes the warm-up's place */
        for (int t = 0; t < 2; t++)
            TRY((device ? run_on_device : run_on_cpu)(planner->options, trials[t]->session, track,
                                                      &track->elapsed[t][into],
                                                      &track->used[t][into], error));
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

static unet_status measure_on_cpu(const struct planner *planner, struct trial *const trials[2],
                                  size_t inputs, size_t outputs, struct track *track,
                                  unet_error *error)
{
    unet_status status = UNET_OK;
    track->input = memory_calloc(inputs, sizeof *track->input);
    track->logits = memory_alloc_array(outputs, sizeof *track->logits);
    if (track->input == NULL || track->logits == NULL)
        status = error_memory(error, inputs * sizeof *track->input, "comparing plans");
    if (status == UNET_OK)
        status = run(planner, trials, track, error);
    memory_free(track->input);
    memory_free(track->logits);
    return status;
}

/* Noise, for a device takes less power, and less time, for zeros. */
static unet_status write_noise(unet_session *session, size_t count, float *input, unet_error *error)
{
    uint32_t state = 1;
    float *noise = memory_alloc_array(count, sizeof *noise);
    if (noise == NULL)
        return error_memory(error, count * sizeof *noise, "comparing plans");
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        noise[i] = (float)(state >> 8) * 0x1p-24f;
    }
    unet_status status =
        unet_device_memory_write(session, input, noise, count * sizeof *noise, error);
    memory_free(noise);
    return status;
}

static unet_status measure_on_device(const struct planner *planner, struct trial *const trials[2],
                                     size_t inputs, size_t outputs, struct track *track,
                                     unet_error *error)
{
    unet_session *session = trials[0]->session;
    void *input = NULL, *logits = NULL;
    unet_status status = unet_device_memory_new(session, inputs * sizeof(float), &input, error);
    if (status == UNET_OK)
        status = unet_device_memory_new(session, outputs * sizeof(float), &logits, error);
    track->input = input;
    track->logits = logits;
    if (status == UNET_OK)
        status = write_noise(session, inputs, track->input, error);
    if (status == UNET_OK)
        status = run(planner, trials, track, error);
    unet_session_wait(trials[1]->session, NULL);
    unet_device_memory_free(session, input);
    unet_device_memory_free(session, logits);
    return status;
}

static unet_status measure(const struct planner *planner, struct trial *const trials[2],
                           int64_t nanoseconds[2], unet_error *error)
{
    const struct engine_facts *facts = &trials[0]->engine.facts;
    const unet_build_options *options = planner->options;
    bool device = target_is_device(&planner->target);
    size_t images = device ? (size_t)options->batch : 1;
    size_t pixels = images * (size_t)options->height * (size_t)options->width;
    struct track track = {.input = NULL};
    TRY((device ? measure_on_device
                : measure_on_cpu)(planner, trials, pixels * (size_t)facts->in_channels,
                                  pixels * (size_t)facts->classes, &track, error));
    take_medians(planner, &track, nanoseconds);
    return UNET_OK;
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
