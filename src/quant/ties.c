#include "quant/ties.h"

bool quant_passes(const struct graph_node *node)
{
    return node->op == GRAPH_RELU || node->op == GRAPH_MAX_POOL || node->op == GRAPH_UPSAMPLE ||
           node->op == GRAPH_PAD || node->op == GRAPH_CONCAT;
}

int quant_read_count(const struct graph_node *node)
{
    return node->op == GRAPH_CONV || node->op == GRAPH_CONCAT ? node->input_count : 1;
}

int quant_read_channels(const struct graph *graph, const struct graph_node *node)
{
    int channels = 0;
    for (int i = 0; i < quant_read_count(node); i++)
        channels += graph->values[node->inputs[i]].channels;
    return channels;
}

struct quant_filters quant_filters_of(const struct graph *graph, const struct graph_node *node)
{
    struct quant_filters filters = {.weights = node->weight.data,
                                    .outputs = graph_node_channels(graph, node),
                                    .inputs = quant_read_channels(graph, node),
                                    .taps = node->kernel_h * node->kernel_w};
    bool transposed = node->op == GRAPH_CONV_TRANSPOSE;
    size_t taps = (size_t)filters.taps;
    filters.output_stride = transposed ? taps : taps * (size_t)filters.inputs;
    filters.input_stride = transposed ? taps * (size_t)filters.outputs : taps;
    return filters;
}

/* Sets the flags of all if one is set; true if that changed something. */
static bool tie(bool *flags, const int *values, int count)
{
    bool any = false, changed = false;
    for (int i = 0; i < count; i++)
        any = any || (values[i] != GRAPH_NONE && flags[values[i]]);
    for (int i = 0; i < count && any; i++) {
        if (values[i] == GRAPH_NONE || flags[values[i]])
            continue;
        flags[values[i]] = true;
        changed = true;
    }
    return changed;
}

/* An activation ends what is negative, but not what is of one piece. */
static void tie_all(const struct graph *graph, bool *flags, bool through_relu)
{
    bool changed = true;
    while (changed) {
        changed = false;
        for (int i = 0; i < graph->node_count; i++) {
            const struct graph_node *node = &graph->nodes[i];
            const int written[] = {node->output, node->pooled};
            changed = tie(flags, written, 2) || changed;
            if (!quant_passes(node) || (node->op == GRAPH_RELU && !through_relu))
                continue;
            int values[GRAPH_MAX_INPUTS + 1] = {node->output}, count = quant_read_count(node);
            for (int k = 0; k < count; k++)
                values[k + 1] = node->inputs[k];
            changed = tie(flags, values, count + 1) || changed;
        }
    }
}

void quant_find_signed(const struct graph *graph, bool *is_signed)
{
    for (int i = 0; i < graph->value_count; i++)
        is_signed[i] = i == graph->input;
    for (int i = 0; i < graph->node_count; i++) {
        const struct graph_node *node = &graph->nodes[i];
        bool negative = !quant_passes(node) && !node->relu;
        const int written[] = {node->output, node->pooled, node->head};
        for (int k = 0; k < 3; k++)
            if (written[k] != GRAPH_NONE)
                is_signed[written[k]] = k == 2 || negative;
    }
    tie_all(graph, is_signed, false);
}

void quant_find_fixed(const struct graph *graph, bool *fixed)
{
    for (int i = 0; i < graph->value_count; i++)
        fixed[i] = i == graph->input || i == graph->output;
    for (int i = 0; i < graph->node_count; i++)
        if (graph->nodes[i].head != GRAPH_NONE)
            fixed[graph->nodes[i].head] = true;
    tie_all(graph, fixed, true);
}
