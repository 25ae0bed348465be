/* Which values are stored as what. Only convolutions change a type: their sums are float32 whatever
 * they read, and each output takes the type that its own readers want. So values are TIED: what a
 * convolution reads, and all that another node reads and writes, are of one type each, the widest
 * that one of them must have. The network's input, its output and heads are float32, and so is all
 * that is tied to them. */
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

/* What holds more of all numbers comes first: bf16 has the range of float32, f16 has not. Of 0 …
 * 255 bytes have all whole numbers, e4m3 has not. */
static int width_of(enum graph_type type)
{
    static const int widths[GRAPH_TYPE_COUNT] = {
        [GRAPH_F32] = 4, [GRAPH_BF16] = 3, [GRAPH_F16] = 2, [GRAPH_U8] = 1, [GRAPH_E4M3] = 0};
    return type < GRAPH_TYPE_COUNT ? widths[type] : -1;
}

static enum graph_type wider(enum graph_type a, enum graph_type b)
{
    return width_of(a) > width_of(b) ? a : b;
}

/* True if one of them had to become wider. */
static bool tie(struct graph *graph, const int *values, int count)
{
    bool changed = false;
    enum graph_type type = GRAPH_TYPE_COUNT;
    for (int i = 0; i < count; i++)
        if (values[i] != GRAPH_NONE)
            type = wider(type, graph->values[values[i]].type);
    for (int i = 0; i < count; i++) {
        if (values[i] == GRAPH_NONE || graph->values[values[i]].type == type)
            continue;
        graph->values[values[i]].type = type;
        changed = true;
    }
    return changed;
}

static bool tie_node(struct graph *graph, const struct graph_node *node)
{
    bool changed = tie(graph, node->inputs, read_count(node));
    if (changes_type(node))
        return changed;
    const int through[] = {node->inputs[0], node->output};
    return tie(graph, through, 2) || changed;
}

static void tie_all(struct graph *graph)
{
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

static void set_all(struct graph *graph, enum graph_type type)
{
    for (int i = 0; i < graph->value_count; i++)
        graph->values[i].type = type;
}

void graph_set_type(struct graph *graph, enum graph_type type)
{
    set_all(graph, type);
    tie_all(graph);
}

void graph_set_types(struct graph *graph, const enum graph_type *wanted)
{
    set_all(graph, GRAPH_TYPE_COUNT - 1);
    for (int n = 0; n < graph->node_count; n++) {
        const struct graph_node *node = &graph->nodes[n];
        for (int i = 0; changes_type(node) && i < read_count(node); i++) {
            struct graph_value *value = &graph->values[node->inputs[i]];
            value->type = wider(value->type, wanted[n]);
        }
    }
    tie_all(graph);
}

void graph_widen_type(struct graph *graph, enum graph_type from, enum graph_type to)
{
    for (int i = 0; i < graph->value_count; i++)
        if (graph->values[i].type == from)
            graph->values[i].type = wider(from, to);
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
    if (!changes_type(node) && values[node->output].type != values[node->inputs[0]].type)
        return "writes another type than it reads, and is no convolution";
    return NULL;
}

enum graph_type graph_precision(const struct graph *graph)
{
    enum graph_type type = GRAPH_F32;
    for (int i = 0; i < graph->value_count; i++)
        if (width_of(graph->values[i].type) < width_of(type))
            type = graph->values[i].type;
    return type;
}
