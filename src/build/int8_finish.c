/* The end of a build of int8 or fp8: engine, table, report. */
#include "build/int8_builder.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

/* An engine of one type is planned as it would be without any of this. */
static unet_status plan_engine(struct int8_builder *b, struct graph *graph, struct plan *plan,
                               unet_error *error)
{
    struct trial_request request = int8_trial(b, &b->rescaled);
    bool wide = b->wide != GRAPH_F32 && assignment_count(&b->assignment, b->wide) > 0;
    bool mixed = has_narrow(b) || (wide && b->kept.types != NULL && options_of(b)->keep_count > 0);
    if (mixed)
        return trial_plan(&request, graph, plan, error);
    TRY(trial_graph(b->graph, b->assignment.types, target_is_device(&b->planner.target), graph,
                    error));
    unet_status status = planner_plan(&b->planner, graph, plan, NULL, error);
    if (status != UNET_OK)
        graph_clear(graph);
    return status;
}

static double range_of(const struct int8_builder *b, int layer)
{
    const struct graph_node *node = &b->graph->nodes[b->costs.layers[layer].node];
    const struct quant_ranges *ranges = &b->calibrated.methods[b->method];
    int values[] = {node->output, node->pooled};
    for (int i = 0; i < 2; i++)
        if (values[i] != GRAPH_NONE && values[i] < ranges->value_count &&
            ranges->values[values[i]].tensor > 0)
            return (double)ranges->values[values[i]].tensor;
    return 0;
}

/* Of a layer that stayed on its first rung: how many fewer flip on the first wider one. */
static double flips_of(const struct int8_builder *b, int layer)
{
    const struct budget_layer *searched = &b->budget.layers[layer];
    const struct ladder *ladder = &b->ladders[layer];
    bool narrow = b->assignment.layers[layer].type == b->narrow;
    for (int r = 1; narrow && r < ladder->count; r++)
        if (ladder->rungs[r].type != b->narrow)
            return b->judge.count > 0 ? 100 * searched->saved[r] : (double)NAN;
    return NAN;
}

static const char *kernel_of(const struct plan *plan, const char *layer)
{
    for (int i = 0; i < plan->step_count; i++)
        if (strcmp(plan_step_name(plan, &plan->steps[i]), layer) == 0)
            return plan->steps[i].kernel->name;
    return "";
}

static unet_status report_layers(const struct int8_builder *b, const struct graph *graph,
                                 const struct plan *plan, unet_build_report *report,
                                 unet_error *error)
{
    for (int l = 0; l < b->costs.count; l++) {
        const struct layer_cost *layer = &b->costs.layers[l];
        const struct rung *rung = &b->assignment.layers[l];
        enum graph_type type = trial_node_type(graph, layer->name);
        double wider = layer->fixed ? rung->milliseconds : layer->ways[b->wide].milliseconds;
        bool timed = options_of(b)->timing == UNET_TIMING_ON;
        report->layers[l] =
            (unet_layer_report){.name = arena_strdup(&report->arena, layer->name),
                                .precision = precision_name(type),
                                .kernel = kernel_of(plan, layer->name),
                                .range = range_of(b, l),
                                .milliseconds = timed ? rung->milliseconds : 0,
                                .milliseconds_saved = timed ? wider - rung->milliseconds : 0,
                                .flips = flips_of(b, l)};
        if (report->layers[l].name == NULL)
            return error_memory(error, strlen(layer->name), "a report");
    }
    return UNET_OK;
}

static unet_status make_report(const struct int8_builder *b, const struct graph *graph,
                               const struct plan *plan, unet_build_report **made, unet_error *error)
{
    unet_build_report *report;
    bool table = b->calibrated.from_table;
    TRY(report_create((size_t)b->costs.count, &report, error));
    unet_status status = report_layers(b, graph, plan, report, error);
    unet_build_report_info *info = &report->info;
    info->calibration_images = b->calibrated.images;
    info->judged_images = b->judge.count;
    info->precision = precision_name(graph_precision(graph));
    info->instructions = arena_strdup(&report->arena, b->instructions);
    info->method = table ? "table" : quant_method_name((enum quant_method)b->method);
    info->share = table ? (double)b->calibrated.methods[0].share : (double)int8_shares[b->share];
    info->max_flips = 100 * b->budget.limits.flips;
    info->flips = 100 * b->verdict.flips;
    info->worst_image_flips = 100 * b->verdict.worst_image;
    info->least_iou = b->verdict.least_iou;
    info->milliseconds = b->milliseconds;
    info->wider = b->wider_milliseconds > 0 ? precision_name(b->wide) : "";
    info->wider_milliseconds = b->wider_milliseconds;
    info->evaluations = b->budget.evaluations;
    if (status == UNET_OK && info->instructions == NULL)
        status = error_memory(error, sizeof b->instructions, "a report");
    if (status == UNET_OK)
        *made = report;
    else
        unet_build_report_close(&report);
    return status;
}

static unet_status write_table(const struct int8_builder *b, const struct graph *graph,
                               unet_error *error)
{
    const unet_build_options *options = options_of(b);
    struct quant_ranges ranges = b->calibrated.methods[b->method];
    size_t count = (size_t)b->costs.count;
    if (options->calibration_table == NULL || b->calibrated.from_table)
        return UNET_OK;
    ranges.share = int8_shares[b->share];
    enum graph_type *types = memory_alloc_array(count, sizeof *types);
    if (types == NULL)
        return error_memory(error, count * sizeof *types, "layers");
    for (int l = 0; l < b->costs.count; l++)
        types[l] = trial_node_type(graph, b->costs.layers[l].name);
    unet_status status = calibrated_write(options, b->graph, &ranges, &b->costs, b->narrow, types,
                                          b->verdict.flips, error);
    memory_free(types);
    return status;
}

static void tell(const struct int8_builder *b, const struct graph *graph)
{
    int layers = 0;
    for (int l = 0; l < b->costs.count; l++)
        layers += trial_node_type(graph, b->costs.layers[l].name) == b->narrow;
    log_line(log_of(b), LOG_NOTICE, "%s products: %s; %d of %d layers use them",
             b->narrow == GRAPH_U8 ? "8-bit" : precision_name(b->narrow),
             b->available[b->narrow] ? b->instructions : "none that are fast here", layers,
             b->costs.count);
    if (b->judge.count > 0)
        log_line(log_of(b), LOG_NOTICE,
                 "of the pixels of %zu images %.4f%% change their class (at most %.4f%% may), of "
                 "one image's %.4f%%; least IoU of a class %.4f",
                 b->judge.count, 100 * b->verdict.flips, 100 * b->budget.limits.flips,
                 100 * b->verdict.worst_image, b->verdict.least_iou);
    if (b->wider_milliseconds > 0)
        log_line(log_of(b), LOG_NOTICE, "%.2f ms at %dx%d, %s takes %.2f", b->milliseconds,
                 options_of(b)->width, options_of(b)->height, precision_name(b->wide),
                 b->wider_milliseconds);
}

unet_status int8_finish(struct int8_builder *b, unet_engine **engine, unet_build_report **report,
                        unet_error *error)
{
    struct graph graph;
    struct plan plan;
    unet_build_report *made = NULL;
    TRY(plan_engine(b, &graph, &plan, error));
    tell(b, &graph);
    unet_status status = write_table(b, &graph, error);
    if (status == UNET_OK && report != NULL)
        status = make_report(b, &graph, &plan, &made, error);
    if (status == UNET_OK)
        status = engine_create(&graph, &plan, b->request->facts, engine, error);
    plan_clear(&plan);
    graph_clear(&graph);
    if (status == UNET_OK && report != NULL)
        *report = made;
    else
        unet_build_report_close(&made);
    return status;
}
