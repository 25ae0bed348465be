#include "build/int8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "build/f16_guard.h"
#include "build/int8_builder.h"
#include "build/race.h"
#include "kernels/peak.h"
#include "quant/rescale.h"

#define DEFAULT_MAX_FLIPS 0.3 /* percent */
#define IMAGE_FACTOR      4   /* what a single image may flip, in max_flips */
#define LEAST_IOU         0.90

/* How much longer float32 is taken to need than 16 bits: a GPU's tensor cores know none. */
#define F32_ON_CPU    2
#define F32_ON_DEVICE 16

const float int8_shares[INT8_SHARES] = {0, 0.5f, 1};

/* ---------------------------------------------------------------- what the machine has */

/* "avx512_vnni": what the fastest kernel of 8 bits needs that others do without. Of a device it is
 * what it is: "sm_90". */
static void find_instructions(struct int8_builder *b)
{
    const struct kernel_target *target = &b->planner.target;
    char text[128];
    if (target_is_device(target)) {
        snprintf(b->instructions, sizeof b->instructions, "%s",
                 target->backend->facts(target->device)->architecture);
        return;
    }
    for (const struct kernel *const *k = kernel_list(); *k != NULL; k++) {
        if ((*k)->fast_type != plan_kernel_type(b->narrow) ||
            kernel_machine_refusal(*k, target->tier, text, sizeof text) != NULL)
            continue;
        if ((*k)->features != 0)
            cpu_feature_names((*k)->features, b->instructions, sizeof b->instructions);
        else
            snprintf(b->instructions, sizeof b->instructions, "%s", cpu_tier_name((*k)->tier));
        return;
    }
}

/* Else 8 bits are one way among others. */
static bool narrow_is_wanted(const struct int8_builder *b)
{
    return options_of(b)->precision != UNET_PRECISION_AUTO;
}

static bool is_available(const struct int8_builder *b, enum graph_type type)
{
    char text[160];
    return target_type_refusal(&b->planner.target, plan_kernel_type(type), false, text,
                               sizeof text) == NULL;
}

/* On a Xeon whose AMX is masked networks in bfloat16 are slower than in float32. */
static bool bf16_competes(const struct int8_builder *b)
{
    return is_available(b, GRAPH_BF16) &&
           (target_is_device(&b->planner.target) || peak_bf16_share() > 1.0);
}

static unet_status refuse_narrow(const struct int8_builder *b, const char *reason,
                                 unet_error *error)
{
    const struct kernel_target *target = &b->planner.target;
    const char *name = precision_name(b->narrow);
    char precisions[TARGET_PRECISIONS_BYTES], device[DEVICE_NAME_BYTES];
    if (!target_is_device(target))
        return error_set(error, UNET_ERROR_DEVICE, "precision %s %s; use fp32", name, reason);
    target_precisions(target, precisions);
    target_device(target, device);
    return error_set(error, UNET_ERROR_DEVICE,
                     "precision %s %s; %s runs %s: give one of these, without images and table",
                     name, reason, device, precisions);
}

/* Of two types of 16 bits the one with more of mantissa competes. */
static unet_status find_types(struct int8_builder *b, unet_error *error)
{
    char text[160];
    const char *reason = target_type_refusal(&b->planner.target, plan_kernel_type(b->narrow), false,
                                             text, sizeof text);
    if (reason != NULL && narrow_is_wanted(b))
        return refuse_narrow(b, reason, error);
    b->available[GRAPH_F32] = true;
    b->available[b->narrow] = reason == NULL;
    if (reason == NULL)
        find_instructions(b);
    b->wide = is_available(b, GRAPH_F16) ? GRAPH_F16
              : bf16_competes(b)         ? GRAPH_BF16
                                         : GRAPH_F32;
    b->available[b->wide] = true;
    return UNET_OK;
}

/* Float32 is only timed where it is what competes. */
static unet_status time_layers(struct int8_builder *b, unet_error *error)
{
    for (int type = GRAPH_TYPE_COUNT - 1; type >= (int)b->wide; type--)
        if (b->available[type])
            TRY(layer_costs_plan(&b->planner, b->graph, (enum graph_type)type, &b->costs, &b->book,
                                 error));
    if (b->wide != GRAPH_F32)
        layer_costs_guess(&b->costs, GRAPH_F32, b->wide,
                          target_is_device(&b->planner.target) ? F32_ON_DEVICE : F32_ON_CPU);
    return UNET_OK;
}

/* ---------------------------------------------------------------- images */

static unet_status open_judge(struct int8_builder *b, size_t wanted, bool *taken, unet_error *error)
{
    const unet_build_options *options = options_of(b);
    const struct judge_request request = {.images = options->calibration_images,
                                          .count = options->calibration_count,
                                          .wanted = wanted,
                                          .height = b->request->resize ? options->height : 0,
                                          .width = b->request->resize ? options->width : 0,
                                          .quiet = !b->calibrated.from_table,
                                          .log = log_of(b)};
    return judge_open(&request, &b->judge, taken, error);
}

/* Those that judge, or those that do not. */
static size_t pick_images(const struct int8_builder *b, const bool *taken, bool judging,
                          const char **picked)
{
    const unet_build_options *options = options_of(b);
    size_t count = 0;
    for (size_t i = 0; i < options->calibration_count; i++)
        if (taken[i] == judging)
            picked[count++] = options->calibration_images[i];
    return count;
}

/* With a single image that can be used there is no keeping apart. */
static unet_status use_images(struct int8_builder *b, struct calibrated_request *request,
                              const bool *taken, const char **picked, unet_error *error)
{
    unet_status status = UNET_ERROR_INPUT;
    unet_error own = {UNET_OK, ""};
    request->count = pick_images(b, taken, false, picked);
    if (request->count > 0)
        status = calibrated_by_images(request, b->graph, &b->planner.target, &b->calibrated, &own);
    if (status != UNET_ERROR_INPUT)
        return status == UNET_OK ? status : error_set(error, status, "%s", own.message);
    log_line(log_of(b), LOG_NOTICE,
             "too few images: the same ones set the ranges and judge the masks; give two or more");
    request->count = pick_images(b, taken, true, picked);
    return calibrated_by_images(request, b->graph, &b->planner.target, &b->calibrated, error);
}

static unet_status calibrate_apart(struct int8_builder *b, bool *taken, const char **picked,
                                   unet_error *error)
{
    const unet_build_options *options = options_of(b);
    size_t count = options->calibration_count;
    struct calibrated_request request = {.options = options,
                                         .images = picked,
                                         .resize = b->request->resize,
                                         .narrow = b->narrow,
                                         .facts = b->request->facts,
                                         .log = log_of(b)};
    if (!calibrated_has_table(options)) {
        TRY(open_judge(b, judge_count(count), taken, error));
        return use_images(b, &request, taken, picked, error);
    }
    TRY(calibrated_by_table(&request, b->graph, &b->costs, &b->calibrated, error));
    size_t all = count < JUDGE_MOST_IMAGES ? count : JUDGE_MOST_IMAGES;
    return count > 0 ? open_judge(b, all, taken, error) : UNET_OK;
}

static unet_status calibrate_all(struct int8_builder *b, unet_error *error)
{
    size_t count = options_of(b)->calibration_count;
    bool *taken = memory_calloc(count, sizeof *taken);
    const char **picked = memory_calloc(count, sizeof *picked);
    unet_status status = UNET_OK;
    if (taken == NULL || picked == NULL)
        status = error_memory(error, count * sizeof *picked, "images");
    if (status == UNET_OK)
        status = calibrate_apart(b, taken, picked, error);
    memory_free(taken);
    memory_free(picked);
    return status;
}

/* Layers of 16 bits read what was rescaled where others read 8 bits; an engine of 16 bits alone
 * reads the values as they are. */
static void check_f16(struct int8_builder *b)
{
    double largest = 0;
    for (int m = 0; m < QUANT_METHOD_COUNT; m++) {
        const struct quant_ranges *ranges = &b->calibrated.methods[m];
        for (int v = 0; b->calibrated.known[m] && v < ranges->value_count; v++)
            largest = fmax(largest, (double)ranges->values[v].tensor);
    }
    if (b->wide != GRAPH_F16 || f16_holds(largest))
        return;
    b->available[GRAPH_F16] = false;
    b->wide = is_available(b, GRAPH_BF16) ? GRAPH_BF16 : GRAPH_F32;
    b->available[b->wide] = true;
    log_line(log_of(b), LOG_NOTICE,
             "values reach %.4g, and fp16 ends at 65504: %s compete%s with %s", largest,
             narrow_words(b), b->narrow == GRAPH_U8 ? "" : "s", precision_name(b->wide));
}

/* ---------------------------------------------------------------- assignments and their masks */

struct trial_request int8_trial(const struct int8_builder *b, const struct graph *rescaled)
{
    return (struct trial_request){.graph = has_narrow(b) ? rescaled : b->graph,
                                  .types = b->assignment.types,
                                  .kernels = b->assignment.kernels,
                                  .book = &b->book,
                                  .facts = b->request->facts,
                                  .target = b->planner.target,
                                  .threads = options_of(b)->threads};
}

static void assign_rungs(struct int8_builder *b, const int *rungs)
{
    for (int l = 0; l < b->costs.count; l++)
        assignment_set(&b->assignment, &b->costs, l, &b->ladders[l].rungs[rungs[l]]);
}

/* All layers at one type, but for those that the user keeps at theirs. */
static void assign_type(struct int8_builder *b, enum graph_type type)
{
    for (int l = 0; l < b->costs.count; l++) {
        const struct layer_cost *layer = &b->costs.layers[l];
        enum graph_type kept = b->kept.types[l];
        enum graph_type own = layer->fixed ? GRAPH_F32 : kept != GRAPH_TYPE_COUNT ? kept : type;
        struct rung rung = {own, layer->ways[own].kernel, layer->ways[own].milliseconds};
        assignment_set(&b->assignment, &b->costs, l, &rung);
    }
}

static unet_status judge_assignment(const struct int8_builder *b, const struct graph *rescaled,
                                    struct budget_verdict *verdict, unet_error *error)
{
    struct trial *trial = NULL;
    struct trial_request request = int8_trial(b, rescaled);
    TRY(trial_create(&request, &trial, error));
    unet_status status = judge_masks(&b->judge, trial->session, verdict, error);
    trial_free(&trial);
    return status;
}

static unet_status set_reference(struct int8_builder *b, unet_error *error)
{
    struct trial *trial = NULL;
    if (b->judge.count == 0)
        return UNET_OK;
    for (int l = 0; l < b->costs.count; l++) { /* what is kept plays no part here */
        const struct layer_way *way = &b->costs.layers[l].ways[GRAPH_F32];
        assignment_set(&b->assignment, &b->costs, l,
                       &(struct rung){GRAPH_F32, way->kernel, way->milliseconds});
    }
    struct trial_request request = int8_trial(b, NULL);
    TRY(trial_create(&request, &trial, error));
    unet_status status = judge_set_reference(&b->judge, trial->session, error);
    trial_free(&trial);
    return status;
}

/* ---------------------------------------------------------------- ladders */

/* What a table decided is kept where no image could judge anything else. Its 16 bits are those that
 * are there. */
static enum graph_type kept_type(const struct int8_builder *b, int layer)
{
    enum graph_type kept = b->kept.types[layer];
    if (kept != GRAPH_TYPE_COUNT || !b->calibrated.decided || b->judge.count > 0)
        return kept;
    enum graph_type decided = b->calibrated.types[layer];
    return decided == GRAPH_BF16 ? b->wide : decided;
}

static unet_status make_ladders(struct int8_builder *b, unet_error *error)
{
    size_t count = (size_t)b->costs.count;
    b->ladders = memory_calloc(count, sizeof *b->ladders);
    b->budget.layers = memory_calloc(count, sizeof *b->budget.layers);
    b->budget.layer_count = b->costs.count;
    if (b->ladders == NULL || b->budget.layers == NULL)
        return error_memory(error, count * sizeof *b->ladders, "layers");
    for (int l = 0; l < b->costs.count; l++) {
        b->ladders[l] = ladder_of(&b->costs.layers[l], b->available, kept_type(b, l));
        ladder_describe(&b->ladders[l], &b->budget.layers[l]);
    }
    return UNET_OK;
}

static void assign_first_rungs(struct int8_builder *b)
{
    for (int l = 0; l < b->costs.count; l++)
        assignment_set(&b->assignment, &b->costs, l, &b->ladders[l].rungs[0]);
}

/* ---------------------------------------------------------------- the method */

static unet_status rescale(const struct int8_builder *b, int method, float share,
                           struct graph *rescaled, unet_error *error)
{
    struct quant_ranges ranges = b->calibrated.methods[method];
    ranges.share = share;
    TRY(graph_copy(b->graph, rescaled, error));
    unet_status status = quant_rescale(rescaled, &ranges, error);
    if (status != UNET_OK)
        graph_clear(rescaled);
    return status;
}

/* Entropy has no ranges of its own for channels, but mse's. */
static bool worth_trying(const struct int8_builder *b, int method, int share)
{
    bool same =
        method == QUANT_ENTROPY && b->calibrated.known[QUANT_MSE] && int8_shares[share] == 1;
    return b->calibrated.known[method] && !same;
}

static unet_status try_method(struct int8_builder *b, int method, int share, double *least,
                              unet_error *error)
{
    struct graph rescaled;
    struct budget_verdict verdict = {0};
    TRY(rescale(b, method, int8_shares[share], &rescaled, error));
    unet_status status = judge_assignment(b, &rescaled, &verdict, error);
    double load = budget_load(&b->budget.limits, &verdict);
    if (status == UNET_OK)
        log_line(log_of(b), LOG_DETAIL,
                 "ranges by %s, %g of a channel's own: %.4f%% of the pixels flip, %.4f%% of an "
                 "image's at most, least IoU %.4f",
                 quant_method_name((enum quant_method)method), (double)int8_shares[share],
                 100 * verdict.flips, 100 * verdict.worst_image, verdict.least_iou);
    if (status == UNET_OK && load < *least) {
        *least = load;
        b->method = method;
        b->share = share;
        graph_clear(&b->rescaled);
        b->rescaled = rescaled;
        return UNET_OK;
    }
    graph_clear(&rescaled);
    return status;
}

/* By the masks of the fastest plan. */
static unet_status choose_method(struct int8_builder *b, unet_error *error)
{
    double least = INFINITY;
    assign_first_rungs(b);
    if (b->calibrated.from_table) {
        b->share = -1;
        return rescale(b, 0, b->calibrated.methods[0].share, &b->rescaled, error);
    }
    for (int m = 0; m < QUANT_METHOD_COUNT; m++)
        for (int s = 0; s < INT8_SHARES; s++)
            if (worth_trying(b, m, s))
                TRY(try_method(b, m, s, &least, error));
    return UNET_OK;
}

/* ---------------------------------------------------------------- the budget */

static unet_status judge_rungs(void *context, const int *rungs, struct budget_verdict *verdict,
                               unet_error *error)
{
    struct int8_builder *b = context;
    assign_rungs(b, rungs);
    return judge_assignment(b, &b->rescaled, verdict, error);
}

static void set_limits(struct int8_builder *b)
{
    double percent = options_of(b)->max_flips;
    percent = percent > 0 ? percent : DEFAULT_MAX_FLIPS;
    b->budget.limits =
        (struct budget_limits){percent / 100, IMAGE_FACTOR * percent / 100, LEAST_IOU};
    b->verdict = (struct budget_verdict){NAN, NAN, NAN};
}

static unet_status refuse(const struct int8_builder *b, const struct budget_verdict *verdict,
                          const char *what, unet_error *error)
{
    const struct budget_limits *limits = &b->budget.limits;
    return error_set(error, UNET_ERROR_USAGE,
                     "max_flips %g%%: %s: %.4f%% of the pixels change their class (at most %.4f%% "
                     "may), %.4f%% of an image's (%.4f%%), least IoU of a class %.3f (%.2f); allow "
                     "more, keep fewer layers, or use another precision",
                     100 * limits->flips, what, 100 * verdict->flips, 100 * limits->flips,
                     100 * verdict->worst_image, 100 * limits->image_flips, verdict->least_iou,
                     limits->iou);
}

static unet_status spend(struct int8_builder *b, unet_error *error)
{
    struct budget *budget = &b->budget;
    budget->judge = judge_rungs;
    budget->context = b;
    TRY(budget_spend(budget, error));
    b->verdict = budget->last;
    if (!budget->met)
        return refuse(b, &budget->last, "not possible with the layers that are kept", error);
    for (int l = 0; l < b->costs.count; l++)
        assignment_set(&b->assignment, &b->costs, l, &b->ladders[l].rungs[budget->layers[l].rung]);
    bool fast = false;
    for (int l = 0; l < b->costs.count; l++)
        fast = fast || b->ladders[l].rungs[0].type == b->narrow;
    if (!narrow_is_wanted(b) || !fast || has_narrow(b))
        return UNET_OK;
    char what[64];
    snprintf(what, sizeof what, "%s is not possible inside it; as fast as can be",
             precision_name(b->narrow));
    return refuse(b, &budget->first, what, error);
}

/* Nobody can judge: what a table decided, or the fastest plan. */
static unet_status decide_unjudged(struct int8_builder *b, unet_error *error)
{
    const struct calibrated *calibrated = &b->calibrated;
    assign_first_rungs(b);
    if (calibrated->decided && calibrated->flips > b->budget.limits.flips)
        return error_set(
            error, UNET_ERROR_USAGE,
            "max_flips %g%%: the table's build flips %.4f%% of the pixels; give images "
            "too, so that more precise layers can be found",
            100 * b->budget.limits.flips, 100 * calibrated->flips);
    b->verdict.flips = calibrated->decided ? calibrated->flips : (double)NAN;
    if (!calibrated->decided)
        log_line(log_of(b), LOG_NOTICE,
                 "flips not measured: the table tells nothing of them, and there are no images");
    return UNET_OK;
}

/* ---------------------------------------------------------------- never slower */

static void copy_assignment(const struct int8_builder *b, const struct assignment *from,
                            struct assignment *to)
{
    for (int l = 0; l < b->costs.count; l++)
        assignment_set(to, &b->costs, l, &from->layers[l]);
}

/* Whether all layers at that type, which are assigned, are inside the budget. */
static unet_status judge_type(struct int8_builder *b, bool *inside, unet_error *error)
{
    struct budget_verdict verdict = b->verdict;
    if (b->judge.count > 0)
        TRY(judge_assignment(b, &b->rescaled, &verdict, error));
    *inside = b->judge.count == 0 || budget_load(&b->budget.limits, &verdict) <= 1;
    if (*inside)
        b->verdict = verdict;
    return UNET_OK;
}

static unet_status race_type(struct int8_builder *b, const struct assignment *fastest,
                             enum graph_type type, double milliseconds[2], unet_error *error)
{
    struct trial *trials[2] = {NULL, NULL};
    copy_assignment(b, fastest, &b->assignment);
    struct trial_request request = int8_trial(b, &b->rescaled);
    unet_status status = trial_create(&request, &trials[0], error);
    if (status == UNET_OK) {
        assign_type(b, type);
        request = int8_trial(b, &b->rescaled);
        status = trial_create(&request, &trials[1], error);
    }
    if (status == UNET_OK)
        status = race_trials(&b->planner, trials, milliseconds, error);
    trial_free(&trials[0]);
    trial_free(&trials[1]);
    return status;
}

/* Takes all layers at that type where that is faster and inside the budget; *won: then. */
static unet_status compare_type(struct int8_builder *b, const struct assignment *fastest,
                                enum graph_type type, bool *slower, bool *won, unet_error *error)
{
    double milliseconds[2];
    TRY(race_type(b, fastest, type, milliseconds, error));
    if (b->wider_milliseconds == 0) {
        b->milliseconds = milliseconds[0];
        b->wider_milliseconds = milliseconds[1];
    }
    *slower = milliseconds[0] > milliseconds[1];
    *won = false;
    if (!*slower)
        return UNET_OK;
    TRY(judge_type(b, won, error));
    log_line(log_of(b), LOG_NOTICE, "with %s it takes %.2f ms at %dx%d, in %s %.2f: %s",
             narrow_words(b), milliseconds[0], options_of(b)->width, options_of(b)->height,
             precision_name(type), milliseconds[1],
             *won ? "the engine is of the latter"
                  : "but the latter's masks are outside of the budget");
    return UNET_OK;
}

static unet_status compare_types(struct int8_builder *b, const struct assignment *fastest,
                                 unet_error *error)
{
    bool slower = true, won = false;
    for (int type = (int)b->wide; type >= GRAPH_F32 && slower && !won; type--)
        if (b->available[type])
            TRY(compare_type(b, fastest, (enum graph_type)type, &slower, &won, error));
    if (!won)
        copy_assignment(b, fastest, &b->assignment);
    return UNET_OK;
}

static unet_status compare(struct int8_builder *b, unet_error *error)
{
    struct assignment fastest;
    if (options_of(b)->timing != UNET_TIMING_ON || !has_narrow(b))
        return UNET_OK;
    TRY(assignment_create(b->graph, &b->costs, &fastest, error));
    copy_assignment(b, &b->assignment, &fastest);
    unet_status status = compare_types(b, &fastest, error);
    assignment_clear(&fastest);
    return status;
}

/* ---------------------------------------------------------------- build */

static unet_status decide(struct int8_builder *b, unet_error *error)
{
    TRY(assignment_create(b->graph, &b->costs, &b->assignment, error));
    TRY(set_reference(b, error));
    TRY(make_ladders(b, error));
    TRY(choose_method(b, error));
    TRY(b->judge.count > 0 ? spend(b, error) : decide_unjudged(b, error));
    return compare(b, error);
}

static unet_status build(struct int8_builder *b, unet_engine **engine, unet_build_report **report,
                         unet_error *error)
{
    set_limits(b);
    TRY(find_types(b, error));
    TRY(layer_costs_create(b->graph, &b->costs, error));
    TRY(keep_find(options_of(b), &b->costs, b->narrow, b->available, &b->kept, error));
    TRY(calibrate_all(b, error));
    check_f16(b);
    TRY(time_layers(b, error));
    TRY(decide(b, error));
    TRY(planner_save(&b->planner, error));
    return int8_finish(b, engine, report, error);
}

unet_status int8_build(const struct graph *graph, const struct int8_request *request,
                       unet_engine **engine, unet_build_report **report, unet_error *error)
{
    bool fp8 = request->options->precision == UNET_PRECISION_FP8;
    struct int8_builder b = {
        .request = request, .graph = graph, .narrow = fp8 ? GRAPH_E4M3 : GRAPH_U8};
    unet_status status = planner_open(request->options, request->log, &b.planner, error);
    if (status == UNET_OK)
        status = build(&b, engine, report, error);
    assignment_clear(&b.assignment);
    memory_free(b.ladders);
    memory_free(b.budget.layers);
    graph_clear(&b.rescaled);
    calibrated_clear(&b.calibrated);
    judge_close(&b.judge);
    keep_clear(&b.kept);
    kernel_book_clear(&b.book);
    layer_costs_clear(&b.costs);
    planner_close(&b.planner);
    return status;
}
