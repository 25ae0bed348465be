#include "run/session.h"

#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/memory.h"
#include "base/memory_left.h"
#include "base/options.h"
#include "base/threads.h"
#include "kernels/peak.h"
#include "run/guard.h"

/* Where less is wanted, asking what is left would cost more than it tells. */
#define WORTH_ASKING ((size_t)64 << 20)

struct step_time {
    double seconds;
    long runs;
};

struct unet_session {
    const unet_engine *engine;
    struct thread_pool *pool;
    struct layout layout; /* of the size that is booked; no steps: none is */
    void *arena, *scratch;
    size_t arena_capacity, scratch_capacity; /* bytes; they only grow */
    struct step_time *times;                 /* one a step; NULL: no profile wanted */
    double peaks[PEAK_COUNT];                /* flops a second; 0: not measured */
    int input_reader;                        /* as plan_input_reader */
    session_observer *observer;              /* NULL: nobody observes */
    void *observer_context;
};

const struct unet_engine *session_engine(const unet_session *session)
{
    return session->engine;
}

struct thread_pool *session_threads(unet_session *session)
{
    return session->pool;
}

void session_observe(unet_session *session, session_observer *observer, void *context)
{
    session->observer = observer;
    session->observer_context = context;
}

/* ---------------------------------------------------------------- create and close */

static unet_status start(unet_session *session, const unet_session_options *options,
                         unet_error *error)
{
    int threads = options->threads > 0 ? options->threads : cpu_usable_threads();
    size_t steps = (size_t)session->engine->plan.step_count;
    if (options->profile) {
        session->times = memory_calloc(steps, sizeof *session->times);
        if (session->times == NULL)
            return error_memory(error, steps * sizeof *session->times, "a profile");
    }
    return thread_pool_create(threads, &session->pool, error);
}

unet_status unet_session_create(const unet_engine *engine, const unet_session_options *options,
                                unet_session **session, unet_error *error)
{
    if (engine == NULL || session == NULL)
        return error_set(error, UNET_ERROR_USAGE,
                         "unet_session_create needs an engine and a session");
    unet_session_options known;
    TRY(options_read(&known, sizeof known, options, "unet_session_options", error));
    TRY(thread_count_check(known.threads, error));
    unet_session *made = memory_calloc(1, sizeof *made);
    if (made == NULL)
        return error_memory(error, sizeof *made, "a session");
    made->engine = engine;
    made->input_reader = plan_input_reader(&engine->plan);
    unet_status status = start(made, &known, error);
    if (status == UNET_OK)
        *session = made;
    else
        unet_session_close(&made);
    return status;
}

void unet_session_close(unet_session **address)
{
    unet_session *session = address != NULL ? *address : NULL;
    if (session == NULL)
        return;
    *address = NULL;
    thread_pool_free(&session->pool);
    layout_clear(&session->layout);
    guard_open(session->arena, session->arena_capacity);
    memory_free_aligned(session->arena);
    memory_free_aligned(session->scratch);
    memory_free(session->times);
    memory_free(session);
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
static unet_status check_memory(const unet_session *session, const struct layout *layout,
                                size_t scratch_bytes, unet_error *error)
{
    size_t arena = layout->arena_bytes, wanted = 0;
    if (arena > session->arena_capacity)
        wanted += arena - session->arena_capacity;
    if (scratch_bytes > session->scratch_capacity)
        wanted += scratch_bytes - session->scratch_capacity;
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
    const struct plan *plan = &session->engine->plan;
    int threads = thread_pool_size(session->pool);
    struct layout layout;
    TRY(layout_create(plan, height, width, threads, &layout, error));
    size_t scratch_bytes = layout.scratch_bytes * (size_t)threads;
    unet_status status;
    TRY_GOTO(check_memory(session, &layout, scratch_bytes, error), failed);
    layout_clear(&session->layout);
    TRY_GOTO(grow(&session->arena, &session->arena_capacity, layout.arena_bytes,
                  "the network's tensors; use smaller images or a scale", error),
             failed);
    TRY_GOTO(
        grow(&session->scratch, &session->scratch_capacity, scratch_bytes, "scratch memory", error),
        failed);
    layout_bind(plan, &layout, session->arena, session->engine->packed);
    session->layout = layout;
    return UNET_OK;
failed:
    layout_clear(&layout);
    return status;
}

unet_status unet_session_reserve(unet_session *session, int height, int width, unet_error *error)
{
    if (session == NULL)
        return error_set(error, UNET_ERROR_USAGE, "unet_session_reserve needs a session");
    const struct layout *layout = &session->layout;
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
};

static void run_task(void *context, int task, int thread)
{
    const struct call *call = context;
    call->step->kernel->run(call->step->kernel, &call->step->desc, &call->laid->args, task,
                            call->laid->tasks,
                            call->scratch + call->scratch_bytes * (size_t)thread);
}

static void run_step(unet_session *session, int index)
{
    const struct layout *layout = &session->layout;
    struct call call = {.step = &session->engine->plan.steps[index],
                        .laid = &layout->steps[index],
                        .scratch = session->scratch,
                        .scratch_bytes = layout->scratch_bytes};
    guard_step(call.step, call.laid, session->arena, session->arena_capacity);
    thread_pool_run(session->pool, call.laid->tasks, run_task, &call);
}

static void run_profiled(unet_session *session, int index)
{
    double before = clock_seconds();
    run_step(session, index);
    session->times[index].seconds += clock_seconds() - before;
    session->times[index].runs++;
}

static void bind_io(const struct plan_step *step, const struct session_io *io, bool reads_input,
                    struct kernel_args *args)
{
    args->from_input = reads_input;
    if (reads_input || step->desc.op == KERNEL_LOAD) {
        args->planar_in = io->input;
        args->pixels_in = io->pixels;
    }
    if (step->desc.op == KERNEL_STORE || step->head) {
        args->planar_out = io->logits;
        args->mask_out = io->mask;
    }
}

static void run_image(unet_session *session, const struct session_io *io)
{
    const struct plan *plan = &session->engine->plan;
    for (int i = session->input_reader > 0 ? 1 : 0; i < plan->step_count; i++) {
        bind_io(&plan->steps[i], io, i == session->input_reader, &session->layout.steps[i].args);
        if (session->times != NULL)
            run_profiled(session, i);
        else
            run_step(session, i);
        if (session->observer != NULL)
            session->observer(session->observer_context, &plan->steps[i],
                              &session->layout.steps[i]);
    }
}

unet_status session_run(unet_session *session, const struct session_io *io, int height, int width,
                        unet_error *error)
{
    TRY(unet_session_reserve(session, height, width, error));
    run_image(session, io);
    return UNET_OK;
}

static bool overlap(const float *a, size_t a_count, const float *b, size_t b_count)
{
    uintptr_t a_first = (uintptr_t)a, b_first = (uintptr_t)b;
    return a_first < b_first + b_count * sizeof *b && b_first < a_first + a_count * sizeof *a;
}

unet_status unet_session_run(unet_session *session, const float *input, int batch, int height,
                             int width, float *logits, unet_error *error)
{
    if (session == NULL || input == NULL || logits == NULL || batch < 1)
        return error_set(
            error, UNET_ERROR_USAGE,
            "unet_session_run needs a session, input, logits and a batch of at least 1");
    TRY(unet_session_reserve(session, height, width, error));
    const struct engine_facts *facts = &session->engine->facts;
    size_t pixels = (size_t)height * (size_t)width;
    size_t input_count = pixels * (size_t)facts->in_channels;
    size_t logit_count = pixels * (size_t)facts->classes;
    if (overlap(input, input_count * (size_t)batch, logits, logit_count * (size_t)batch))
        return error_set(error, UNET_ERROR_USAGE, "input and logits overlap; give two buffers");
    for (size_t i = 0; i < (size_t)batch; i++) {
        const struct session_io io = {.input = input + i * input_count,
                                      .logits = logits + i * logit_count};
        run_image(session, &io);
    }
    return UNET_OK;
}

/* ---------------------------------------------------------------- ask */

unet_status unet_session_get_profile(const unet_session *session, size_t index,
                                     unet_layer_profile *profile, unet_error *error)
{
    if (session == NULL || profile == NULL || session->times == NULL)
        return error_set(error, UNET_ERROR_USAGE,
                         "no profile is kept; create the session with options.profile = true");
    const struct plan *plan = &session->engine->plan;
    if (index >= (size_t)plan->step_count)
        return error_set(error, UNET_ERROR_USAGE, "layer %zu: the engine has %d layers", index,
                         plan->step_count);
    const struct plan_step *step = &plan->steps[index];
    const struct step_time *time = &session->times[index];
    unet_layer_profile known = {.name = plan_step_name(plan, step),
                                .kernel = step->kernel->name,
                                .peak = session->peaks[peak_of(step->kernel)]};
    if (time->runs > 0)
        known.milliseconds = 1e3 * time->seconds / (double)time->runs;
    if (session->layout.steps != NULL) {
        known.flops = 2 * session->layout.steps[index].macs;
        known.bytes = session->layout.steps[index].bytes;
    }
    return options_write(profile, &known, sizeof known, "unet_layer_profile", error);
}

void unet_session_reset_profile(unet_session *session)
{
    if (session != NULL && session->times != NULL)
        memset(session->times, 0,
               (size_t)session->engine->plan.step_count * sizeof *session->times);
}

unet_status unet_session_measure_peak(unet_session *session, unet_error *error)
{
    if (session == NULL)
        return error_set(error, UNET_ERROR_USAGE, "unet_session_measure_peak needs a session");
    bool wanted[PEAK_COUNT] = {false};
    const struct plan *plan = &session->engine->plan;
    for (int i = 0; i < plan->step_count; i++)
        wanted[peak_of(plan->steps[i].kernel)] = true;
    for (int peak = 0; peak < PEAK_COUNT; peak++) {
        double flops = wanted[peak] ? peak_flops_of_all(session->pool, (enum peak)peak) : 0;
        if (flops > session->peaks[peak])
            session->peaks[peak] = flops;
    }
    return UNET_OK;
}

unet_status unet_session_get_info(const unet_session *session, unet_session_info *info,
                                  unet_error *error)
{
    if (session == NULL || info == NULL)
        return error_set(error, UNET_ERROR_USAGE, "unet_session_get_info needs a session and info");
    const unet_session_info known = {.threads = thread_pool_size(session->pool),
                                     .activation_bytes =
                                         session->arena_capacity + session->scratch_capacity,
                                     .weight_bytes = session->engine->plan.packed_bytes,
                                     .layer_count = (size_t)session->engine->plan.step_count};
    return options_write(info, &known, sizeof known, "unet_session_info", error);
}
