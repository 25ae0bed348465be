#include "graph/passes.h"
#include "graph/rewrite.h"

/* Forgets what a live node writes for nobody. False if nothing is left of it. */
static bool trim_outputs(struct graph_node *node, const bool *wanted)
{
    if (node->output != GRAPH_NONE && !wanted[node->output])
        node->output = GRAPH_NONE;
    if (node->pooled != GRAPH_NONE && !wanted[node->pooled])
        node->pooled = GRAPH_NONE;
    if (node->head != GRAPH_NONE && !wanted[node->head]) {
        node->head = GRAPH_NONE;
        node->head_weight = node->head_bias = (struct graph_constant){0};
    }
    return node->output != GRAPH_NONE || node->pooled != GRAPH_NONE || node->head != GRAPH_NONE;
}

/* Backwards, so that a node's readers have spoken before it is asked. */
static void drop_nodes(struct graph *graph, bool *wanted)
{
    wanted[graph->input] = wanted[graph->output] = true;
    for (int i = graph->node_count - 1; i >= 0; i--) {
        struct graph_node *node = &graph->nodes[i];
        if (!trim_outputs(node, wanted)) {
            graph_remove_node(graph, i);
            continue;
        }
        for (int k = 0; k < node->input_count; k++)
            wanted[node->inputs[k]] = true;
    }
}

static void renumber(int *value, const int *numbers)
{
    if (*value != GRAPH_NONE)
        *value = numbers[*value];
}

static void drop_values(struct graph *graph, const bool *wanted, int *numbers)
{
    int kept = 0;
    for (int i = 0; i < graph->value_count; i++) {
        numbers[i] = wanted[i] ? kept : GRAPH_NONE;
        if (wanted[i])
            graph->values[kept++] = graph->values[i];
    }
    graph->value_count = kept;
    renumber(&graph->input, numbers);
    renumber(&graph->output, numbers);
    for (int i = 0; i < graph->node_count; i++) {
        struct graph_node *node = &graph->nodes[i];
        for (int k = 0; k < node->input_count; k++)
            renumber(&node->inputs[k], numbers);
        renumber(&node->output, numbers);
        renumber(&node->pooled, numbers);
        renumber(&node->head, numbers);
    }
}

unet_status graph_drop_dead(struct graph *graph, unet_error *error)
{
    size_t count = (size_t)graph->value_count;
    bool *wanted = memory_calloc(count, sizeof *wanted);
    int *numbers = memory_alloc_array(count, sizeof *numbers);
    unet_status status = UNET_OK;
    if (wanted == NULL || numbers == NULL) {
        status = error_memory(error, count * sizeof *numbers, "the graph's passes");
    } else {
        drop_nodes(graph, wanted);
        drop_values(graph, wanted, numbers);
    }
    memory_free(numbers);
    memory_free(wanted);
    return status;
}
