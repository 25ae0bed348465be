#include "build/time_kernels.h"

#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/threads.h"

/* Measuring a network takes WANTED_SECONDS where its kernels are fast enough for LEAST_ROUNDS in
 * that; after MOST_SECONDS no further step begins. */
#define WANTED_SECONDS 8.0
#define MOST_SECONDS   15.0
#define LEAST_ROUNDS   4
#define MOST_ROUNDS    16

/* Who is so many times slower than the best after one, two, or more rounds needs no further ones.
 * One round says nothing: of some a virtual machine's host has made thirteenfold ones. */
static const double hopeless_after[] = {INFINITY, 2, 1.5};
#define DOUBTED_ROUNDS 2

/* What the rest of the network drives through the caches between two runs of a layer; beyond this
 * little changes. */
#define MOST_EVICTED ((size_t)64 << 20)
#define CHUNK_BYTES  ((size_t)256 << 10)

struct kernel_timer {
    const struct plan *plan;
    struct layout *layout;
    struct thread_pool *pool;
    float *arena, *planar, *evicted;
    size_t evicted_bytes;
    double began, total_macs;
};

/* A candidate at work. */
struct contender {
    const struct kernel *kernel;
    void *packed, *memory; /* memory: what is shared, and each thread's scratch */
    struct kernel_share share;
    double *task_seconds; /* the best of each task of each phase, in processor time */
    double seconds;       /* what an undisturbed run of all of them takes */
    bool hopeless;
};

/* ---------------------------------------------------------------- create and free */

unet_status kernel_timer_create(const struct plan *plan, struct layout *layout,
                                struct kernel_timer **timer, unet_error *error)
{
    struct kernel_timer *made = memory_calloc(1, sizeof *made);
    if (made == NULL)
        return error_memory(error, sizeof *made, "timing kernels");
    made->plan = plan;
    made->layout = layout;
    for (int i = 0; i < layout->step_count; i++)
        made->total_macs += layout->steps[i].macs;
    *timer = made;
    return UNET_OK;
}

void kernel_timer_free(struct kernel_timer **address)
{
    struct kernel_timer *timer = address != NULL ? *address : NULL;
    if (timer == NULL)
        return;
    *address = NULL;
    thread_pool_free(&timer->pool);
    memory_free_aligned(timer->arena);
    memory_free_aligned(timer->planar);
    memory_free_aligned(timer->evicted);
    memory_free(timer);
}

/* Zeroed, so that no kernel pays for the first touch of a page. */
static unet_status allocate(size_t bytes, float **block, unet_error *error)
{
    *block = memory_alloc_aligned(bytes);
    if (*block == NULL)
        return error_memory(error, bytes,
                            "timing kernels; build without timing, or for a smaller size");
    memset(*block, 0, bytes);
    return UNET_OK;
}

static size_t planar_bytes(const struct kernel_timer *timer)
{
    size_t most = 1;
    for (int i = 0; i < timer->plan->step_count; i++) {
        const struct kernel_desc *desc = &timer->plan->steps[i].desc;
        size_t channels =
            desc->op == KERNEL_CONV ? (size_t)desc->head_channels : (size_t)desc->out_channels;
        bool planar =
            desc->op == KERNEL_LOAD || desc->op == KERNEL_STORE || timer->plan->steps[i].head;
        if (planar && channels > most)
            most = channels;
    }
    return most * (size_t)timer->layout->height * (size_t)timer->layout->width * sizeof(float);
}

static unet_status start(struct kernel_timer *timer, unet_error *error)
{
    if (timer->pool != NULL)
        return UNET_OK;
    const struct layout *layout = timer->layout;
    size_t whole = layout->arena_bytes + timer->plan->packed_bytes;
    timer->evicted_bytes = whole < MOST_EVICTED ? whole : MOST_EVICTED;
    TRY(allocate(layout->arena_bytes, &timer->arena, error));
    TRY(allocate(timer->evicted_bytes, &timer->evicted, error));
    TRY(allocate(planar_bytes(timer), &timer->planar, error));
    layout_bind(timer->plan, timer->layout, timer->arena, NULL, NULL);
    TRY(thread_pool_create(layout->threads, &timer->pool, error));
    timer->began = clock_seconds();
    return UNET_OK;
}

/* ---------------------------------------------------------------- inputs and caches */

static void fill_source(const struct blocked *source)
{
    struct blocked shape = *source;
    size_t bytes =
        blocked_init(&shape, source->type, source->channels, source->height, source->width);
    void *first = (char *)source->data - blocked_origin(source);
    size_t count = bytes / kernel_type_bytes(source->type);
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        float value = (float)(state >> 8) * 0x1p-24f;
        if (source->type == KERNEL_BF16)
            ((uint16_t *)first)[i] = bf16_from_float(value);
        else if (source->type == KERNEL_U8)
            ((uint8_t *)first)[i] = (uint8_t)(255 * value);
        else
            ((float *)first)[i] = value;
    }
    kernel_zero_border(source, 0, source->height, 0, kernel_blocks(source->channels));
}

struct touched {
    char *first;
    size_t bytes;
};

static void touch_chunk(void *context, int task, int thread)
{
    (void)thread;
    const struct touched *touched = context;
    size_t first = (size_t)task * CHUNK_BYTES, left = touched->bytes - first;
    size_t count = left < CHUNK_BYTES ? left : CHUNK_BYTES;
    volatile char *bytes = touched->first + first;
    for (size_t i = 0; i < count; i += MEMORY_ALIGNMENT)
        bytes[i] = bytes[i];
}

/* Brings memory into the caches, written to, and so drives other memory out. */
static void touch(struct kernel_timer *timer, void *first, size_t bytes)
{
    struct touched touched = {first, bytes};
    thread_pool_run(timer->pool, (int)((bytes + CHUNK_BYTES - 1) / CHUNK_BYTES), touch_chunk,
                    &touched);
}

static bool written_before(const struct plan *plan, int index, int value)
{
    const struct plan_step *before = &plan->steps[index > 0 ? index - 1 : 0];
    return index > 0 && (before->out == value || before->pooled == value);
}

/* The state in which a network reaches this step: its weights, its outputs and older inputs are
 * forgotten, what the step before wrote is fresh. */
static void settle_caches(struct kernel_timer *timer, int index)
{
    const struct plan_step *step = &timer->plan->steps[index];
    const struct kernel_args *args = &timer->layout->steps[index].args;
    touch(timer, timer->evicted, timer->evicted_bytes);
    for (int s = 0; s < step->desc.source_count; s++)
        if (step->sources[s] != GRAPH_NONE && written_before(timer->plan, index, step->sources[s]))
            touch(timer, blocked_at(&args->sources[s], 0, 0, 0),
                  args->sources[s].row_stride * (size_t)args->sources[s].height *
                      kernel_type_bytes(args->sources[s].type));
}

/* ---------------------------------------------------------------- one run */

/* A task's time is its thread's: on a shared machine most wall-clock times tell of other
 * programs. */
struct call {
    const struct contender *contender;
    const struct kernel_desc *desc;
    struct kernel_args args;
    int first_task; /* of the phase */
};

static void run_task(void *context, int task, int thread)
{
    const struct call *call = context;
    const struct contender *contender = call->contender;
    char *scratch = (char *)contender->memory + contender->share.shared_bytes +
                    contender->share.scratch_bytes * (size_t)thread;
    task += call->first_task;
    double before = clock_thread_seconds();
    contender->kernel->run(contender->kernel, call->desc, &call->args, task, contender->share.tasks,
                           scratch);
    double seconds = clock_thread_seconds() - before;
    contender->task_seconds[task] = fmin(contender->task_seconds[task], seconds);
}

double makespan(const double *task_seconds, int tasks, int threads)
{
    double busy[THREADS_MOST] = {0}, longest = 0;
    int count = threads < THREADS_MOST ? threads : THREADS_MOST;
    for (int task = 0; task < tasks; task++) {
        int free = 0;
        for (int i = 1; i < count; i++)
            if (busy[i] < busy[free])
                free = i;
        busy[free] += task_seconds[task];
        longest = fmax(longest, busy[free]);
    }
    return longest;
}

static void run_once(struct kernel_timer *timer, int index, struct contender *contender)
{
    struct call call = {.contender = contender,
                        .desc = &timer->plan->steps[index].desc,
                        .args = timer->layout->steps[index].args};
    call.args.packed = contender->packed;
    call.args.phases = contender->share.phases > 1 ? contender->share.phases : 0;
    call.args.shared = contender->memory;
    call.args.planar_in = call.args.planar_out = timer->planar;
    settle_caches(timer, index);
    int tasks = contender->share.tasks;
    contender->seconds = 0;
    for (int phase = 0; phase < contender->share.phases; phase++) {
        call.first_task = phase * tasks;
        thread_pool_run(timer->pool, tasks, run_task, &call);
        contender->seconds += makespan(contender->task_seconds + call.first_task, tasks,
                                       thread_pool_size(timer->pool));
    }
}

/* ---------------------------------------------------------------- the contest */

static unet_status allocate_contender(struct contender *contender, size_t packed_bytes,
                                      size_t threads, unet_error *error)
{
    const struct kernel_share *share = &contender->share;
    size_t tasks = (size_t)share->tasks * (size_t)share->phases;
    size_t scratch_bytes = share->shared_bytes + share->scratch_bytes * threads;
    contender->packed = memory_alloc_aligned(packed_bytes);
    contender->memory = memory_alloc_aligned(scratch_bytes);
    contender->task_seconds = memory_alloc_array(tasks, sizeof *contender->task_seconds);
    if (contender->packed == NULL || contender->memory == NULL || contender->task_seconds == NULL)
        return error_memory(error, packed_bytes + scratch_bytes,
                            "timing kernels; build without timing");
    memset(contender->memory, 0, scratch_bytes);
    for (size_t i = 0; i < tasks; i++)
        contender->task_seconds[i] = INFINITY;
    return UNET_OK;
}

static size_t whole_lines(size_t bytes)
{
    return (bytes + MEMORY_ALIGNMENT - 1) / MEMORY_ALIGNMENT * MEMORY_ALIGNMENT;
}

static unet_status prepare(const struct kernel_timer *timer, int index, struct contender *contender,
                           unet_error *error)
{
    const struct plan_step *step = &timer->plan->steps[index];
    const struct kernel_args *args = &timer->layout->steps[index].args;
    const struct kernel *kernel = contender->kernel;
    struct kernel_weights weights = plan_step_weights(timer->plan, step);
    int threads = thread_pool_size(timer->pool);
    size_t packed_bytes = kernel->packed_bytes(kernel, &step->desc);
    contender->share = kernel_share(kernel, &step->desc, args);
    contender->share.scratch_bytes = whole_lines(contender->share.scratch_bytes);
    contender->share.shared_bytes = whole_lines(contender->share.shared_bytes);
    TRY(allocate_contender(contender, packed_bytes, (size_t)threads, error));
    if (packed_bytes > 0)
        kernel->pack(kernel, &step->desc, &weights, contender->packed);
    return UNET_OK;
}

static void free_contender(struct contender *contender)
{
    memory_free_aligned(contender->packed);
    memory_free_aligned(contender->memory);
    memory_free(contender->task_seconds);
}

/* Returns how many are left in the race. */
static int drop_hopeless(struct contender *contenders, int count, int round)
{
    double best = INFINITY;
    double factor = hopeless_after[round < DOUBTED_ROUNDS ? round : DOUBTED_ROUNDS];
    int left = 0;
    for (int i = 0; i < count; i++)
        best = fmin(best, contenders[i].seconds);
    for (int i = 0; i < count; i++) {
        contenders[i].hopeless |= contenders[i].seconds > factor * best;
        left += !contenders[i].hopeless;
    }
    return left;
}

/* Round by round, so that a disturbance of the machine meets all alike. */
static void contest(struct kernel_timer *timer, int index, struct contender *contenders, int count)
{
    double share = timer->layout->steps[index].macs / fmax(timer->total_macs, 1);
    double end = clock_seconds() + WANTED_SECONDS * share;
    int left = count, rounds = count > 1 ? MOST_ROUNDS : LEAST_ROUNDS;
    for (int round = 0; round < rounds && (left > 1 || count == 1); round++) {
        double now = clock_seconds();
        bool late = round > 0 && now > timer->began + MOST_SECONDS;
        if (late || (round >= LEAST_ROUNDS && now > end))
            return;
        for (int i = 0; i < count; i++)
            if (!contenders[i].hopeless)
                run_once(timer, index, &contenders[i]);
        left = drop_hopeless(contenders, count, round);
    }
}

static unet_status measure(struct kernel_timer *timer, int index, struct contender *contenders,
                           int count, unet_error *error)
{
    const struct plan_step *step = &timer->plan->steps[index];
    for (int i = 0; i < count; i++)
        TRY(prepare(timer, index, &contenders[i], error));
    for (int s = 0; s < step->desc.source_count; s++)
        if (step->sources[s] != GRAPH_NONE)
            fill_source(&timer->layout->steps[index].args.sources[s]);
    contest(timer, index, contenders, count);
    return UNET_OK;
}

unet_status kernel_timer_measure(void *context, int step, const struct candidates *candidates,
                                 int64_t *nanoseconds, unet_error *error)
{
    struct kernel_timer *timer = context;
    struct contender contenders[CANDIDATES_MOST] = {0};
    int count = candidates->count;
    TRY(start(timer, error));
    nanoseconds[0] = 0;
    if (clock_seconds() > timer->began + MOST_SECONDS)
        return UNET_OK;
    for (int i = 0; i < count; i++)
        contenders[i].kernel = candidates->kernels[i];
    unet_status status = measure(timer, step, contenders, count, error);
    for (int i = 0; i < count; i++) {
        if (status == UNET_OK)
            nanoseconds[i] = 1 + (int64_t)(1e9 * contenders[i].seconds);
        free_contender(&contenders[i]);
    }
    return status;
}
