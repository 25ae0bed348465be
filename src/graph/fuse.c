/* Passes that hang a small node onto the one that feeds it. */
#include "graph/passes.h"

#include <stdio.h>
#include <string.h>

#include "graph/rewrite.h"

#define GRAPH_NAME_BYTES 256

unet_status graph_fuse_relu(struct graph *graph, unet_error *error)
{
    for (int i = 0; i < graph->node_count; i++) {
        const struct graph_node *relu = &graph->nodes[i];
        if (relu->op != GRAPH_RELU)
            continue;
        int source = graph_sole_source(graph, relu);
        if (source == GRAPH_NONE)
            continue;
        struct graph_node *conv = &graph->nodes[source];
        if (conv->op != GRAPH_CONV || conv->pooled != GRAPH_NONE || conv->head != GRAPH_NONE)
            continue; /* pool and head read y before this activation */
        conv->relu = true;
        conv->output = relu->output;
        graph_remove_node(graph, i--);
    }
    return graph_drop_dead(graph, error);
}

unet_status graph_fuse_pad(struct graph *graph, unet_error *error)
{
    for (int i = 0; i < graph->node_count; i++) {
        struct graph_node *pad = &graph->nodes[i];
        if (pad->op != GRAPH_PAD)
            continue;
        int source = graph_sole_source(graph, pad);
        if (source == GRAPH_NONE)
            continue;
        struct graph_node writer = graph->nodes[source];
        bool can = writer.op == GRAPH_UPSAMPLE || writer.op == GRAPH_CONV_TRANSPOSE;
        if (!can || writer.input_count != 1)
            continue;
        writer.inputs[writer.input_count++] = pad->inputs[1];
        writer.output = pad->output;
        *pad = writer; /* in the pad's place: `like` may be written between the two */
        graph_remove_node(graph, source);
        i--;
    }
    return graph_drop_dead(graph, error);
}

/* The input of the convolution that an up-sampling writes for it alone, in the first input's size;
 * 0: there is none. */
static int upsampled_input(const struct graph *graph, const struct graph_node *conv)
{
    for (int k = 1; conv->op == GRAPH_CONV && k < conv->input_count; k++) {
        int value = conv->inputs[k], writer = graph_find_writer(graph, value);
        if (writer == GRAPH_NONE || graph_count_readers(graph, value) != 1 ||
            graph->values[value].type != GRAPH_F32)
            continue;
        const struct graph_node *up = &graph->nodes[writer];
        if (up->op == GRAPH_UPSAMPLE && up->input_count == 2 && up->inputs[1] == conv->inputs[0])
            return k;
    }
    return 0;
}

unet_status graph_fuse_upsample(struct graph *graph, unet_error *error)
{
    for (int i = 0; i < graph->node_count; i++) {
        struct graph_node *conv = &graph->nodes[i];
        int input = conv->upsampled == 0 ? upsampled_input(graph, conv) : 0;
        if (input == 0)
            continue;
        int up = graph_find_writer(graph, conv->inputs[input]);
        conv->upsampled = input;
        conv->inputs[input] = graph->nodes[up].inputs[0];
        graph_remove_node(graph, up);
        i--;
    }
    return graph_drop_dead(graph, error);
}

/* Puts the last node, which was just added, before the one at `index`. */
static void move_before(struct graph *graph, int index)
{
    int last = graph->node_count - 1;
    struct graph_node moved = graph->nodes[last];
    memmove(&graph->nodes[index + 1], &graph->nodes[index], (size_t)(last - index) * sizeof moved);
    graph->nodes[index] = moved;
}

static unet_status separate(struct graph *graph, int index, unet_error *error)
{
    char name[GRAPH_NAME_BYTES];
    struct graph_node *conv = &graph->nodes[index];
    int input = conv->upsampled, small = conv->inputs[input], like = conv->inputs[0];
    snprintf(name, sizeof name, "%.*s.up", (int)sizeof name - 4, conv->name);
    int value = graph_add_value(graph, name, graph->values[small].channels);
    struct graph_node *up =
        value != GRAPH_NONE ? graph_add_node(graph, GRAPH_UPSAMPLE, name) : NULL;
    if (up == NULL)
        return error_memory(error, sizeof *up, "a graph");
    graph->values[value].type = graph->values[small].type;
    graph->values[value].zero = graph->values[small].zero;
    up->inputs[0] = small;
    up->inputs[1] = like;
    up->input_count = 2;
    up->output = value;
    conv = &graph->nodes[index]; /* adding may have moved it */
    conv->inputs[input] = value;
    conv->upsampled = 0;
    move_before(graph, index);
    return UNET_OK;
}

unet_status graph_separate_upsample(struct graph *graph, unet_error *error)
{
    for (int i = 0; i < graph->node_count; i++)
        if (graph->nodes[i].upsampled > 0)
            TRY(separate(graph, i++, error));
    return UNET_OK;
}

/* y is stored only while somebody else reads it. */
static void release_output(const struct graph *graph, struct graph_node *conv)
{
    if (graph_count_readers(graph, conv->output) == 0)
        conv->output = GRAPH_NONE;
}

/* The convolution whose y the node reads, whoever else does; NULL. */
static struct graph_node *source_conv(struct graph *graph, const struct graph_node *reader)
{
    int value = reader->inputs[0];
    int writer = graph_find_writer(graph, value);
    if (writer == GRAPH_NONE)
        return NULL;
    struct graph_node *conv = &graph->nodes[writer];
    return conv->op == GRAPH_CONV && conv->output == value ? conv : NULL;
}

unet_status graph_fuse_pool(struct graph *graph, unet_error *error)
{
    for (int i = 0; i < graph->node_count; i++) {
        const struct graph_node *pool = &graph->nodes[i];
        if (pool->op != GRAPH_MAX_POOL || pool->stride != 2)
            continue;
        struct graph_node *conv = source_conv(graph, pool);
        if (conv == NULL || conv->pooled != GRAPH_NONE)
            continue;
        conv->pooled = pool->output;
        graph_remove_node(graph, i--);
        release_output(graph, conv);
    }
    return graph_drop_dead(graph, error);
}

/* Heads are written planar, straight to the caller: nothing inside the graph may read them. */
static bool can_be_head(const struct graph *graph, const struct graph_node *node)
{
    return node->op == GRAPH_CONV && node->kernel_h == 1 && node->kernel_w == 1 &&
           node->stride == 1 && node->padding == 0 && node->input_count == 1 && !node->relu &&
           node->pooled == GRAPH_NONE && node->head == GRAPH_NONE &&
           node->output == graph->output && graph_count_readers(graph, node->output) == 1;
}

unet_status graph_fuse_head(struct graph *graph, unet_error *error)
{
    for (int i = 0; i < graph->node_count; i++) {
        const struct graph_node *last = &graph->nodes[i];
        if (!can_be_head(graph, last))
            continue;
        struct graph_node *conv = source_conv(graph, last);
        if (conv == NULL || conv->head != GRAPH_NONE)
            continue;
        conv->head = last->output;
        conv->head_weight = last->weight;
        conv->head_bias = last->bias;
        graph_remove_node(graph, i--);
        release_output(graph, conv);
    }
    return graph_drop_dead(graph, error);
}
