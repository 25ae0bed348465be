/* concat → conv, and concat → concat: the reader takes the sources in the concatenation's place. A
 * concatenation goes only if every one of its readers can: else it is stored anyway, and one source
 * reads faster than several. */
#include "graph/passes.h"

#include <string.h>

#include "graph/rewrite.h"

static int times_read(const struct graph_node *node, int value)
{
    int times = 0;
    for (int k = 0; k < node->input_count; k++)
        times += node->inputs[k] == value;
    return times;
}

static bool can_take(const struct graph_node *reader, const struct graph_node *concat)
{
    int times = times_read(reader, concat->output);
    if (times == 0)
        return true;
    if ((reader->op != GRAPH_CONV && reader->op != GRAPH_CONCAT) || reader->upsampled > 0)
        return false; /* what is up-sampled is told by its place among the inputs */
    return reader->input_count + times * (concat->input_count - 1) <= GRAPH_MAX_INPUTS;
}

static void take(struct graph_node *reader, const struct graph_node *concat)
{
    int sources[GRAPH_MAX_INPUTS], count = 0;
    for (int k = 0; k < reader->input_count; k++) {
        if (reader->inputs[k] != concat->output) {
            sources[count++] = reader->inputs[k];
            continue;
        }
        memcpy(sources + count, concat->inputs, (size_t)concat->input_count * sizeof *sources);
        count += concat->input_count;
    }
    memcpy(reader->inputs, sources, (size_t)count * sizeof *sources);
    reader->input_count = count;
}

static bool all_can_take(const struct graph *graph, const struct graph_node *concat)
{
    if (concat->output == graph->output)
        return false;
    for (int i = 0; i < graph->node_count; i++)
        if (!can_take(&graph->nodes[i], concat))
            return false;
    return true;
}

unet_status graph_elide_concat(struct graph *graph, unet_error *error)
{
    for (int i = 0; i < graph->node_count; i++) {
        struct graph_node concat = graph->nodes[i];
        if (concat.op != GRAPH_CONCAT || !all_can_take(graph, &concat))
            continue;
        for (int r = i + 1; r < graph->node_count; r++)
            if (times_read(&graph->nodes[r], concat.output) > 0)
                take(&graph->nodes[r], &concat);
        graph_remove_node(graph, i--);
    }
    return graph_drop_dead(graph, error);
}
