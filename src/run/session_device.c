/* A session on a device: a stream, the device's memory, a batch at once. */
#include <string.h>

#include "base/memory.h"
#include "run/captured.h"

/* What runs at once: more images than this gain nothing, more pixels only cost memory. */
#define MOST_IMAGES 32
#define MOST_PIXELS ((size_t)1 << 26)

#define SCRATCH_ALIGNMENT     ((size_t)256)
#define TABLE_BYTES(channels) ((size_t)(channels)*256 * sizeof(float))

/* Memory that only grows. */
struct room {
    void *memory;
    size_t capacity;
};

struct device_session {
    const struct device_backend *backend;
    struct device *device;
    struct device_stream *stream;
    struct layout layout;              /* of the last run that was laid; no steps: none */
    struct room arena;                 /* tensors, then scratch */
    struct room input, output;         /* the device's copies of what the host gives and takes */
    struct room staged_in, staged_out; /* the same, page-locked */
    struct room observed[2];           /* what steps wrote, in turn, page-locked, for an observer */
    struct room table;                 /* values of pixels */
    float *table_copy;                 /* what it holds, once it is there */
    struct captured_runs captured;
    double rates[KERNEL_TYPE_COUNT][2]; /* of large products, plain and tf32; 0: not measured */
    size_t refused_pixels;              /* of a batch that memory was too short for; 0: none was */
};

static struct device_session *own_of(const unet_session *session)
{
    return session->own;
}

/* ---------------------------------------------------------------- open and close */

static unet_status open_session(unet_session *session, unet_error *error)
{
    const struct kernel_target *target = &session->engine->plan.target;
    struct device_session *own = memory_calloc(1, sizeof *own);
    if (own == NULL)
        return error_memory(error, sizeof *own, "a session");
    session->own = own;
    own->backend = target->backend;
    own->device = target->device;
    return own->backend->stream_open(own->device, &own->stream, error);
}

static void free_room(struct device_session *own, struct room *room, bool of_host)
{
    if (room->memory != NULL && of_host)
        own->backend->free_host(own->device, room->memory);
    else if (room->memory != NULL)
        own->backend->free(own->device, room->memory);
    *room = (struct room){0};
}

static void close_session(unet_session *session)
{
    struct device_session *own = session->own;
    if (own == NULL)
        return;
    if (own->stream != NULL)
        own->backend->wait(own->stream, NULL);
    captured_clear(&own->captured, own->backend);
    free_room(own, &own->arena, false);
    free_room(own, &own->input, false);
    free_room(own, &own->output, false);
    free_room(own, &own->table, false);
    free_room(own, &own->staged_in, true);
    free_room(own, &own->staged_out, true);
    free_room(own, &own->observed[0], true);
    free_room(own, &own->observed[1], true);
    if (own->stream != NULL)
        own->backend->stream_close(own->stream);
    layout_clear(&own->layout);
    memory_free(own->table_copy);
    memory_free(own);
}

/* ---------------------------------------------------------------- memory */

/* The old block goes first: both at once would double the peak. Graphs hold its address. */
static unet_status grow(struct device_session *own, struct room *room, size_t bytes, bool of_host,
                        unet_error *error)
{
    if (bytes <= room->capacity)
        return UNET_OK;
    TRY(own->backend->wait(own->stream, error));
    captured_clear(&own->captured, own->backend);
    free_room(own, room, of_host);
    if (of_host)
        TRY(own->backend->alloc_host(own->device, bytes, &room->memory, error));
    else
        TRY(own->backend->alloc(own->device, bytes, &room->memory, error));
    room->capacity = bytes;
    return UNET_OK;
}

static size_t scratch_place(const struct layout *layout)
{
    return (layout->arena_bytes + SCRATCH_ALIGNMENT - 1) / SCRATCH_ALIGNMENT * SCRATCH_ALIGNMENT;
}

static unet_status lay(unet_session *session, int batch, int height, int width, unet_error *error)
{
    struct device_session *own = own_of(session);
    const struct plan *plan = &session->engine->plan;
    struct layout *layout = &own->layout;
    if (layout->steps == NULL || layout->batch != batch || layout->height != height ||
        layout->width != width) {
        struct layout made;
        TRY(layout_create(plan, batch, height, width, 1, &made, error));
        layout_clear(layout);
        *layout = made;
    }
    size_t scratch = scratch_place(layout);
    unet_status status = grow(own, &own->arena, scratch + layout->scratch_bytes, false, error);
    if (status != UNET_OK)
        return error_prefix(error, status, "images at once: %d, of %d×%d", batch, width, height);
    layout_bind(plan, layout, own->arena.memory, NULL, session->engine->device_packed);
    for (int i = 0; i < layout->step_count; i++)
        layout->steps[i].args.scratch = (char *)own->arena.memory + scratch;
    return UNET_OK;
}

/* ---------------------------------------------------------------- a run, step by step */

static unet_status launch_step(unet_session *session, int index, const struct session_io *io,
                               unet_error *error)
{
    struct device_session *own = own_of(session);
    const struct plan_step *step = &session->engine->plan.steps[index];
    struct kernel_args *args = &own->layout.steps[index].args;
    session_bind_io(session, index, io, args);
    unet_status status = step->kernel->launch(step->kernel, &step->desc, args, own->stream, error);
    if (status != UNET_OK)
        return error_prefix(error, status, "layer %s (%s)",
                            plan_step_name(&session->engine->plan, step), step->kernel->name);
    return UNET_OK;
}

static unet_status launch_steps(unet_session *session, const struct session_io *io,
                                unet_error *error)
{
    for (int i = session_first_step(session); i < session->engine->plan.step_count; i++)
        TRY(launch_step(session, i, io, error));
    return UNET_OK;
}

/* Times between marks 0 … count around steps first … first + count − 1. */
static unet_status collect_times(unet_session *session, int first, int count, int images,
                                 unet_error *error)
{
    struct device_session *own = own_of(session);
    TRY(own->backend->wait(own->stream, error));
    for (int i = 0; i < count; i++) {
        double seconds;
        TRY(own->backend->elapsed(own->stream, i, i + 1, &seconds, error));
        session->times[first + i].seconds += seconds;
        session->times[first + i].images += images;
    }
    return UNET_OK;
}

static unet_status launch_profiled(unet_session *session, const struct session_io *io, int images,
                                   unet_error *error)
{
    struct device_session *own = own_of(session);
    int first = session_first_step(session), count = session->engine->plan.step_count;
    while (first < count) {
        int steps = count - first < DEVICE_MARKS - 1 ? count - first : DEVICE_MARKS - 1;
        TRY(own->backend->mark(own->stream, 0, error));
        for (int i = 0; i < steps; i++) {
            TRY(launch_step(session, first + i, io, error));
            TRY(own->backend->mark(own->stream, i + 1, error));
        }
        TRY(collect_times(session, first, steps, images, error));
        first += steps;
    }
    return UNET_OK;
}

/* ---------------------------------------------------------------- a run that is observed */

static size_t tensor_bytes(const struct blocked *tensor, int value)
{
    if (value == GRAPH_NONE)
        return 0;
    return tensor->image_stride * (size_t)tensor->images * kernel_type_bytes(tensor->type);
}

/* A tensor in the host's memory instead. */
static unet_status fetch(struct device_session *own, struct blocked *tensor, size_t bytes, char *to,
                         unet_error *error)
{
    if (bytes == 0)
        return UNET_OK;
    TRY(own->backend->download(own->stream, to, tensor->data, bytes, error));
    tensor->data = to;
    return UNET_OK;
}

static unet_status observe_step(unet_session *session, int index, unet_error *error)
{
    struct device_session *own = own_of(session);
    const struct plan_step *step = &session->engine->plan.steps[index];
    struct layout_step seen = own->layout.steps[index];
    size_t out = tensor_bytes(&seen.args.out, step->out);
    size_t pooled = tensor_bytes(&seen.args.pooled, step->pooled);
    char *room = own->observed[index % 2].memory;
    TRY(fetch(own, &seen.args.out, out, room, error));
    TRY(fetch(own, &seen.args.pooled, pooled, room + out, error));
    TRY(own->backend->wait(own->stream, error));
    session->observer(session->observer_context, step, &seen);
    return UNET_OK;
}

/* For the largest at once: page-locked memory takes long to be had. */
static unet_status make_observed_room(unet_session *session, unet_error *error)
{
    struct device_session *own = own_of(session);
    const struct plan *plan = &session->engine->plan;
    size_t most = 1;
    for (int i = 0; i < plan->step_count; i++) {
        const struct kernel_args *args = &own->layout.steps[i].args;
        size_t bytes = tensor_bytes(&args->out, plan->steps[i].out) +
                       tensor_bytes(&args->pooled, plan->steps[i].pooled);
        most = bytes > most ? bytes : most;
    }
    TRY(grow(own, &own->observed[0], most, true, error));
    return grow(own, &own->observed[1], most, true, error);
}

static unet_status launch_observed(unet_session *session, const struct session_io *io,
                                   unet_error *error)
{
    TRY(make_observed_room(session, error));
    for (int i = session_first_step(session); i < session->engine->plan.step_count; i++) {
        TRY(launch_step(session, i, io, error));
        TRY(observe_step(session, i, error));
    }
    return UNET_OK;
}

/* ---------------------------------------------------------------- a run as a graph */

/* What cannot be captured is no error: it runs step by step. */
static void capture(unet_session *session, struct captured_run *run)
{
    struct device_session *own = own_of(session);
    run->refused = true;
    if (own->backend->capture_begin(own->stream, NULL) != UNET_OK)
        return;
    unet_status launched = launch_steps(session, &run->key.io, NULL);
    unet_status ended = own->backend->capture_end(own->stream, &run->graph, NULL);
    if (launched == UNET_OK && ended == UNET_OK) {
        run->refused = false;
        return;
    }
    if (ended == UNET_OK && run->graph != NULL)
        own->backend->graph_free(run->graph);
    run->graph = NULL;
}

static unet_status free_evicted(struct device_session *own, struct device_graph *graph,
                                unet_error *error)
{
    if (graph == NULL)
        return UNET_OK;
    unet_status status = own->backend->wait(own->stream, error);
    own->backend->graph_free(graph);
    return status;
}

static unet_status enqueue(unet_session *session, const struct session_io *io, int batch,
                           int height, int width, unet_error *error)
{
    struct device_session *own = own_of(session);
    const struct run_key key = {*io, batch, height, width};
    struct device_graph *evicted;
    bool known;
    if (session->times != NULL || session->observer != NULL) {
        TRY(lay(session, batch, height, width, error));
        return session->observer != NULL ? launch_observed(session, io, error)
                                         : launch_profiled(session, io, batch, error);
    }
    struct captured_run *run = captured_find(&own->captured, &key, &known, &evicted);
    TRY(free_evicted(own, evicted, error));
    if (run->graph == NULL) {
        struct captured_run noted = *run;
        TRY(lay(session, batch, height, width, error)); /* may forget all runs */
        if (run->used == 0)
            *run = noted;
    }
    if (known && run->graph == NULL && !run->refused)
        capture(session, run);
    if (run->graph != NULL)
        return own->backend->graph_launch(own->stream, run->graph, error);
    return launch_steps(session, io, error);
}

static unet_status wait(unet_session *session, unet_error *error)
{
    return own_of(session)->backend->wait(own_of(session)->stream, error);
}

/* ---------------------------------------------------------------- from the host and back */

/* The table changes with the preprocessing alone: most often never. */
static unet_status upload_table(unet_session *session, const float *values, unet_error *error)
{
    struct device_session *own = own_of(session);
    size_t bytes = TABLE_BYTES(session->engine->facts.in_channels);
    if (own->table.memory != NULL && memcmp(own->table_copy, values, bytes) == 0)
        return UNET_OK;
    if (own->table_copy == NULL)
        own->table_copy = memory_alloc(bytes);
    if (own->table_copy == NULL)
        return error_memory(error, bytes, "a table of pixels");
    TRY(grow(own, &own->table, bytes, false, error));
    unet_status status = own->backend->upload(own->stream, own->table.memory, values, bytes, error);
    if (status == UNET_OK)
        status = own->backend->wait(own->stream, error);
    if (status == UNET_OK)
        memcpy(own->table_copy, values, bytes);
    else
        free_room(own, &own->table, false);
    return status;
}

static unet_status make_room(struct device_session *own, size_t in, size_t out, unet_error *error)
{
    TRY(grow(own, &own->input, in, false, error));
    TRY(grow(own, &own->output, out, false, error));
    TRY(grow(own, &own->staged_in, in, true, error));
    return grow(own, &own->staged_out, out, true, error);
}

/* The same input and output in the device's memory. */
static struct session_io device_io(const struct device_session *own, const struct session_io *io)
{
    struct session_io there = {0};
    if (io->pixels.bytes != NULL)
        there.pixels =
            (struct kernel_pixels){own->input.memory, io->pixels.step, own->table.memory};
    else
        there.input = own->input.memory;
    if (io->mask.classes != NULL)
        there.mask = (struct kernel_mask){own->output.memory, io->mask.above};
    else
        there.logits = own->output.memory;
    return there;
}

static unet_status run_part(unet_session *session, const struct session_io *io, int images,
                            int height, int width, unet_error *error)
{
    struct device_session *own = own_of(session);
    size_t in = (size_t)images * session_input_bytes(session, io, height, width);
    size_t out = (size_t)images * session_output_bytes(session, io, height, width);
    bool pixels = io->pixels.bytes != NULL;
    TRY(make_room(own, in, out, error));
    if (pixels)
        TRY(upload_table(session, io->pixels.values, error));
    struct session_io there = device_io(own, io);
    memcpy(own->staged_in.memory, pixels ? (const void *)io->pixels.bytes : io->input, in);
    TRY(own->backend->upload(own->stream, own->input.memory, own->staged_in.memory, in, error));
    TRY(enqueue(session, &there, images, height, width, error));
    TRY(own->backend->download(own->stream, own->staged_out.memory, own->output.memory, out,
                               error));
    TRY(own->backend->wait(own->stream, error));
    memcpy(io->mask.classes != NULL ? (void *)io->mask.classes : io->logits, own->staged_out.memory,
           out);
    return UNET_OK;
}

/* Parts of about equal size: a few shapes, not a small rest. */
static int images_at_once(const struct device_session *own, int left, size_t pixels)
{
    size_t most = MOST_PIXELS / pixels;
    if (own->refused_pixels > 0 && most * pixels >= own->refused_pixels)
        most = (own->refused_pixels - 1) / pixels;
    most = most < 1 ? 1 : most < MOST_IMAGES ? most : MOST_IMAGES;
    int parts = (left + (int)most - 1) / (int)most;
    return (left + parts - 1) / parts;
}

static unet_status run(unet_session *session, const struct session_io *io, int batch, int height,
                       int width, unet_error *error)
{
    struct device_session *own = own_of(session);
    size_t pixels = (size_t)height * (size_t)width;
    for (int done = 0; done < batch;) {
        struct session_io part = session_io_at(session, io, done, height, width);
        int images = images_at_once(own, batch - done, pixels);
        unet_status status = run_part(session, &part, images, height, width, error);
        if (status == UNET_ERROR_MEMORY && images > 1) {
            own->refused_pixels = (size_t)images * pixels;
            continue;
        }
        TRY(status);
        done += images;
    }
    return UNET_OK;
}

static unet_status reserve(unet_session *session, int height, int width, unet_error *error)
{
    struct session_io io = {0}; /* planes: what else there is takes less */
    TRY(lay(session, 1, height, width, error));
    return make_room(own_of(session), session_input_bytes(session, &io, height, width),
                     session_output_bytes(session, &io, height, width), error);
}

/* ---------------------------------------------------------------- the caller's memory there */

static unet_status memory_new(unet_session *session, size_t bytes, void **memory, unet_error *error)
{
    return own_of(session)->backend->alloc(own_of(session)->device, bytes, memory, error);
}

static void free_memory(unet_session *session, void *memory)
{
    struct device_session *own = own_of(session);
    own->backend->wait(own->stream, NULL);
    own->backend->free(own->device, memory);
}

static unet_status write(unet_session *session, void *memory, const void *from, size_t bytes,
                         unet_error *error)
{
    struct device_session *own = own_of(session);
    TRY(own->backend->upload(own->stream, memory, from, bytes, error));
    return own->backend->wait(own->stream, error);
}

static unet_status read(unet_session *session, const void *memory, void *to, size_t bytes,
                        unet_error *error)
{
    struct device_session *own = own_of(session);
    TRY(own->backend->download(own->stream, to, memory, bytes, error));
    return own->backend->wait(own->stream, error);
}

/* ---------------------------------------------------------------- ask */

static const struct layout *layout_of(const unet_session *session)
{
    return &own_of(session)->layout;
}

static size_t booked_bytes(const unet_session *session)
{
    const struct device_session *own = own_of(session);
    return own->arena.capacity + own->input.capacity + own->output.capacity + own->table.capacity;
}

static bool multiplies(const struct plan_step *step)
{
    return step->desc.op == KERNEL_CONV || step->desc.op == KERNEL_CONV_TRANSPOSE;
}

/* Where the result is narrower than float32 kernels may multiply in tf32. */
static bool in_tf32(const struct kernel_desc *desc)
{
    return desc->in_type == KERNEL_F32 && (desc->tf32 || desc->out_type != KERNEL_F32);
}

static double peak(const unet_session *session, const struct plan_step *step)
{
    const struct device_session *own = own_of(session);
    return multiplies(step) ? own->rates[step->desc.in_type][in_tf32(&step->desc)] : 0;
}

static unet_status measure_peak(unet_session *session, unet_error *error)
{
    struct device_session *own = own_of(session);
    const struct plan *plan = &session->engine->plan;
    bool measured[KERNEL_TYPE_COUNT][2] = {{false}};
    for (int i = 0; i < plan->step_count; i++) {
        const struct kernel_desc *desc = &plan->steps[i].desc;
        bool tf32 = in_tf32(desc);
        double flops;
        if (!multiplies(&plan->steps[i]) || measured[desc->in_type][tf32])
            continue;
        measured[desc->in_type][tf32] = true;
        TRY(own->backend->gemm_rate(own->device, desc->in_type, tf32, &flops, error));
        if (flops > own->rates[desc->in_type][tf32])
            own->rates[desc->in_type][tf32] = flops;
    }
    return UNET_OK;
}

const struct session_kind session_on_device = {
    .open = open_session,
    .close = close_session,
    .reserve = reserve,
    .run = run,
    .enqueue = enqueue,
    .wait = wait,
    .memory_new = memory_new,
    .memory_free = free_memory,
    .write = write,
    .read = read,
    .layout = layout_of,
    .booked_bytes = booked_bytes,
    .peak = peak,
    .measure_peak = measure_peak,
};
