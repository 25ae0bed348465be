#include "build/time_device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bf16.h"
#include "base/clock.h"
#include "base/e4m3.h"
#include "base/f16.h"
#include "base/memory.h"

#define ROUNDS       9
#define LEAST_ROUNDS 5    /* that decide who is hopeless, and who is not */
#define HOPELESS     1.5  /* against the best median */
#define MOST_SECONDS 60.0 /* after that no further step begins: some libraries prepare for long */

/* What is cleared before each run drives all else out of the cache. */
#define CACHES        2
#define LEAST_EVICTED ((size_t)32 << 20)
#define NOISE_BYTES   ((size_t)1 << 20)

/* A kernel that fails here is never chosen; no other takes that long. */
#define NEVER 999999999999999

struct device_timer {
    const struct plan *plan;
    struct layout *layout;
    const struct log *log;
    const struct device_backend *backend;
    struct device *device;
    struct device_stream *stream;
    void *arena, *planar_in, *planar_out, *evicted;
    size_t evicted_bytes;
    void *noise; /* of the host */
    double began;
};

/* A candidate at work. */
struct contender {
    const struct kernel *kernel;
    void *packed, *scratch;
    double seconds[ROUNDS];
    int rounds;
    bool failed, hopeless;
};

/* ---------------------------------------------------------------- create and free */

unet_status device_timer_create(const struct plan *plan, struct layout *layout,
                                const struct log *log, struct device_timer **timer,
                                unet_error *error)
{
    struct device_timer *made = memory_calloc(1, sizeof *made);
    if (made == NULL)
        return error_memory(error, sizeof *made, "timing kernels");
    made->plan = plan;
    made->layout = layout;
    made->log = log;
    made->backend = plan->target.backend;
    made->device = plan->target.device;
    *timer = made;
    return UNET_OK;
}

static void give_back(struct device_timer *timer, void *memory)
{
    if (memory != NULL)
        timer->backend->free(timer->device, memory);
}

void device_timer_free(struct device_timer **address)
{
    struct device_timer *timer = address != NULL ? *address : NULL;
    if (timer == NULL)
        return;
    *address = NULL;
    give_back(timer, timer->arena);
    give_back(timer, timer->planar_in);
    give_back(timer, timer->planar_out);
    give_back(timer, timer->evicted);
    if (timer->stream != NULL)
        timer->backend->stream_close(timer->stream);
    memory_free_aligned(timer->noise);
    memory_free(timer);
}

/* ---------------------------------------------------------------- what kernels read */

/* Noise in [0, 1), as the type stores it: a device takes less power, and less time, for zeros. */
static void make_noise(void *noise, enum kernel_type type)
{
    uint32_t state = 1;
    for (size_t i = 0; i < NOISE_BYTES / kernel_type_bytes(type); i++) {
        state = state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        float value = (float)(state >> 8) * 0x1p-24f;
        if (type == KERNEL_F16)
            ((uint16_t *)noise)[i] = f16_from_float(value);
        else if (type == KERNEL_BF16)
            ((uint16_t *)noise)[i] = bf16_from_float(value);
        else if (type == KERNEL_U8)
            ((uint8_t *)noise)[i] = (uint8_t)(255 * value);
        else if (type == KERNEL_E4M3)
            ((uint8_t *)noise)[i] = e4m3_from_float(255 * value);
        else
            ((float *)noise)[i] = value;
    }
}

static unet_status fill(struct device_timer *timer, void *memory, size_t bytes,
                        enum kernel_type type, unet_error *error)
{
    size_t filled = bytes < NOISE_BYTES ? bytes : NOISE_BYTES;
    make_noise(timer->noise, type);
    TRY(timer->backend->upload(timer->stream, memory, timer->noise, filled, error));
    while (filled < bytes) { /* twice as much each time */
        size_t count = bytes - filled < filled ? bytes - filled : filled;
        TRY(timer->backend->copy(timer->stream, (char *)memory + filled, memory, count, error));
        filled += count;
    }
    return timer->backend->wait(timer->stream, error);
}

static size_t planar_bytes(const struct device_timer *timer, int channels)
{
    const struct layout *layout = timer->layout;
    return (size_t)layout->batch * (size_t)channels * (size_t)layout->height *
           (size_t)layout->width * sizeof(float);
}

static unet_status allocate(struct device_timer *timer, size_t bytes, void **memory,
                            unet_error *error)
{
    unet_status status = timer->backend->alloc(timer->device, bytes > 0 ? bytes : 1, memory, error);
    if (status != UNET_OK)
        return error_prefix(error, status,
                            "timing kernels (build without timing, or for a smaller "
                            "size)");
    return UNET_OK;
}

static unet_status start(struct device_timer *timer, unet_error *error)
{
    const struct graph *graph = timer->plan->graph;
    size_t in = planar_bytes(timer, graph->values[graph->input].channels);
    size_t out = planar_bytes(timer, graph->values[graph->output].channels);
    if (timer->stream != NULL)
        return UNET_OK;
    timer->noise = memory_alloc_aligned(NOISE_BYTES);
    if (timer->noise == NULL)
        return error_memory(error, NOISE_BYTES, "timing kernels");
    size_t caches = CACHES * timer->backend->facts(timer->device)->l2_bytes;
    timer->evicted_bytes = caches > LEAST_EVICTED ? caches : LEAST_EVICTED;
    TRY(allocate(timer, timer->layout->arena_bytes, &timer->arena, error));
    TRY(allocate(timer, in, &timer->planar_in, error));
    TRY(allocate(timer, out, &timer->planar_out, error));
    TRY(allocate(timer, timer->evicted_bytes, &timer->evicted, error));
    TRY(timer->backend->stream_open(timer->device, &timer->stream, error));
    layout_bind(timer->plan, timer->layout, timer->arena, NULL, NULL);
    timer->began = clock_seconds();
    return fill(timer, timer->planar_in, in, KERNEL_F32, error);
}

static unet_status fill_sources(struct device_timer *timer, int index, unet_error *error)
{
    const struct plan_step *step = &timer->plan->steps[index];
    for (int s = 0; s < step->desc.source_count; s++) {
        const struct blocked *source = &timer->layout->steps[index].args.sources[s];
        size_t bytes =
            source->image_stride * (size_t)source->images * kernel_type_bytes(source->type);
        if (step->sources[s] != GRAPH_NONE)
            TRY(fill(timer, source->data, bytes, source->type, error));
    }
    return UNET_OK;
}

/* ---------------------------------------------------------------- one run */

static struct kernel_args args_of(const struct device_timer *timer, int index,
                                  const struct contender *contender)
{
    struct kernel_args args = timer->layout->steps[index].args;
    args.packed = contender->packed;
    args.scratch = contender->scratch;
    args.planar_in = timer->planar_in;
    args.planar_out = timer->planar_out;
    args.from_input =
        index == plan_input_reader(timer->plan) && index > 0 && contender->kernel->reads_input;
    return args;
}

static unet_status run_once(struct device_timer *timer, int index,
                            const struct contender *contender, double *seconds, unet_error *error)
{
    const struct device_backend *backend = timer->backend;
    struct device_stream *stream = timer->stream;
    const struct kernel *kernel = contender->kernel;
    const struct kernel_args args = args_of(timer, index, contender);
    TRY(backend->clear(stream, timer->evicted, timer->evicted_bytes, error));
    TRY(backend->mark(stream, 0, error));
    TRY(kernel->launch(kernel, &timer->plan->steps[index].desc, &args, stream, error));
    TRY(backend->mark(stream, 1, error));
    TRY(backend->wait(stream, error));
    return backend->elapsed(stream, 0, 1, seconds, error);
}

/* ---------------------------------------------------------------- the contest */

static unet_status upload_packed(struct device_timer *timer, const struct plan_step *step,
                                 struct contender *contender, size_t bytes, unet_error *error)
{
    struct kernel_weights weights = plan_step_weights(timer->plan, step);
    void *packed = memory_alloc_aligned(bytes);
    if (packed == NULL)
        return error_memory(error, bytes, "timing kernels");
    contender->kernel->pack(contender->kernel, &step->desc, &weights, packed);
    unet_status status =
        timer->backend->upload(timer->stream, contender->packed, packed, bytes, error);
    if (status == UNET_OK)
        status = timer->backend->wait(timer->stream, error);
    memory_free_aligned(packed);
    return status;
}

static unet_status prepare(struct device_timer *timer, int index, struct contender *contender,
                           unet_error *error)
{
    const struct plan_step *step = &timer->plan->steps[index];
    const struct kernel_args *args = &timer->layout->steps[index].args;
    const struct kernel *kernel = contender->kernel;
    size_t packed = kernel->packed_bytes(kernel, &step->desc);
    TRY(allocate(timer, packed, &contender->packed, error));
    TRY(allocate(timer, kernel->scratch_bytes(kernel, &step->desc, args), &contender->scratch,
                 error));
    return packed > 0 ? upload_packed(timer, step, contender, packed, error) : UNET_OK;
}

static int by_value(const void *left, const void *right)
{
    const double *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

static double median(const struct contender *contender)
{
    double sorted[ROUNDS];
    int count = contender->rounds;
    if (contender->failed || count == 0)
        return INFINITY;
    memcpy(sorted, contender->seconds, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, by_value);
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

static void drop_hopeless(struct contender *contenders, int count)
{
    double best = INFINITY;
    for (int i = 0; i < count; i++)
        best = fmin(best, median(&contenders[i]));
    for (int i = 0; i < count; i++)
        contenders[i].hopeless = median(&contenders[i]) > HOPELESS * best;
}

/* Round by round, so that a change of the device's clock meets all alike. The first, in which
 * kernels are loaded, counts for nothing. `why`: the last failure. */
static void contest(struct device_timer *timer, int index, struct contender *contenders, int count,
                    unet_error *why)
{
    for (int round = -1; round < ROUNDS; round++) {
        if (round == LEAST_ROUNDS)
            drop_hopeless(contenders, count);
        for (int i = 0; i < count; i++) {
            struct contender *contender = &contenders[i];
            double seconds;
            if (contender->failed || contender->hopeless)
                continue;
            contender->failed = run_once(timer, index, contender, &seconds, why) != UNET_OK;
            if (contender->failed)
                log_line(timer->log, LOG_DETAIL, "%s: %s fails: %s",
                         plan_step_name(timer->plan, &timer->plan->steps[index]),
                         contender->kernel->name, why->message);
            else if (round >= 0)
                contender->seconds[contender->rounds++] = seconds;
        }
    }
}

static unet_status measure(struct device_timer *timer, int index, struct contender *contenders,
                           int count, unet_error *error)
{
    unet_error why = {UNET_ERROR_DEVICE, ""};
    int failed = 0;
    for (int i = 0; i < count; i++)
        TRY(prepare(timer, index, &contenders[i], error));
    TRY(fill_sources(timer, index, error));
    contest(timer, index, contenders, count, &why);
    for (int i = 0; i < count; i++)
        failed += contenders[i].failed;
    if (failed == count)
        return error_set(error, why.status, "layer %s: every kernel fails: %s",
                         plan_step_name(timer->plan, &timer->plan->steps[index]), why.message);
    return UNET_OK;
}

static int64_t nanoseconds_of(const struct contender *contender)
{
    double seconds = median(contender);
    return isfinite(seconds) ? 1 + (int64_t)(1e9 * seconds) : NEVER;
}

unet_status device_timer_measure(void *context, int step, const struct candidates *candidates,
                                 int64_t *nanoseconds, unet_error *error)
{
    struct device_timer *timer = context;
    int count = candidates->count;
    TRY(start(timer, error));
    nanoseconds[0] = 0;
    if (clock_seconds() > timer->began + MOST_SECONDS)
        return UNET_OK;
    struct contender *contenders = memory_calloc((size_t)count, sizeof *contenders);
    if (contenders == NULL)
        return error_memory(error, (size_t)count * sizeof *contenders, "timing kernels");
    for (int i = 0; i < count; i++)
        contenders[i].kernel = candidates->kernels[i];
    unet_status status = measure(timer, step, contenders, count, error);
    for (int i = 0; i < count; i++) {
        if (status == UNET_OK)
            nanoseconds[i] = nanoseconds_of(&contenders[i]);
        give_back(timer, contenders[i].packed);
        give_back(timer, contenders[i].scratch);
    }
    memory_free(contenders);
    return status;
}
