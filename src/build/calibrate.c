#include "build/calibrate.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/threads.h"
#include "build/background.h"
#include "build/settle.h"
#include "run/session.h"

/* What a tensor is counted in, on a device. */
#define PARTIALS 16

/* One calibration at work. */
struct work {
    const unet_engine *engine;
    const struct calibration_request *request;
    struct calibration *calibration;
    unet_session *session;
    const struct plan_step *step; /* that is looked at, and what it wrote */
    struct blocked out, pooled;
    /* On a device, where the session has no threads; else NULL. */
    struct thread_pool *pool;
    struct histogram *partials; /* PARTIALS */
    struct background *background;
    struct reach *reaches;           /* at the last look */
    const struct plan_step *special; /* the first step that wrote what is no number */
    unet_error first_failure;        /* of an image */
    double began;
};

/* ---------------------------------------------------------------- what is observed */

static unet_status add_value(struct calibration *calibration, int index, int channels, bool counted,
                             unet_error *error)
{
    struct calibrated_value *value = &calibration->values[index];
    size_t blocks = (size_t)kernel_blocks(channels);
    value->blocks = memory_calloc(blocks, sizeof *value->blocks);
    if (value->blocks == NULL)
        return error_memory(error, blocks * sizeof *value->blocks, "histograms");
    value->channels = channels;
    value->counted = counted;
    return UNET_OK;
}

/* The input and the output stay as they are: nobody needs to know them. */
static unet_status add_step(const struct graph *graph, const struct plan_step *step,
                            struct calibration *calibration, unet_error *error)
{
    bool writes = step->desc.op == KERNEL_CONV || step->desc.op == KERNEL_CONV_TRANSPOSE;
    bool stores = step->node != GRAPH_NONE && step->out != GRAPH_NONE && step->out != graph->output;
    if (stores)
        TRY(add_value(calibration, step->out, graph->values[step->out].channels, writes, error));
    if (step->pooled == GRAPH_NONE)
        return UNET_OK;
    return add_value(calibration, step->pooled, graph->values[step->pooled].channels, !stores,
                     error);
}

static unet_status add_values(const unet_engine *engine, struct calibration *calibration,
                              unet_error *error)
{
    const struct graph *graph = &engine->graph;
    size_t count = (size_t)graph->value_count;
    calibration->values = memory_calloc(count, sizeof *calibration->values);
    if (calibration->values == NULL)
        return error_memory(error, count * sizeof *calibration->values, "a calibration");
    calibration->value_count = graph->value_count;
    for (int i = 0; i < engine->plan.step_count; i++)
        TRY(add_step(graph, &engine->plan.steps[i], calibration, error));
    return UNET_OK;
}

void calibration_clear(struct calibration *calibration)
{
    if (calibration == NULL)
        return;
    for (int v = 0; v < calibration->value_count; v++)
        memory_free(calibration->values[v].blocks);
    memory_free(calibration->values);
    *calibration = (struct calibration){0};
}

/* ---------------------------------------------------------------- observing */

/* Blocks, and where they are fewer than threads might be parts of them. Each part but the first
 * counts for itself, in `partials`. */
struct tensor_call {
    const struct calibrated_value *value;
    const struct blocked *tensor;
    int parts;
    struct histogram *partials;
};

static struct histogram *partial_of(const struct tensor_call *call, int block, int part)
{
    return &call->partials[block * (call->parts - 1) + part - 1];
}

static void add_part(void *context, int task, int thread)
{
    const struct tensor_call *call = context;
    int block = task / call->parts, part = task % call->parts;
    (void)thread;
    histogram_add_part(part == 0 ? &call->value->blocks[block] : partial_of(call, block, part),
                       call->tensor, block,
                       (struct histogram_part){part, call->parts, !call->value->counted});
}

static void merge_parts(const struct tensor_call *call, int blocks)
{
    for (int block = 0; block < blocks; block++)
        for (int part = 1; part < call->parts; part++) {
            struct histogram *partial = partial_of(call, block, part);
            histogram_merge(&call->value->blocks[block], partial);
            memset(partial, 0, sizeof *partial);
        }
}

static void observe_tensor(struct work *work, const struct plan_step *step, int index,
                           const struct blocked *tensor)
{
    if (index == GRAPH_NONE || work->calibration->values[index].channels == 0)
        return;
    int blocks = kernel_blocks(work->calibration->values[index].channels);
    int parts = work->partials != NULL && blocks < PARTIALS ? PARTIALS / blocks : 1;
    struct tensor_call call = {&work->calibration->values[index], tensor, parts, work->partials};
    thread_pool_run(work->pool != NULL ? work->pool : session_threads(work->session),
                    blocks * parts, add_part, &call);
    merge_parts(&call, blocks);
    for (int b = 0; b < blocks && work->special == NULL; b++)
        if (call.value->blocks[b].special > 0)
            work->special = step;
}

static void observe_step(void *context)
{
    struct work *work = context;
    observe_tensor(work, work->step, work->step->out, &work->out);
    observe_tensor(work, work->step, work->step->pooled, &work->pooled);
}

/* On a device the next step runs, and its tensors come, while those of this one are counted. */
static void observe(void *context, const struct plan_step *step, const struct layout_step *laid)
{
    struct work *work = context;
    background_wait(work->background);
    if (step->node == GRAPH_NONE)
        return;
    work->step = step;
    work->out = laid->args.out;
    work->pooled = laid->args.pooled;
    if (work->background != NULL)
        background_start(work->background);
    else
        observe_step(work);
}

/* ---------------------------------------------------------------- one image */

static unet_status run_image(struct work *work, const unet_image *image, double scale,
                             unet_error *error)
{
    unet_predict_options options = UNET_PREDICT_OPTIONS_INIT;
    unet_prediction prediction = {0};
    options.scale = scale;
    unet_status status = unet_predict(work->session, image, &options, &prediction, error);
    unet_prediction_clear(&prediction);
    return status;
}

static unet_status run_resized(struct work *work, const unet_image *image, unet_error *error)
{
    const struct calibration_request *request = work->request;
    unet_image resized = {0};
    if (image->width == request->width && image->height == request->height)
        return run_image(work, image, 1, error);
    TRY(unet_image_resize(image, request->width, request->height, &resized, error));
    unet_status status = run_image(work, &resized, 1, error);
    unet_image_clear(&resized);
    return status;
}

static unet_status run_image_file(struct work *work, const char *path, unet_error *error)
{
    unet_image image = {0};
    TRY(unet_image_load(path, &image, error));
    unet_status status = work->request->width > 0 ? run_resized(work, &image, error)
                                                  : run_image(work, &image, 0, error);
    unet_image_clear(&image);
    return status == UNET_OK ? status : error_prefix(error, status, "%s", path);
}

static unet_status run_array(struct work *work, const unet_array *array, unet_error *error)
{
    unet_prediction prediction = {0};
    unet_status status = unet_predict_array(work->session, array, NULL, &prediction, error);
    unet_prediction_clear(&prediction);
    return status;
}

static unet_status run_array_file(struct work *work, const char *path, unet_error *error)
{
    unet_array array = {0};
    TRY(unet_array_load(path, &array, error));
    unet_status status = run_array(work, &array, error);
    unet_array_clear(&array);
    return status == UNET_OK ? status : error_prefix(error, status, "%s", path);
}

static bool is_array_name(const char *path)
{
    size_t length = strlen(path);
    return length > 4 && strcasecmp(path + length - 4, ".npy") == 0;
}

/* What it wrote is in the histograms by now, so there is no going on without this image. */
static unet_status check_numbers(const struct work *work, const char *path, unet_error *error)
{
    if (work->special == NULL)
        return UNET_OK;
    return error_set(error, UNET_ERROR_MODEL,
                     "%s: layer %s gives values that are NaN or infinite, so no range holds them; "
                     "see whether the weights and the normalisation belong together, or use fp32",
                     path, plan_step_name(&work->engine->plan, work->special));
}

static unet_status run_one(struct work *work, size_t index, unet_error *error)
{
    const struct calibration_request *request = work->request;
    if (request->arrays != NULL)
        return run_array(work, &request->arrays[index], error);
    return is_array_name(request->images[index])
               ? run_array_file(work, request->images[index], error)
               : run_image_file(work, request->images[index], error);
}

static unet_status use_image(struct work *work, size_t index, unet_error *error)
{
    struct calibration *calibration = work->calibration;
    const char *path = work->request->arrays != NULL ? "a pattern" : work->request->images[index];
    unet_error failure = {UNET_OK, ""};
    unet_status status = run_one(work, index, &failure);
    background_wait(work->background);
    if (status == UNET_OK) {
        calibration->images++;
        return check_numbers(work, path, error);
    }
    if (status != UNET_ERROR_INPUT)
        return error_set(error, status, "%s", failure.message);
    log_line(work->request->log, LOG_NOTICE, "%s; calibration goes on without it", failure.message);
    if (calibration->skipped++ == 0)
        work->first_failure = failure;
    return UNET_OK;
}

/* ---------------------------------------------------------------- all images */

static unet_status tell_progress(const struct work *work, unet_error *error)
{
    const struct calibration_request *request = work->request;
    const struct calibration *calibration = work->calibration;
    size_t tried = calibration->images + calibration->skipped;
    bool over = calibration->settled || tried == request->count;
    unet_calibration_progress progress = {.size = sizeof progress,
                                          .done = calibration->images,
                                          .skipped = calibration->skipped,
                                          .total = request->count};
    if (request->progress == NULL)
        return UNET_OK;
    if (!over)
        progress.next = request->arrays != NULL ? "a pattern" : request->images[tried];
    if (tried > 0 && !over)
        progress.seconds_left =
            (clock_seconds() - work->began) / (double)tried * (double)(request->count - tried);
    if (request->progress(request->progress_user, &progress))
        return UNET_OK;
    return error_set(error, UNET_ERROR_CANCELLED,
                     "calibration was cancelled after %zu of %zu images", tried, request->count);
}

/* Not after the last image, where nothing is left to be saved. */
static bool has_settled(struct work *work, size_t tried)
{
    const struct calibration_request *request = work->request;
    size_t images = work->calibration->images;
    if (request->all || images % SETTLE_WINDOW != 0 || tried == request->count)
        return false;
    return settle_look(work->calibration, request->method, work->reaches);
}

static unet_status use_images(struct work *work, unet_error *error)
{
    const struct calibration_request *request = work->request;
    struct calibration *calibration = work->calibration;
    work->began = clock_seconds();
    TRY(tell_progress(work, error));
    for (size_t i = 0; i < request->count && !calibration->settled; i++) {
        size_t used = calibration->images;
        TRY(use_image(work, i, error));
        calibration->settled = calibration->images > used && has_settled(work, i + 1);
        TRY(tell_progress(work, error));
    }
    if (calibration->images == 0)
        return error_set(error, UNET_ERROR_INPUT,
                         "none of %zu images can be used for calibration; the first: %s",
                         request->count, work->first_failure.message);
    log_line(request->log, LOG_DETAIL, "%zu images were run in %.2f s", calibration->images,
             clock_seconds() - work->began);
    if (calibration->settled)
        log_line(request->log, LOG_NOTICE,
                 "calibrated with %zu of %zu images: by then all ranges stood still",
                 calibration->images, request->count);
    return UNET_OK;
}

/* ---------------------------------------------------------------- calibrate */

static unet_status prepare_background(struct work *work, unet_error *error)
{
    work->partials = memory_calloc(PARTIALS, sizeof *work->partials);
    if (work->partials == NULL)
        return error_memory(error, PARTIALS * sizeof *work->partials, "histograms");
    TRY(thread_pool_create(work->request->threads, &work->pool, error));
    return background_create(observe_step, work, &work->background, error);
}

static unet_status prepare(struct work *work, unet_error *error)
{
    unet_session_options options = UNET_SESSION_OPTIONS_INIT;
    size_t count = (size_t)work->engine->graph.value_count;
    options.threads = work->request->threads;
    work->reaches = memory_calloc(count, sizeof *work->reaches);
    if (work->reaches == NULL)
        return error_memory(error, count * sizeof *work->reaches, "ranges");
    TRY(add_values(work->engine, work->calibration, error));
    TRY(unet_session_create(work->engine, &options, &work->session, error));
    if (target_is_device(&work->engine->plan.target))
        TRY(prepare_background(work, error));
    session_observe(work->session, observe, work);
    return UNET_OK;
}

static unet_status check_request(const unet_engine *engine,
                                 const struct calibration_request *request, unet_error *error)
{
    if (graph_precision(&engine->graph) != GRAPH_F32)
        return error_set(error, UNET_ERROR_USAGE, "calibration needs an engine of float32");
    if (request->count == 0)
        return error_set(error, UNET_ERROR_USAGE, "calibration needs at least one image");
    return UNET_OK;
}

struct calibration_request calibration_request_of(const unet_build_options *options, bool resize,
                                                  const struct log *log)
{
    return (struct calibration_request){
        .images = options->calibration_images,
        .count = options->calibration_count,
        .height = resize ? options->height : 0,
        .width = resize ? options->width : 0,
        .method = options->calibration_method,
        .all = options->calibrate_all,
        .threads = options->threads,
        .progress = options->calibration_progress,
        .progress_user = options->calibration_progress_user,
        .log = log,
    };
}

unet_status calibrate(const unet_engine *engine, const struct calibration_request *request,
                      struct calibration *calibration, unet_error *error)
{
    struct calibration made = {0};
    struct work work = {.engine = engine, .request = request, .calibration = &made};
    TRY(check_request(engine, request, error));
    unet_status status = prepare(&work, error);
    if (status == UNET_OK)
        status = use_images(&work, error);
    background_free(&work.background);
    unet_session_close(&work.session);
    thread_pool_free(&work.pool);
    memory_free(work.partials);
    memory_free(work.reaches);
    if (status == UNET_OK)
        *calibration = made;
    else
        calibration_clear(&made);
    return status;
}
