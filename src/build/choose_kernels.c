#include "build/choose_kernels.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

#define KEY_BYTES (TIMING_MACHINE_BYTES + STEP_TEXT_BYTES)

/* All of them, or it is as if none were: only times taken side by side can be compared. */
static bool find_all(const struct chooser *chooser, const char *key,
                     const struct candidates *candidates, int64_t *nanoseconds)
{
    for (int i = 0; i < candidates->count; i++) {
        nanoseconds[i] = timing_cache_find(chooser->cache, key, candidates->kernels[i]->name);
        if (nanoseconds[i] == 0)
            return false;
    }
    return true;
}

static unet_status measure(struct chooser *chooser, int step, const char *key,
                           const struct candidates *candidates, int64_t *nanoseconds,
                           unet_error *error)
{
    TRY(chooser->measure(chooser->context, step, candidates, nanoseconds, error));
    if (nanoseconds[0] == 0) {
        chooser->unmeasured++;
        return UNET_OK;
    }
    chooser->measured++;
    for (int i = 0; i < candidates->count; i++)
        TRY(timing_cache_put(chooser->cache, key, candidates->kernels[i]->name, nanoseconds[i],
                             error));
    return UNET_OK;
}

static void tell_times(const struct chooser *chooser, const struct plan_step *step,
                       const struct candidates *candidates, const int64_t *nanoseconds, bool known)
{
    for (int i = 0; i < candidates->count; i++)
        log_line(chooser->log, LOG_DETAIL, "%s: %s took %.3f ms%s",
                 plan_step_name(chooser->plan, step), candidates->kernels[i]->name,
                 1e-6 * (double)nanoseconds[i], known ? " when it was timed before" : "");
}

/* Memory has its price: weights that take as much more as 1% of the network's tensors must save 2%
 * of the layer's time. At 64 × 64, say, F(6,3) is 9% faster than F(4,3) with 512 → 512 channels,
 * but its weights take 28 MiB more; at 512 × 512 with 64 → 64 channels it gains more for half a
 * MiB. Tensors count as floats: as bytes they would ask four times as much of the same weights. */
#define PRICE_OF_MEMORY 2.0

static void price(const struct chooser *chooser, const struct plan_step *step,
                  const struct candidates *candidates, const int64_t *nanoseconds, int64_t *costs)
{
    size_t bytes[CANDIDATES_MOST], least = SIZE_MAX;
    for (int i = 0; i < candidates->count; i++) {
        const struct kernel *kernel = candidates->kernels[i];
        bytes[i] = kernel->packed_bytes(kernel, &step->desc);
        least = bytes[i] < least ? bytes[i] : least;
    }
    double tensors =
        (double)chooser->layout->arena_bytes * (double)kernel_word_channels(step->desc.in_type);
    for (int i = 0; i < candidates->count; i++) {
        double more = (double)(bytes[i] - least) / tensors;
        costs[i] = (int64_t)((double)nanoseconds[i] * (1 + PRICE_OF_MEMORY * more));
    }
}

/* Times of the candidates, if they can be had. */
static unet_status find_times(struct chooser *chooser, int index, struct step_times *times,
                              unet_error *error)
{
    const struct plan_step *step = &chooser->plan->steps[index];
    char text[STEP_TEXT_BYTES], key[KEY_BYTES];
    step_text(step, &chooser->layout->steps[index], text);
    snprintf(key, sizeof key, "%s%s", chooser->machine, text);
    bool known = find_all(chooser, key, &times->candidates, times->nanoseconds);
    if (!known)
        TRY(measure(chooser, index, key, &times->candidates, times->nanoseconds, error));
    if (times->nanoseconds[0] > 0)
        tell_times(chooser, step, &times->candidates, times->nanoseconds, known);
    return UNET_OK;
}

static unet_status choose(struct chooser *chooser, int index, const char **name, unet_error *error)
{
    const struct plan *plan = chooser->plan;
    const struct plan_step *step = &plan->steps[index];
    struct step_times times = {.winner = 0};
    struct candidates *candidates = &times.candidates;
    int64_t costs[CANDIDATES_MOST];
    candidates_find(plan, step, chooser->log, candidates);
    TRY(candidates_check(plan, step, candidates, error));
    candidates_reduce(plan, step, chooser->log, candidates);
    if (candidates->count > 1 || chooser->times != NULL)
        TRY(find_times(chooser, index, &times, error));
    if (times.nanoseconds[0] > 0) {
        price(chooser, step, candidates, times.nanoseconds, costs);
        times.winner = candidates_cheapest(costs, candidates->count);
    }
    if (chooser->times != NULL)
        chooser->times[index] = times;
    *name = candidates->kernels[times.winner]->name;
    log_line(chooser->log, LOG_DETAIL, "%s: %s", plan_step_name(plan, step), *name);
    return UNET_OK;
}

/* Where time runs out the smallest layers go without. */
struct by_size {
    double macs;
    int step;
};

static int larger_first(const void *left, const void *right)
{
    const struct by_size *a = left, *b = right;
    if (a->macs != b->macs)
        return a->macs < b->macs ? 1 : -1;
    return a->step - b->step;
}

unet_status choose_kernels(struct chooser *chooser, const char **names, unet_error *error)
{
    int count = chooser->plan->step_count;
    struct by_size *order = memory_alloc_array((size_t)count, sizeof *order);
    if (order == NULL)
        return error_memory(error, (size_t)count * sizeof *order, "choosing kernels");
    for (int i = 0; i < count; i++)
        order[i] = (struct by_size){chooser->layout->steps[i].macs, i};
    qsort(order, (size_t)count, sizeof *order, larger_first);
    chooser->measured = chooser->unmeasured = 0;
    unet_status status = UNET_OK;
    for (int i = 0; i < count && status == UNET_OK; i++)
        status = choose(chooser, order[i].step, &names[order[i].step], error);
    memory_free(order);
    return status;
}
