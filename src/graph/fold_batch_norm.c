/* conv → batch_norm, in double and rounded once:
 *     scale · (w ∗ x + b) + shift = (scale · w) ∗ x + (scale · b + shift) */
#include "graph/passes.h"

#include "graph/rewrite.h"

/* Runs of weights that share an output channel: all of it in O × I × KH × KW, a window in
 * I × O × KH × KW, where it is transposed. */
static void scale_weights(struct graph_node *conv, const float *scale, int64_t channels)
{
    int64_t taps = (int64_t)conv->kernel_h * conv->kernel_w;
    int64_t run = conv->op == GRAPH_CONV ? conv->weight.count / channels : taps;
    float *weight = conv->weight.data;
    for (int64_t r = 0; r < conv->weight.count / run; r++, weight += run)
        for (int64_t i = 0; i < run; i++)
            weight[i] = (float)((double)weight[i] * scale[r % channels]);
}

static unet_status fold(struct graph *graph, struct graph_node *conv, const struct graph_node *norm,
                        unet_error *error)
{
    int64_t channels = norm->weight.count;
    if (conv->bias.data == NULL) {
        conv->bias.data = arena_alloc_array(&graph->arena, (size_t)channels, sizeof(float));
        if (conv->bias.data == NULL)
            return error_memory(error, (size_t)channels * sizeof(float), conv->name);
        conv->bias.count = channels;
    }
    const float *scale = norm->weight.data, *shift = norm->bias.data;
    float *bias = conv->bias.data;
    scale_weights(conv, scale, channels);
    for (int64_t i = 0; i < channels; i++)
        bias[i] = (float)((double)bias[i] * scale[i] + shift[i]);
    conv->output = norm->output;
    return UNET_OK;
}

unet_status graph_fold_batch_norm(struct graph *graph, unet_error *error)
{
    for (int i = 0; i < graph->node_count; i++) {
        const struct graph_node *norm = &graph->nodes[i];
        if (norm->op != GRAPH_BATCH_NORM)
            continue;
        int source = graph_sole_source(graph, norm);
        if (source == GRAPH_NONE)
            continue;
        struct graph_node *conv = &graph->nodes[source];
        /* What is padded to `like` stays zero there, and batch norm would shift it. */
        bool transposed = conv->op == GRAPH_CONV_TRANSPOSE && conv->input_count == 1;
        bool plain = conv->op == GRAPH_CONV && !conv->relu && conv->pooled == GRAPH_NONE &&
                     conv->head == GRAPH_NONE;
        if (!transposed && !plain)
            continue;
        TRY(fold(graph, conv, norm, error));
        graph_remove_node(graph, i--);
    }
    return graph_drop_dead(graph, error);
}
