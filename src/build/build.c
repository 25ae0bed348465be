/* The builder: checkpoint → graph → plan → engine. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "base/options.h"
#include "base/threads.h"
#include "build/build.h"
#include "build/calibrated.h"
#include "build/f16_guard.h"
#include "build/int8.h"
#include "build/plan_build.h"
#include "engine/engine.h"
#include "graph/passes.h"
#include "graph/recognize.h"
#include "kernels/peak.h"
#include "model/model.h"

#define DEFAULT_SIDE     512
#define MOST_BATCH       32    /* a session runs no more at once */
#define MOST_MASK_VALUES 65535 /* an engine's count of them is limited */

/* ---------------------------------------------------------------- recognize */

unet_status unet_model_recognize(const unet_model *model, unet_network_info *info,
                                 unet_error *error)
{
    if (model == NULL || info == NULL)
        return error_set(error, UNET_ERROR_USAGE, "unet_model_recognize needs a model and info");
    struct graph graph = {0};
    struct unet_facts facts;
    TRY(graph_recognize(&model->tensors, &graph, &facts, error));
    graph_clear(&graph);
    const unet_network_info known = {.architecture = facts.architecture,
                                     .in_channels = facts.in_channels,
                                     .classes = facts.classes,
                                     .width = facts.width,
                                     .conv_bias = facts.conv_bias};
    return options_write(info, &known, sizeof known, "unet_network_info", error);
}

/* ---------------------------------------------------------------- options */

static unet_status check_numbers(const unet_build_options *options, unet_error *error)
{
    if ((unsigned)options->precision > UNET_PRECISION_FP8)
        return error_set(error, UNET_ERROR_USAGE,
                         "precision %d is unknown; give auto, fp32, tf32, bf16, fp16, int8 or fp8",
                         (int)options->precision);
    if (options->batch < 0 || options->batch > MOST_BATCH)
        return error_set(error, UNET_ERROR_USAGE, "batch %d: give one from 1 to %d, or none",
                         options->batch, MOST_BATCH);
    if ((options->height == 0) != (options->width == 0) || options->height < 0 ||
        options->width < 0 || options->height > UNET_MAX_SIDE || options->width > UNET_MAX_SIDE)
        return error_set(error, UNET_ERROR_USAGE,
                         "size %d×%d: give two sides from 1 to %d, or none", options->width,
                         options->height, UNET_MAX_SIDE);
    return UNET_OK;
}

static unet_status check_timing(const unet_build_options *options, unet_error *error)
{
    if ((unsigned)options->timing > UNET_TIMING_OFF)
        return error_set(error, UNET_ERROR_USAGE, "timing %d is unknown; give on or off",
                         (int)options->timing);
    if (options->timing == UNET_TIMING_OFF && options->timing_cache != NULL)
        return error_set(error, UNET_ERROR_USAGE,
                         "a timing cache is given, but timing is off; leave one of them out");
    return thread_count_check(options->threads, error);
}

static unet_status check_images(const unet_build_options *options, unet_error *error)
{
    bool given = options->calibration_images != NULL;
    if (given != (options->calibration_count > 0))
        return error_set(
            error, UNET_ERROR_USAGE,
            "calibration_count is %zu, but calibration_images is %s; give both or none",
            options->calibration_count, given ? "not NULL" : "NULL");
    for (size_t i = 0; i < options->calibration_count; i++)
        if (options->calibration_images[i] == NULL)
            return error_set(error, UNET_ERROR_USAGE,
                             "calibration_images[%zu] is NULL; give the path of an image", i);
    return UNET_OK;
}

static unet_status check_budget(const unet_build_options *options, unet_error *error)
{
    if (!(options->max_flips >= 0 && options->max_flips <= 100))
        return error_set(error, UNET_ERROR_USAGE,
                         "max_flips %g: give percent of the pixels, from 0 to 100",
                         options->max_flips);
    if ((options->keep != NULL) != (options->keep_count > 0))
        return error_set(error, UNET_ERROR_USAGE,
                         "keep_count is %zu, but keep is %s; give both or none",
                         options->keep_count, options->keep != NULL ? "not NULL" : "NULL");
    return UNET_OK;
}

static unet_status refuse_budget(const unet_build_options *options, unet_error *error)
{
    if (options->max_flips != 0 || options->keep_count > 0 || options->report != NULL)
        return error_set(error, UNET_ERROR_USAGE,
                         "%s given, but %s; ask for int8 or fp8, or for auto with images, or leave "
                         "it out",
                         options->max_flips != 0   ? "max_flips is"
                         : options->keep_count > 0 ? "layers to keep are"
                                                   : "a report is",
                         options->precision == UNET_PRECISION_AUTO
                             ? "there are no images to calibrate with"
                             : "the precision is neither int8 nor fp8");
    return UNET_OK;
}

/* What would change nothing is refused: who gives images expects an engine of 8 bits, or one of
 * fp16 whose range they tell. */
static unet_status check_uncalibrated(const unet_build_options *options, unet_error *error)
{
    bool guarded = options->precision == UNET_PRECISION_FP16 && options->calibration_count > 0;
    TRY(refuse_budget(options, error));
    if ((options->calibration_count > 0 && !guarded) || options->calibration_table != NULL)
        return error_set(error, UNET_ERROR_USAGE,
                         "calibration %s given, but the precision is neither int8 nor fp8; ask for "
                         "one of them or leave out the calibration",
                         options->calibration_table == NULL ? "images are" : "table is");
    if (options->calibration_method != UNET_CALIBRATION_AUTO ||
        (options->calibrate_all && !guarded))
        return error_set(
            error, UNET_ERROR_USAGE,
            "how to calibrate is given, but the precision is neither int8 nor fp8; ask "
            "for one of them or leave it out");
    return UNET_OK;
}

static bool is_8bit(unet_precision precision)
{
    return precision == UNET_PRECISION_INT8 || precision == UNET_PRECISION_FP8;
}

/* Precision auto is float32 unless there is something to calibrate with. */
static bool is_calibrated(const unet_build_options *options)
{
    bool given = options->calibration_count > 0 || options->calibration_table != NULL;
    return is_8bit(options->precision) || (options->precision == UNET_PRECISION_AUTO && given);
}

static unet_status check_calibration(const unet_build_options *options, unet_error *error)
{
    TRY(check_images(options, error));
    if ((unsigned)options->calibration_method > UNET_CALIBRATION_MINMAX)
        return error_set(error, UNET_ERROR_USAGE,
                         "calibration method %d is unknown; give auto, entropy, mse, percentile or "
                         "minmax",
                         (int)options->calibration_method);
    TRY(check_budget(options, error));
    if (!is_calibrated(options))
        return check_uncalibrated(options, error);
    bool table_there = calibrated_has_table(options);
    if (options->calibration_count == 0 && !table_there)
        return error_set(error, UNET_ERROR_USAGE,
                         "precision %s needs images to calibrate with, or a calibration table "
                         "%s%s",
                         options->precision == UNET_PRECISION_INT8  ? "int8"
                         : options->precision == UNET_PRECISION_FP8 ? "fp8"
                                                                    : "auto",
                         options->calibration_table != NULL ? "that is there: there is no " : "",
                         options->calibration_table != NULL ? options->calibration_table
                                                            : "of an earlier build");
    return UNET_OK;
}

static unet_status check_preprocess(const unet_preprocess *preprocess, unet_error *error)
{
    /* The struct is a member of another one and cannot have a size of its own. */
    if (preprocess->size != 0 && preprocess->size != sizeof *preprocess)
        return error_set(error, UNET_ERROR_USAGE,
                         "unet_build_options.preprocess.size is %zu; set it to %zu",
                         preprocess->size, sizeof *preprocess);
    if ((unsigned)preprocess->normalize > UNET_NORMALIZE_MEAN_STD)
        return error_set(error, UNET_ERROR_USAGE,
                         "normalize %d is unknown; give 255, zscore, or mean and std",
                         (int)preprocess->normalize);
    if (!isfinite(preprocess->scale) || preprocess->scale < 0)
        return error_set(error, UNET_ERROR_USAGE, "scale %g: give a number above 0",
                         preprocess->scale);
    return UNET_OK;
}

static unet_status check_mean_std(const unet_preprocess *preprocess, int channels,
                                  unet_error *error)
{
    if (channels > UNET_MAX_MEAN_CHANNELS)
        return error_set(error, UNET_ERROR_USAGE,
                         "mean and std hold %d channels, the network has %d",
                         UNET_MAX_MEAN_CHANNELS, channels);
    for (int c = 0; c < channels; c++)
        if (!isfinite(preprocess->mean[c]) || !isfinite(preprocess->std[c]) ||
            !(preprocess->std[c] > 0))
            return error_set(error, UNET_ERROR_USAGE,
                             "channel %d: mean %g, std %g: give finite numbers, std above 0", c,
                             (double)preprocess->mean[c], (double)preprocess->std[c]);
    return UNET_OK;
}

unet_status build_options_read(const unet_build_options *options, unet_build_options *known,
                               bool *size_given, unet_error *error)
{
    TRY(options_read(known, sizeof *known, options, "unet_build_options", error));
    TRY(check_numbers(known, error));
    TRY(check_timing(known, error));
    TRY(check_preprocess(&known->preprocess, error));
    TRY(check_calibration(known, error));
    *size_given = known->height != 0;
    if (!*size_given)
        known->height = known->width = DEFAULT_SIDE;
    if (known->threads == 0)
        known->threads = cpu_usable_threads();
    if (known->batch == 0)
        known->batch = 1;
    return UNET_OK;
}

/* ---------------------------------------------------------------- preprocessing */

/* What is not used is zero, so that equal engines have equal bytes. */
static unet_status choose_preprocess(const unet_build_options *options, const struct graph *graph,
                                     int channels, unet_preprocess *preprocess, unet_error *error)
{
    const unet_preprocess *wanted = &options->preprocess;
    *preprocess = (unet_preprocess){.size = sizeof *preprocess,
                                    .normalize = wanted->normalize,
                                    .scale = wanted->scale > 0 ? wanted->scale : 1};
    if (wanted->normalize == UNET_NORMALIZE_DEFAULT)
        preprocess->normalize = graph->normalize;
    if (preprocess->normalize != UNET_NORMALIZE_MEAN_STD)
        return UNET_OK;
    TRY(check_mean_std(wanted, channels, error));
    memcpy(preprocess->mean, wanted->mean, (size_t)channels * sizeof *wanted->mean);
    memcpy(preprocess->std, wanted->std, (size_t)channels * sizeof *wanted->std);
    return UNET_OK;
}

/* Defaults that differ from the authors' own programs. */
static void tell_defaults(const unet_build_options *options, const struct graph *graph,
                          const struct log *log)
{
    bool of_volumes = graph->normalize == UNET_NORMALIZE_ZSCORE;
    bool pytorch_unet = strncmp(graph->architecture, "unet-", 5) == 0;
    if (of_volumes && options->preprocess.normalize == UNET_NORMALIZE_DEFAULT)
        log_line(log, LOG_NOTICE,
                 "images are normalised one by one (zscore); this network's authors normalise a "
                 "whole volume");
    if (pytorch_unet && options->preprocess.scale == 0)
        log_line(log, LOG_NOTICE,
                 "no scale was given: images run at their own size; Pytorch-UNet's predict.py "
                 "scales by 0.5");
}

/* ---------------------------------------------------------------- build */

static unet_status gather_facts(const unet_model *model, const struct unet_facts *network,
                                const unet_build_options *options, struct engine_facts *facts,
                                unet_error *error)
{
    unet_model_info about = {.size = sizeof about};
    TRY(unet_model_get_info(model, &about, error));
    if (about.mask_value_count > MOST_MASK_VALUES)
        return error_set(error, UNET_ERROR_MODEL,
                         "its mask_values has %zu entries; at most %d are possible",
                         about.mask_value_count, MOST_MASK_VALUES);
    *facts = (struct engine_facts){.in_channels = network->in_channels,
                                   .classes = network->classes,
                                   .width = network->width,
                                   .tuned_height = options->height,
                                   .tuned_width = options->width,
                                   .parameter_count = about.parameter_count,
                                   .mask_value_count = about.mask_value_count,
                                   .mask_value_channels =
                                       about.mask_value_count > 0 ? about.mask_value_channels : 0,
                                   .mask_values = about.mask_values};
    snprintf(facts->architecture, sizeof facts->architecture, "%s", network->architecture);
    return UNET_OK;
}

static const struct {
    const char *name;
    enum graph_type type;
    bool tf32;
} uniform[] = {
    [UNET_PRECISION_AUTO] = {"fp32", GRAPH_F32, false},
    [UNET_PRECISION_FP32] = {"fp32", GRAPH_F32, false},
    [UNET_PRECISION_BF16] = {"bf16", GRAPH_BF16, false},
    [UNET_PRECISION_TF32] = {"tf32", GRAPH_F32, true},
    [UNET_PRECISION_FP16] = {"fp16", GRAPH_F16, false},
};

static unet_status refuse_precision(const struct kernel_target *target, const char *name,
                                    const char *reason, unet_error *error)
{
    char precisions[TARGET_PRECISIONS_BYTES], device[DEVICE_NAME_BYTES];
    if (!target_is_device(target))
        return error_set(error, UNET_ERROR_DEVICE, "precision %s %s; use fp32", name, reason);
    target_precisions(target, precisions);
    target_device(target, device);
    return error_set(error, UNET_ERROR_DEVICE, "precision %s %s; %s runs %s", name, reason, device,
                     precisions);
}

/* Who asks for a precision wants its speed: a machine that has none of it is told so. */
static unet_status set_precision(unet_precision precision, const struct kernel_target *target,
                                 struct graph *graph, unet_error *error)
{
    char text[160];
    enum graph_type type = uniform[precision].type;
    bool tf32 = uniform[precision].tf32;
    const char *reason =
        target_type_refusal(target, plan_kernel_type(type), tf32, text, sizeof text);
    if (reason != NULL)
        return refuse_precision(target, uniform[precision].name, reason, error);
    graph_set_type(graph, type);
    graph->tf32 = tf32;
    /* A device's kernels read what is stored. */
    return target_is_device(target) ? UNET_OK : graph_fuse_upsample(graph, error);
}

static void tell_slow_bf16(const struct kernel_target *target, const struct log *log)
{
    double share = target_is_device(target) ? 1.0 : peak_bf16_share();
    if (share < 1.0)
        log_line(log, LOG_NOTICE,
                 "this machine multiplies bf16 at %.1f times fp32's rate: --precision fp32 will be "
                 "faster here",
                 share);
}

static unet_status guard_f16(const struct planner *planner, const struct int8_request *request,
                             struct graph *graph, unet_error *error)
{
    const struct f16_guard_request guard = {.graph = graph,
                                            .options = request->options,
                                            .resize = request->resize,
                                            .facts = request->facts,
                                            .target = &planner->target,
                                            .log = request->log};
    size_t count = (size_t)graph->node_count;
    int wider = 0;
    enum graph_type *types = memory_alloc_array(count, sizeof *types);
    if (types == NULL)
        return error_memory(error, count * sizeof *types, "types");
    unet_status status = f16_guard(&guard, types, &wider, error);
    if (status == UNET_OK && wider > 0)
        graph_set_types(graph, types);
    memory_free(types);
    return status;
}

static unet_status plan_uniform(struct planner *planner, const struct int8_request *request,
                                struct graph *graph, struct plan *plan, unet_error *error)
{
    unet_precision precision = planner->options->precision;
    TRY(set_precision(precision, &planner->target, graph, error));
    if (precision == UNET_PRECISION_FP16)
        TRY(guard_f16(planner, request, graph, error));
    if (precision == UNET_PRECISION_BF16)
        tell_slow_bf16(&planner->target, request->log);
    TRY(planner_plan(planner, graph, plan, NULL, error));
    unet_status status = planner_save(planner, error);
    if (status != UNET_OK)
        plan_clear(plan);
    return status;
}

static unet_status build_uniform(struct graph *graph, const struct int8_request *request,
                                 unet_engine **engine, unet_error *error)
{
    struct planner planner;
    struct plan plan;
    unet_status status = planner_open(request->options, request->log, &planner, error);
    if (status == UNET_OK)
        status = plan_uniform(&planner, request, graph, &plan, error);
    if (status == UNET_OK) {
        status = engine_create(graph, &plan, request->facts, engine, error);
        plan_clear(&plan);
    }
    planner_close(&planner);
    return status;
}

static unet_status build(const unet_model *model, const unet_build_options *options,
                         bool size_given, struct graph *graph, unet_engine **engine,
                         unet_error *error)
{
    const struct log log = {.function = options->log, .user = options->log_user};
    struct unet_facts network;
    struct engine_facts facts;
    TRY(graph_recognize(&model->tensors, graph, &network, error));
    TRY(graph_optimize(graph, error));
    TRY(gather_facts(model, &network, options, &facts, error));
    TRY(choose_preprocess(options, graph, network.in_channels, &facts.preprocess, error));
    const struct int8_request request = {options, size_given, &facts, &log};
    if (is_calibrated(options))
        TRY(int8_build(graph, &request, engine, options->report, error));
    else
        TRY(build_uniform(graph, &request, engine, error));
    tell_defaults(options, &(*engine)->graph, &log);
    return UNET_OK;
}

unet_status unet_build(const unet_model *model, const unet_build_options *options,
                       unet_engine **engine, unet_error *error)
{
    if (model == NULL || engine == NULL)
        return error_set(error, UNET_ERROR_USAGE, "unet_build needs a model and an engine");
    unet_build_options known;
    bool size_given;
    TRY(build_options_read(options, &known, &size_given, error));
    struct graph graph = {0};
    unet_engine *made;
    unet_status status = build(model, &known, size_given, &graph, &made, error);
    graph_clear(&graph);
    if (status == UNET_OK)
        *engine = made;
    return status;
}
