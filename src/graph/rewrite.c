#include "graph/rewrite.h"

#include <string.h>

int graph_count_readers(const struct graph *graph, int value)
{
    int readers = graph->output == value ? 1 : 0;
    for (int i = 0; i < graph->node_count; i++)
        for (int k = 0; k < graph->nodes[i].input_count; k++)
            readers += graph->nodes[i].inputs[k] == value;
    return readers;
}

int graph_find_writer(const struct graph *graph, int value)
{
    for (int i = 0; i < graph->node_count; i++) {
        const struct graph_node *node = &graph->nodes[i];
        if (node->output == value || node->pooled == value || node->head == value)
            return i;
    }
    return GRAPH_NONE;
}

int graph_sole_source(const struct graph *graph, const struct graph_node *reader)
{
    int value = reader->inputs[0];
    int writer = graph_find_writer(graph, value);
    if (writer == GRAPH_NONE || graph->nodes[writer].output != value)
        return GRAPH_NONE;
    return graph_count_readers(graph, value) == 1 ? writer : GRAPH_NONE;
}

void graph_remove_node(struct graph *graph, int index)
{
    struct graph_node *node = &graph->nodes[index];
    memmove(node, node + 1, (size_t)(graph->node_count - 1 - index) * sizeof *node);
    graph->node_count--;
}
