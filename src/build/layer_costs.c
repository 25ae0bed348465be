#include "build/layer_costs.h"

#include <string.h>

#include "base/memory.h"

/* Multiply-adds in a millisecond where nothing is known: a thread's worth, of float32. Only how the
 * types compare matters. */
#define GUESSED_MACS 1e8

/* The graph alone: which kernels run it is what is to be found out. */
static unet_status type_graph(const struct graph *graph, enum graph_type type, bool apart,
                              struct graph *typed, unet_error *error)
{
    size_t count = (size_t)graph->node_count;
    enum graph_type *types = memory_alloc_array(count, sizeof *types);
    if (types == NULL)
        return error_memory(error, count * sizeof *types, "types");
    for (size_t n = 0; n < count; n++)
        types[n] = type;
    unet_status status = trial_graph(graph, types, apart, typed, error);
    memory_free(types);
    return status;
}

/* Any type but float32 shows it; this one needs no zero, which not every graph can have. */
static unet_status find_fixed(const struct graph *graph, struct layer_costs *costs,
                              unet_error *error)
{
    struct graph narrow;
    TRY(type_graph(graph, GRAPH_E4M3, true, &narrow, error));
    for (int l = 0; l < costs->count; l++)
        costs->layers[l].fixed = trial_node_type(&narrow, costs->layers[l].name) == GRAPH_F32;
    graph_clear(&narrow);
    return UNET_OK;
}

unet_status layer_costs_create(const struct graph *graph, struct layer_costs *costs,
                               unet_error *error)
{
    size_t count = (size_t)graph->node_count;
    *costs = (struct layer_costs){.layers = memory_calloc(count, sizeof *costs->layers)};
    if (costs->layers == NULL)
        return error_memory(error, count * sizeof *costs->layers, "layers");
    for (int n = 0; n < graph->node_count; n++)
        if (trial_is_layer(&graph->nodes[n]))
            costs->layers[costs->count++] =
                (struct layer_cost){.name = graph->nodes[n].name, .node = n};
    return find_fixed(graph, costs, error);
}

void layer_costs_clear(struct layer_costs *costs)
{
    memory_free(costs->layers);
    *costs = (struct layer_costs){0};
}

/* ---------------------------------------------------------------- one uniform plan */

struct uniform {
    struct graph graph;
    struct plan plan;
    struct layout layout;
    struct step_times *times;
    enum graph_type type;
};

static double guess_milliseconds(const struct uniform *uniform, int step)
{
    static const double speed[GRAPH_TYPE_COUNT] = {
        [GRAPH_F32] = 1, [GRAPH_F16] = 2, [GRAPH_BF16] = 2, [GRAPH_U8] = 4, [GRAPH_E4M3] = 4};
    return uniform->layout.steps[step].macs / (GUESSED_MACS * speed[uniform->type]);
}

static double step_milliseconds(const struct uniform *uniform, int step, int candidate)
{
    const struct step_times *times = &uniform->times[step];
    int64_t nanoseconds = times->nanoseconds[candidate];
    return nanoseconds > 0 ? 1e-6 * (double)nanoseconds : guess_milliseconds(uniform, step);
}

static bool reads(const struct plan_step *step, int value)
{
    for (int s = 0; s < step->desc.source_count && value != GRAPH_NONE; s++)
        if (step->sources[s] == value)
            return true;
    return false;
}

/* Of the steps that prepare what this one reads and are no layers themselves. */
static double preparing_milliseconds(const struct uniform *uniform, int index)
{
    const struct plan *plan = &uniform->plan;
    double sum = 0;
    for (int i = 0; i < index; i++) {
        const struct plan_step *step = &plan->steps[i];
        bool prepares = step->node != GRAPH_NONE &&
                        !trial_is_layer(&plan->graph->nodes[step->node]) &&
                        reads(&plan->steps[index], step->out);
        if (prepares)
            sum += step_milliseconds(uniform, i, uniform->times[i].winner);
    }
    return sum;
}

/* The fastest candidate but the winner; −1: there is none that was timed. */
static int second_fastest(const struct step_times *times)
{
    int second = -1;
    for (int i = 0; i < times->candidates.count && times->nanoseconds[0] > 0; i++)
        if (i != times->winner &&
            (second < 0 || times->nanoseconds[i] < times->nanoseconds[second]))
            second = i;
    return second;
}

static void fill_way(const struct uniform *uniform, int index, struct layer_cost *layer)
{
    const struct step_times *times = &uniform->times[index];
    const struct plan_step *step = &uniform->plan.steps[index];
    double preparing = preparing_milliseconds(uniform, index);
    enum graph_type read = uniform->graph.values[step->sources[0]].type;
    struct layer_way way = {step->kernel,
                            preparing + step_milliseconds(uniform, index, times->winner)};
    int second = second_fastest(times);
    layer->ways[read] = way;
    if (second >= 0)
        layer->others[read] =
            (struct layer_way){times->candidates.kernels[second],
                               preparing + step_milliseconds(uniform, index, second)};
}

static void fill_ways(const struct uniform *uniform, struct layer_costs *costs)
{
    for (int i = 0; i < uniform->plan.step_count; i++)
        for (int l = 0; l < costs->count && uniform->plan.steps[i].node != GRAPH_NONE; l++)
            if (strcmp(costs->layers[l].name,
                       plan_step_name(&uniform->plan, &uniform->plan.steps[i])) == 0)
                fill_way(uniform, i, &costs->layers[l]);
}

static unet_status plan_uniform(struct planner *planner, struct uniform *uniform, unet_error *error)
{
    const unet_build_options *options = planner->options;
    size_t steps = (size_t)plan_step_count(&uniform->graph);
    uniform->times = memory_calloc(steps, sizeof *uniform->times);
    if (uniform->times == NULL)
        return error_memory(error, steps * sizeof *uniform->times, "times of kernels");
    TRY(planner_plan(planner, &uniform->graph, &uniform->plan, uniform->times, error));
    return layout_create(&uniform->plan, 1, options->height, options->width, options->threads,
                         &uniform->layout, error);
}

unet_status layer_costs_plan(struct planner *planner, const struct graph *graph,
                             enum graph_type type, struct layer_costs *costs,
                             struct kernel_book *book, unet_error *error)
{
    struct uniform uniform = {.type = type};
    TRY(type_graph(graph, type, target_is_device(&planner->target), &uniform.graph, error));
    unet_status status = plan_uniform(planner, &uniform, error);
    if (status == UNET_OK)
        status = kernel_book_add(book, &uniform.plan, error);
    if (status == UNET_OK)
        fill_ways(&uniform, costs);
    memory_free(uniform.times);
    layout_clear(&uniform.layout);
    plan_clear(&uniform.plan);
    graph_clear(&uniform.graph);
    return status;
}

void layer_costs_guess(struct layer_costs *costs, enum graph_type type, enum graph_type from,
                       double slower)
{
    for (int l = 0; l < costs->count; l++)
        if (!costs->layers[l].fixed && costs->layers[l].ways[type].milliseconds == 0)
            costs->layers[l].ways[type].milliseconds =
                slower * costs->layers[l].ways[from].milliseconds;
}
