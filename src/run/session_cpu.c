/* A session on the CPU: its own memory, a pool of threads, one image at a time. */
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/memory_left.h"
#include "kernels/peak.h"
#include "run/guard.h"
#include "run/session_kind.h"

/* Where less is wanted, asking what is left would cost more than it tells. */
#define WORTH_ASKING ((size_t)64 << 20)

struct cpu_session {
    struct layout layout; /* of the size that is booked; no steps: none is */
    void *arena, *scratch;
    size_t arena_capacity, scratch_capacity; /* bytes; they only grow */
    double peaks[PEAK_COUNT];                /* flops a second; 0: not measured */
};

/* ---------------------------------------------------------------- open and close */

static unet_status open_session(unet_session *session, unet_error *error)
{
    session->own = memory_calloc(1, sizeof(struct cpu_session));
    if (session->own == NULL)
        return error_memory(error, sizeof(struct cpu_session), "a session");
    return UNET_OK;
}

static void close_session(unet_session *session)
{
    struct cpu_session *own = session->own;
    if (own == NULL)
        return;
    layout_clear(&own->layout);
    guard_open(own->arena, own->arena_capacity);
    memory_free_aligned(own->arena);
    memory_free_aligned(own->scratch);
    memory_free(own);
}

/* ---------------------------------------------------------------- reserve */

/* The old block goes first: both at once would double the peak. */
static unet_status grow(void **block, size_t *capacity, size_t bytes, const char *what,
                        unet_error *error)
{
    if (bytes <= *capacity)
        return UNET_OK;
    guard_open(*block, *capacity);
    memory_free_aligned(*block);
    *capacity = 0;
    *block = memory_alloc_aligned(bytes);
    if (*block == NULL)
        return error_memory(error, bytes, what);
    *capacity = bytes;
    return UNET_OK;
}

/* Linux promises memory that it does not have and kills who then writes to it: so ask before. */
static unet_status check_memory(const struct cpu_session *own, const struct layout *layout,
                                size_t scratch_bytes, unet_error *error)
{
    size_t arena = layout->arena_bytes, wanted = 0;
    if (arena > own->arena_capacity)
        wanted += arena - own->arena_capacity;
    if (scratch_bytes > own->scratch_capacity)
        wanted += scratch_bytes - own->scratch_capacity;
    size_t left = wanted >= WORTH_ASKING ? memory_left() : SIZE_MAX;
    if (wanted <= left)
        return UNET_OK;
    return error_set(error, UNET_ERROR_MEMORY,
                     "an input of %d×%d needs %zu MiB of memory more and %zu MiB are left for this "
                     "process: use smaller images, a smaller scale or fewer threads, or allow it "
                     "more memory",
                     layout->width, layout->height, (wanted >> 20) + 1, left >> 20);
}

static unet_status book(unet_session *session, int height, int width, unet_error *error)
{
    struct cpu_session *own = session->own;
    const struct plan *plan = &session->engine->plan;
    int threads = thread_pool_size(session->pool);
    struct layout layout;
    TRY(layout_create(plan, 1, height, width, threads, &layout, error));
    size_t scratch_bytes = layout.shared_bytes + layout.scratch_bytes * (size_t)threads;
    unet_status status;
    TRY_GOTO(check_memory(own, &layout, scratch_bytes, error), failed);
    layout_clear(&own->layout);
    TRY_GOTO(grow(&own->arena, &own->arena_capacity, layout.arena_bytes,
                  "the network's tensors; use smaller images or a scale", error),
             failed);
    TRY_GOTO(grow(&own->scratch, &own->scratch_capacity, scratch_bytes, "scratch memory", error),
             failed);
    layout_bind(plan, &layout, own->arena, own->scratch, session->engine->packed);
    own->layout = layout;
    return UNET_OK;
failed:
    layout_clear(&layout);
    return status;
}

static unet_status reserve(unet_session *session, int height, int width, unet_error *error)
{
    const struct layout *layout = &((struct cpu_session *)session->own)->layout;
    if (layout->steps != NULL && layout->height == height && layout->width == width)
        return UNET_OK;
    return book(session, height, width, error);
}

/* ---------------------------------------------------------------- run */

struct call {
    const struct plan_step *step;
    const struct layout_step *laid;
    char *scratch;
    size_t scratch_bytes;
    int first_task; /* of the phase */
};

static void run_task(void *context, int task, int thread)
{
    const struct call *call = context;
    call->step->kernel->run(call->step->kernel, &call->step->desc, &call->laid->args,
                            call->first_task + task, call->laid->tasks,
                            call->scratch + call->scratch_bytes * (size_t)thread);
}

static void run_step(unet_session *session, int index)
{
    const struct cpu_session *own = session->own;
    const struct layout *layout = &own->layout;
    struct call call = {.step = &session->engine->plan.steps[index],
                        .laid = &layout->steps[index],
                        .scratch = (char *)own->scratch + layout->shared_bytes,
                        .scratch_bytes = layout->scratch_bytes};
    guard_step(call.step, call.laid, own->arena, own->arena_capacity);
    for (int phase = 0; phase < call.laid->phases; phase++) {
        call.first_task = phase * call.laid->tasks;
        thread_pool_run(session->pool, call.laid->tasks, run_task, &call);
    }
}

static void run_profiled(unet_session *session, int index)
{
    double before = clock_seconds();
    run_step(session, index);
    session->times[index].seconds += clock_seconds() - before;
    session->times[index].images++;
}

static void run_image(unet_session *session, const struct session_io *io)
{
    const struct plan *plan = &session->engine->plan;
    const struct layout *layout = &((struct cpu_session *)session->own)->layout;
    for (int i = session_first_step(session); i < plan->step_count; i++) {
        session_bind_io(session, i, io, &layout->steps[i].args);
        if (session->times != NULL)
            run_profiled(session, i);
        else
            run_step(session, i);
        if (session->observer != NULL)
            session->observer(session->observer_context, &plan->steps[i], &layout->steps[i]);
    }
}

static unet_status run(unet_session *session, const struct session_io *io, int batch, int height,
                       int width, unet_error *error)
{
    TRY(reserve(session, height, width, error));
    for (int i = 0; i < batch; i++) {
        struct session_io image = session_io_at(session, io, i, height, width);
        run_image(session, &image);
    }
    return UNET_OK;
}

static unet_status wait(unet_session *session, unet_error *error)
{
    (void)session, (void)error;
    return UNET_OK;
}

/* ---------------------------------------------------------------- memory */

static unet_status memory_new(unet_session *session, size_t bytes, void **memory, unet_error *error)
{
    (void)session;
    void *made = memory_alloc_aligned(bytes);
    if (made == NULL)
        return error_memory(error, bytes, "tensors of the caller");
    *memory = made;
    return UNET_OK;
}

static void free_memory(unet_session *session, void *memory)
{
    (void)session;
    memory_free_aligned(memory);
}

static unet_status copy(unet_session *session, void *to, const void *from, size_t bytes,
                        unet_error *error)
{
    (void)session, (void)error;
    memcpy(to, from, bytes);
    return UNET_OK;
}

static unet_status copy_out(unet_session *session, const void *memory, void *to, size_t bytes,
                            unet_error *error)
{
    return copy(session, to, memory, bytes, error);
}

/* ---------------------------------------------------------------- ask */

static const struct layout *layout_of(const unet_session *session)
{
    return &((const struct cpu_session *)session->own)->layout;
}

static size_t booked_bytes(const unet_session *session)
{
    const struct cpu_session *own = session->own;
    return own->arena_capacity + own->scratch_capacity;
}

static double peak(const unet_session *session, const struct plan_step *step)
{
    return ((const struct cpu_session *)session->own)->peaks[peak_of(step->kernel)];
}

static unet_status measure_peak(unet_session *session, unet_error *error)
{
    (void)error;
    struct cpu_session *own = session->own;
    bool wanted[PEAK_COUNT] = {false};
    const struct plan *plan = &session->engine->plan;
    for (int i = 0; i < plan->step_count; i++)
        wanted[peak_of(plan->steps[i].kernel)] = true;
    for (int kind = 0; kind < PEAK_COUNT; kind++) {
        double flops = wanted[kind] ? peak_flops_of_all(session->pool, (enum peak)kind) : 0;
        if (flops > own->peaks[kind])
            own->peaks[kind] = flops;
    }
    return UNET_OK;
}

const struct session_kind session_on_cpu = {
    .open = open_session,
    .close = close_session,
    .reserve = reserve,
    .run = run,
    .enqueue = run,
    .wait = wait,
    .memory_new = memory_new,
    .memory_free = free_memory,
    .write = copy,
    .read = copy_out,
    .layout = layout_of,
    .booked_bytes = booked_bytes,
    .peak = peak,
    .measure_peak = measure_peak,
};
