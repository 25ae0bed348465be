/* Which values are stored as what. Only convolutions change a type: their sums are float32 whatever
 * they read. So values are TIED: what a convolution reads, what it writes, and all that another
 * node reads and writes are of one type each. The network's input, its output and heads are
 * float32, and so is all that is tied to them. */
#include "graph/passes.h"

#include <stddef.h>

static bool changes_type(const struct graph_node *node)
{
    return node->op == GRAPH_CONV || node->op == GRAPH_CONV_TRANSPOSE;
}

/* The inputs whose values are read, not only their size. */
static int read_count(const struct graph_node *node)
{
    return node->op == GRAPH_CONV || node->op == GRAPH_CONCAT ? node->input_count : 1;
}

/* True if one was float32 and others had to become so. */
static bool tie(struct graph *graph, const int *values, int count)
{
    bool any = false, changed = false;
    for (int i = 0; i < count; i++)
        any = any || (values[i] != GRAPH_NONE && graph->values[values[i]].type == GRAPH_F32);
    for (int i = 0; i < count && any; i++) {
        if (values[i] == GRAPH_NONE || graph->values[values[i]].type == GRAPH_F32)
            continue;
        graph->values[values[i]].type = GRAPH_F32;
        changed = true;
    }
    return changed;
}

static bool tie_node(struct graph *graph, const struct graph_node *node)
{
    const int written[] = {node->output, node->pooled};
    bool changed = tie(graph, node->inputs, read_count(node));
    changed = tie(graph, written, 2) || changed;
    if (changes_type(node))
        return changed;
    const int through[] = {node->inputs[0], node->output};
    return tie(graph, through, 2) || changed;
}

void graph_set_type(struct graph *graph, enum graph_type type)
{
    for (int i = 0; i < graph->value_count; i++)
        graph->values[i].type = type;
    graph->values[graph->input].type = graph->values[graph->output].type = GRAPH_F32;
    for (int i = 0; i < graph->node_count; i++)
        if (graph->nodes[i].head != GRAPH_NONE)
            graph->values[graph->nodes[i].head].type = GRAPH_F32;
    bool changed = true;
    while (changed) {
        changed = false;
        for (int i = 0; i < graph->node_count; i++)
            changed = tie_node(graph, &graph->nodes[i]) || changed;
    }
}

const char *graph_type_fault(const struct graph *graph, const struct graph_node *node)
{
    const struct graph_value *values = graph->values;
    for (int i = 1; i < read_count(node); i++)
        if (values[node->inputs[i]].type != values[node->inputs[0]].type)
            return "reads values of different types";
    if (node->head != GRAPH_NONE && values[node->head].type != GRAPH_F32)
        return "has a head that is not float32";
    if (node->output == GRAPH_NONE)
        return NULL;
    if (node->pooled != GRAPH_NONE && values[node->pooled].type != values[node->output].type)
        return "writes values of different types";
    if (!changes_type(node) && values[node->output].type != values[node->inputs[0]].type)
        return "writes another type than it reads, and is no convolution";
    return NULL;
}

enum graph_type graph_precision(const struct graph *graph)
{
    for (int i = 0; i < graph->value_count; i++)
        if (graph->values[i].type != GRAPH_F32)
            return graph->values[i].type;
    return GRAPH_F32;
}
