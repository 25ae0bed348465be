#include "graph/graph.h"

#include <stdio.h>
#include <string.h>

/* Room for one more of `size` bytes. The old array stays in the arena: doubling wastes less than
 * what the arrays hold, a few KB. */
static void *grow(struct arena *arena, void *array, int count, int *capacity, size_t size)
{
    if (count < *capacity)
        return array;
    int larger = *capacity > 0 ? 2 * *capacity : 64;
    void *copy = arena_alloc_array(arena, (size_t)larger, size);
    if (copy == NULL)
        return NULL;
    if (count > 0)
        memcpy(copy, array, (size_t)count * size);
    *capacity = larger;
    return copy;
}

int graph_add_value(struct graph *graph, const char *name, int channels)
{
    struct graph_value *values = grow(&graph->arena, graph->values, graph->value_count,
                                      &graph->value_capacity, sizeof *values);
    if (values == NULL)
        return GRAPH_NONE;
    graph->values = values;
    char *copy = arena_strdup(&graph->arena, name);
    if (copy == NULL)
        return GRAPH_NONE;
    values[graph->value_count] = (struct graph_value){.name = copy, .channels = channels};
    return graph->value_count++;
}

struct graph_node *graph_add_node(struct graph *graph, enum graph_op op, const char *name)
{
    struct graph_node *nodes =
        grow(&graph->arena, graph->nodes, graph->node_count, &graph->node_capacity, sizeof *nodes);
    if (nodes == NULL)
        return NULL;
    graph->nodes = nodes;
    char *copy = arena_strdup(&graph->arena, name);
    if (copy == NULL)
        return NULL;
    nodes[graph->node_count] = (struct graph_node){
        .op = op, .name = copy, .output = GRAPH_NONE, .pooled = GRAPH_NONE, .head = GRAPH_NONE};
    return &nodes[graph->node_count++];
}

static int64_t source_channels(const struct graph *graph, const struct graph_node *node)
{
    int64_t channels = 0;
    for (int i = 0; i < node->input_count; i++)
        channels += graph->values[node->inputs[i]].channels;
    return channels;
}

int graph_node_channels(const struct graph *graph, const struct graph_node *node)
{
    int64_t taps = (int64_t)node->kernel_h * node->kernel_w;
    switch (node->op) {
    case GRAPH_CONV:
        return (int)(node->weight.count / (source_channels(graph, node) * taps));
    case GRAPH_CONV_TRANSPOSE:
        return (int)(node->weight.count / (graph->values[node->inputs[0]].channels * taps));
    case GRAPH_CONCAT:
        return (int)source_channels(graph, node);
    default:
        return graph->values[node->inputs[0]].channels;
    }
}

double graph_node_macs(const struct graph *graph, const struct graph_node *node,
                       const struct graph_size *sizes)
{
    struct graph_size at;
    switch (node->op) {
    case GRAPH_CONV:
        at = graph_node_size(node, sizes);
        break;
    case GRAPH_CONV_TRANSPOSE: /* kernel = stride: each pixel of x meets each weight once */
        at = sizes[node->inputs[0]];
        break;
    default:
        return 0;
    }
    double weights = (double)node->weight.count;
    if (node->head != GRAPH_NONE)
        weights += (double)graph->values[node->head].channels * graph_node_channels(graph, node);
    return weights * at.height * at.width;
}

const char *graph_op_name(enum graph_op op)
{
    static const char *const names[GRAPH_OP_COUNT] = {
        [GRAPH_CONV] = "conv",
        [GRAPH_CONV_TRANSPOSE] = "conv_transpose",
        [GRAPH_BATCH_NORM] = "batch_norm",
        [GRAPH_RELU] = "relu",
        [GRAPH_MAX_POOL] = "max_pool",
        [GRAPH_UPSAMPLE] = "upsample",
        [GRAPH_PAD] = "pad",
        [GRAPH_CONCAT] = "concat",
    };
    return (unsigned)op < GRAPH_OP_COUNT ? names[op] : "unknown";
}

char *graph_fused_text(const struct graph_node *node, char *text, size_t bytes)
{
    bool pads = node->op == GRAPH_UPSAMPLE || node->op == GRAPH_CONV_TRANSPOSE;
    const struct {
        bool there;
        const char *name;
    } parts[] = {
        {node->op == GRAPH_CONV && node->input_count > 1, "concat"},
        {node->upsampled > 0, "upsample"},
        {pads && node->input_count > 1, "pad"},
        {node->relu, "relu"},
        {node->pooled != GRAPH_NONE, "pool"},
        {node->head != GRAPH_NONE, "head"},
    };
    size_t used = 0;
    if (bytes > 0)
        text[0] = '\0';
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!parts[i].there || used >= bytes)
            continue;
        used +=
            (size_t)snprintf(text + used, bytes - used, "%s%s", used > 0 ? "+" : "", parts[i].name);
    }
    return text;
}

static bool copy_constant(struct arena *arena, struct graph_constant *constant)
{
    if (constant->data == NULL)
        return true;
    float *data = arena_alloc_array(arena, (size_t)constant->count, sizeof *data);
    if (data != NULL)
        memcpy(data, constant->data, (size_t)constant->count * sizeof *data);
    constant->data = data;
    return data != NULL;
}

static bool copy_nodes(const struct graph *from, struct graph *to)
{
    for (int i = 0; i < from->node_count; i++) {
        struct graph_node *node = graph_add_node(to, from->nodes[i].op, from->nodes[i].name);
        if (node == NULL)
            return false;
        const char *name = node->name;
        *node = from->nodes[i];
        node->name = name;
        struct graph_constant *constants[] = {&node->weight,      &node->bias,
                                              &node->head_weight, &node->head_bias,
                                              &node->weight_step, &node->mean};
        for (size_t c = 0; c < sizeof constants / sizeof constants[0]; c++)
            if (!copy_constant(&to->arena, constants[c]))
                return false;
    }
    return true;
}

static bool copy_values(const struct graph *from, struct graph *to)
{
    for (int i = 0; i < from->value_count; i++) {
        int value = graph_add_value(to, from->values[i].name, from->values[i].channels);
        if (value == GRAPH_NONE)
            return false;
        to->values[value].type = from->values[i].type;
        to->values[value].zero = from->values[i].zero;
    }
    return true;
}

unet_status graph_copy(const struct graph *from, struct graph *to, unet_error *error)
{
    *to = (struct graph){.input = from->input,
                         .output = from->output,
                         .sigmoid_output = from->sigmoid_output,
                         .tf32 = from->tf32,
                         .normalize = from->normalize};
    char *architecture = arena_strdup(&to->arena, from->architecture);
    to->architecture = architecture;
    if (architecture != NULL && copy_values(from, to) && copy_nodes(from, to))
        return UNET_OK;
    graph_clear(to);
    return error_memory(error, sizeof *to, "a copy of the graph");
}

void graph_clear(struct graph *graph)
{
    if (graph == NULL)
        return;
    arena_clear(&graph->arena);
    *graph = (struct graph){0};
}
