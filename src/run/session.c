/* What every session does, wherever it runs: session_cpu.c and session_device.c do the rest. */
#include "run/session.h"

#include <string.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "base/options.h"
#include "run/session_kind.h"

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

/* A device does the work: a session there has no threads but the caller. */
static int thread_count(const unet_session *session, int wanted)
{
    if (session->kind == &session_on_device)
        return 1;
    return wanted > 0 ? wanted : cpu_usable_threads();
}

static unet_status start(unet_session *session, const unet_session_options *options,
                         unet_error *error)
{
    size_t steps = (size_t)session->engine->plan.step_count;
    if (options->profile) {
        session->times = memory_calloc(steps, sizeof *session->times);
        if (session->times == NULL)
            return error_memory(error, steps * sizeof *session->times, "a profile");
    }
    TRY(thread_pool_create(thread_count(session, options->threads), &session->pool, error));
    return session->kind->open(session, error);
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
    made->kind = target_is_device(&engine->plan.target) ? &session_on_device : &session_on_cpu;
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
    session->kind->close(session);
    memory_free(session->times);
    memory_free(session);
}

unet_status unet_session_reserve(unet_session *session, int height, int width, unet_error *error)
{
    if (session == NULL)
        return error_set(error, UNET_ERROR_USAGE, "unet_session_reserve needs a session");
    return session->kind->reserve(session, height, width, error);
}

/* ---------------------------------------------------------------- what kinds share */

int session_first_step(const unet_session *session)
{
    return session->input_reader > 0 ? 1 : 0;
}

void session_bind_io(const unet_session *session, int index, const struct session_io *io,
                     struct kernel_args *args)
{
    const struct plan_step *step = &session->engine->plan.steps[index];
    bool reads_input = index > 0 && index == session->input_reader;
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

size_t session_input_bytes(const unet_session *session, const struct session_io *io, int height,
                           int width)
{
    size_t pixels = (size_t)height * (size_t)width;
    if (io->pixels.bytes != NULL)
        return pixels * (size_t)io->pixels.step;
    return pixels * (size_t)session->engine->facts.in_channels * sizeof(float);
}

size_t session_output_bytes(const unet_session *session, const struct session_io *io, int height,
                            int width)
{
    size_t pixels = (size_t)height * (size_t)width;
    if (io->mask.classes != NULL)
        return pixels;
    return pixels * (size_t)session->engine->facts.classes * sizeof(float);
}

struct session_io session_io_at(const unet_session *session, const struct session_io *io, int image,
                                int height, int width)
{
    struct session_io at = *io;
    size_t in = (size_t)image * session_input_bytes(session, io, height, width);
    size_t out = (size_t)image * session_output_bytes(session, io, height, width);
    if (at.pixels.bytes != NULL)
        at.pixels.bytes += in;
    else
        at.input += in / sizeof *at.input;
    if (at.mask.classes != NULL)
        at.mask.classes += out;
    else
        at.logits += out / sizeof *at.logits;
    return at;
}

/* ---------------------------------------------------------------- run */

unet_status session_run(unet_session *session, const struct session_io *io, int height, int width,
                        unet_error *error)
{
    return session->kind->run(session, io, 1, height, width, error);
}

static bool overlap(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    uintptr_t a_first = (uintptr_t)a, b_first = (uintptr_t)b;
    return a_first < b_first + b_bytes && b_first < a_first + a_bytes;
}

static unet_status check_call(const unet_session *session, const struct session_io *io, int batch,
                              int height, int width, const char *name, unet_error *error)
{
    if (session == NULL || io->input == NULL || io->logits == NULL || batch < 1)
        return error_set(error, UNET_ERROR_USAGE,
                         "%s needs a session, input, logits and a batch of at least 1", name);
    if (height < 1 || width < 1 || height > UNET_MAX_SIDE || width > UNET_MAX_SIDE)
        return error_set(error, UNET_ERROR_USAGE, "%s %d is not between 1 and %d",
                         height < 1 || height > UNET_MAX_SIDE ? "height" : "width",
                         height < 1 || height > UNET_MAX_SIDE ? height : width, UNET_MAX_SIDE);
    size_t in = session_input_bytes(session, io, height, width) * (size_t)batch;
    size_t out = session_output_bytes(session, io, height, width) * (size_t)batch;
    if (overlap(io->input, in, io->logits, out))
        return error_set(error, UNET_ERROR_USAGE, "input and logits overlap; give two buffers");
    return UNET_OK;
}

unet_status unet_session_run(unet_session *session, const float *input, int batch, int height,
                             int width, float *logits, unet_error *error)
{
    const struct session_io io = {.input = input, .logits = logits};
    TRY(check_call(session, &io, batch, height, width, "unet_session_run", error));
    return session->kind->run(session, &io, batch, height, width, error);
}

unet_status unet_session_enqueue(unet_session *session, const float *input, int batch, int height,
                                 int width, float *logits, unet_error *error)
{
    const struct session_io io = {.input = input, .logits = logits};
    TRY(check_call(session, &io, batch, height, width, "unet_session_enqueue", error));
    return session->kind->enqueue(session, &io, batch, height, width, error);
}

unet_status unet_session_wait(unet_session *session, unet_error *error)
{
    if (session == NULL)
        return error_set(error, UNET_ERROR_USAGE, "unet_session_wait needs a session");
    return session->kind->wait(session, error);
}

/* ---------------------------------------------------------------- the device's memory */

unet_status unet_device_memory_new(unet_session *session, size_t bytes, void **memory,
                                   unet_error *error)
{
    if (session == NULL || memory == NULL || bytes == 0)
        return error_set(error, UNET_ERROR_USAGE,
                         "unet_device_memory_new needs a session, bytes above 0 and a pointer");
    return session->kind->memory_new(session, bytes, memory, error);
}

void unet_device_memory_free(unet_session *session, void *memory)
{
    if (session != NULL && memory != NULL)
        session->kind->memory_free(session, memory);
}

unet_status unet_device_memory_write(unet_session *session, void *memory, const void *from,
                                     size_t bytes, unet_error *error)
{
    if (session == NULL || memory == NULL || from == NULL)
        return error_set(error, UNET_ERROR_USAGE,
                         "unet_device_memory_write needs a session and two pointers");
    return session->kind->write(session, memory, from, bytes, error);
}

unet_status unet_device_memory_read(unet_session *session, const void *memory, void *to,
                                    size_t bytes, unet_error *error)
{
    if (session == NULL || memory == NULL || to == NULL)
        return error_set(error, UNET_ERROR_USAGE,
                         "unet_device_memory_read needs a session and two pointers");
    return session->kind->read(session, memory, to, bytes, error);
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
    const struct layout *layout = session->kind->layout(session);
    unet_layer_profile known = {.name = plan_step_name(plan, step),
                                .kernel = step->kernel->name,
                                .peak = session->kind->peak(session, step)};
    if (time->images > 0)
        known.milliseconds = 1e3 * time->seconds / (double)time->images;
    if (layout->steps != NULL) {
        known.flops = 2 * layout->steps[index].macs / layout->batch;
        known.bytes = layout->steps[index].bytes / layout->batch;
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
    return session->kind->measure_peak(session, error);
}

unet_status unet_session_get_info(const unet_session *session, unet_session_info *info,
                                  unet_error *error)
{
    if (session == NULL || info == NULL)
        return error_set(error, UNET_ERROR_USAGE, "unet_session_get_info needs a session and info");
    const unet_session_info known = {.threads = thread_pool_size(session->pool),
                                     .activation_bytes = session->kind->booked_bytes(session),
                                     .weight_bytes = session->engine->plan.packed_bytes,
                                     .layer_count = (size_t)session->engine->plan.step_count};
    return options_write(info, &known, sizeof known, "unet_session_info", error);
}
