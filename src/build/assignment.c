#include "build/assignment.h"

#include "base/memory.h"

/* A narrower type, and what it does to masks, must gain as much. */
#define WORTH_IT 0.98

/* ---------------------------------------------------------------- ladders */

static void add_rung(struct ladder *ladder, enum graph_type type, const struct layer_way *way)
{
    ladder->rungs[ladder->count++] = (struct rung){type, way->kernel, way->milliseconds};
}

/* Another kernel of the type may round less: Winograd's F(2,3) less than F(4,3). Only one that
 * costs less than half of the way to the next type is worth finding out. */
static void add_type(struct ladder *ladder, const struct layer_cost *layer, enum graph_type type,
                     enum graph_type next)
{
    const struct layer_way *other = &layer->others[type];
    double first = layer->ways[type].milliseconds, last = layer->ways[next].milliseconds;
    add_rung(ladder, type, &layer->ways[type]);
    if (other->kernel != NULL && other->milliseconds > first &&
        other->milliseconds - first < (last - first) / 2)
        add_rung(ladder, type, other);
}

static void drop_slow(struct ladder *ladder)
{
    int kept = 0;
    for (int i = 0; i < ladder->count; i++) {
        bool worth = true;
        for (int j = i + 1; j < ladder->count; j++)
            worth =
                worth && ladder->rungs[i].milliseconds < WORTH_IT * ladder->rungs[j].milliseconds;
        /* two kernels of one type are compared without a handicap */
        if (worth || (i + 1 < ladder->count && ladder->rungs[i].type == ladder->rungs[i + 1].type &&
                      ladder->rungs[i + 1].milliseconds > ladder->rungs[i].milliseconds))
            ladder->rungs[kept++] = ladder->rungs[i];
    }
    ladder->count = kept;
}

struct ladder ladder_of(const struct layer_cost *layer, const bool available[GRAPH_TYPE_COUNT],
                        enum graph_type kept)
{
    struct ladder ladder = {.count = 0};
    enum graph_type next = available[GRAPH_F16]    ? GRAPH_F16
                           : available[GRAPH_BF16] ? GRAPH_BF16
                                                   : GRAPH_F32;
    enum graph_type only = layer->fixed ? GRAPH_F32 : kept;
    if (only != GRAPH_TYPE_COUNT) {
        add_rung(&ladder, only, &layer->ways[only]);
        return ladder;
    }
    for (int type = 0; type < GRAPH_TYPE_COUNT; type++)
        if (available[type] && graph_is_8bit((enum graph_type)type))
            add_type(&ladder, layer, (enum graph_type)type, next);
    if (next != GRAPH_F32)
        add_type(&ladder, layer, next, GRAPH_F32);
    add_rung(&ladder, GRAPH_F32, &layer->ways[GRAPH_F32]);
    drop_slow(&ladder);
    return ladder;
}

/* What 8 bits cost is reported, by what the next type saves. Float32 behind 16 bits is the last
 * resort: what it saves is not worth measuring before. */
void ladder_describe(const struct ladder *ladder, struct budget_layer *layer)
{
    bool widened = false;
    *layer = (struct budget_layer){.rung_count = ladder->count};
    for (int r = 0; r < ladder->count; r++) {
        const struct rung *rung = &ladder->rungs[r];
        bool wider = graph_is_8bit(ladder->rungs[0].type) && !graph_is_8bit(rung->type);
        layer->milliseconds[r] = rung->milliseconds;
        layer->probe[r] = BUDGET_IF_NEEDED;
        if (wider && !widened)
            layer->probe[r] = BUDGET_PROBED;
        else if (rung->type == GRAPH_F32 && r > 1)
            layer->probe[r] = BUDGET_UNPROBED;
        widened = widened || wider;
    }
}

/* ---------------------------------------------------------------- assignments */

unet_status assignment_create(const struct graph *graph, const struct layer_costs *costs,
                              struct assignment *assignment, unet_error *error)
{
    size_t layers = (size_t)costs->count, nodes = (size_t)graph->node_count;
    *assignment = (struct assignment){.layer_count = costs->count, .node_count = graph->node_count};
    assignment->layers = memory_calloc(layers, sizeof *assignment->layers);
    assignment->types = memory_calloc(nodes, sizeof *assignment->types);
    assignment->kernels = memory_calloc(nodes, sizeof *assignment->kernels);
    if (assignment->layers != NULL && assignment->types != NULL && assignment->kernels != NULL)
        return UNET_OK;
    assignment_clear(assignment);
    return error_memory(error, nodes * sizeof *assignment->kernels, "an assignment");
}

void assignment_set(struct assignment *assignment, const struct layer_costs *costs, int layer,
                    const struct rung *rung)
{
    int node = costs->layers[layer].node;
    assignment->layers[layer] = *rung;
    assignment->types[node] = rung->type;
    assignment->kernels[node] = rung->kernel;
}

int assignment_count(const struct assignment *assignment, enum graph_type type)
{
    int count = 0;
    for (int l = 0; l < assignment->layer_count; l++)
        count += assignment->layers[l].type == type;
    return count;
}

void assignment_clear(struct assignment *assignment)
{
    memory_free(assignment->layers);
    memory_free(assignment->types);
    memory_free(assignment->kernels);
    *assignment = (struct assignment){0};
}
