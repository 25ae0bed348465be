/* An engine file's graph is untrusted: what passes here can be indexed, inferred and run without
 * further tests. */
#include "graph/graph.h"

#include <math.h>
#include <stdio.h>

/* What an op may look like. */
static const struct op_rule {
    int min_inputs, max_inputs;
    bool has_kernel; /* kernel, stride and padding mean something */
} op_rules[GRAPH_OP_COUNT] = {
    [GRAPH_CONV] = {1, GRAPH_MAX_INPUTS, true},
    [GRAPH_CONV_TRANSPOSE] = {1, 2, true},
    [GRAPH_BATCH_NORM] = {1, 1, false},
    [GRAPH_RELU] = {1, 1, false},
    [GRAPH_MAX_POOL] = {1, 1, true},
    [GRAPH_UPSAMPLE] = {1, 2, false},
    [GRAPH_PAD] = {2, 2, false},
    [GRAPH_CONCAT] = {1, GRAPH_MAX_INPUTS, false},
};

#define REFUSE(...) return error_set(error, UNET_ERROR_MODEL, __VA_ARGS__)

static bool is_value(const struct graph *graph, int value)
{
    return value >= 0 && value < graph->value_count;
}

static unet_status check_frame(const struct graph *graph, unet_error *error)
{
    if (graph->node_count < 1 || graph->node_count > GRAPH_MAX_NODES || graph->nodes == NULL)
        REFUSE("the graph has %d nodes: 1 to %d are possible", graph->node_count, GRAPH_MAX_NODES);
    if (graph->value_count < 2 || graph->value_count > GRAPH_MAX_VALUES || graph->values == NULL)
        REFUSE("the graph has %d values: 2 to %d are possible", graph->value_count,
               GRAPH_MAX_VALUES);
    if (!is_value(graph, graph->input) || !is_value(graph, graph->output) ||
        graph->input == graph->output)
        REFUSE("the graph's input %d or output %d is not one of its %d values, or both are one",
               graph->input, graph->output, graph->value_count);
    if (graph->architecture == NULL)
        REFUSE("the graph names no architecture");
    if (graph->normalize != UNET_NORMALIZE_255 && graph->normalize != UNET_NORMALIZE_ZSCORE &&
        graph->normalize != UNET_NORMALIZE_MEAN_STD)
        REFUSE("the graph's normalisation %d is unknown", (int)graph->normalize);
    for (int i = 0; i < graph->value_count; i++) {
        const struct graph_value *value = &graph->values[i];
        if (value->name == NULL || value->channels < 1 || value->channels > GRAPH_MAX_CHANNELS)
            REFUSE("value %d has no name, or %d channels: 1 to %d are possible", i, value->channels,
                   GRAPH_MAX_CHANNELS);
        if ((unsigned)value->type >= GRAPH_TYPE_COUNT)
            REFUSE("value %d has an unknown type %d", i, (int)value->type);
        if (value->zero != 0 && value->type != GRAPH_U8)
            REFUSE("value %d is padded with %d: only one of bytes can be", i, value->zero);
    }
    return UNET_OK;
}

static bool in_range(int value, int low, int high)
{
    return value >= low && value <= high;
}

static unet_status check_window(const struct graph_node *node, unet_error *error)
{
    int kh = node->kernel_h, kw = node->kernel_w, stride = node->stride, padding = node->padding;
    if (!in_range(kh, 1, GRAPH_MAX_KERNEL) || !in_range(kw, 1, GRAPH_MAX_KERNEL) ||
        !in_range(stride, 1, GRAPH_MAX_KERNEL) || !in_range(padding, 0, GRAPH_MAX_KERNEL))
        REFUSE("%s: kernel %d×%d, stride %d, padding %d: up to %d is possible", node->name, kh, kw,
               stride, padding, GRAPH_MAX_KERNEL);
    if (node->op != GRAPH_CONV && (kh != stride || kw != stride || padding != 0))
        REFUSE("%s: kernel %d×%d, stride %d, padding %d: a %s needs kernel = stride, no padding",
               node->name, kh, kw, stride, padding, graph_op_name(node->op));
    return UNET_OK;
}

/* Op, number of inputs, window, and fused parts where the op can have them. */
static unet_status check_form(const struct graph_node *node, int index, unet_error *error)
{
    if (node->name == NULL || (unsigned)node->op >= GRAPH_OP_COUNT)
        REFUSE("node %d has no name or an unknown operation %d", index, (int)node->op);
    const struct op_rule *rule = &op_rules[node->op];
    if (!in_range(node->input_count, rule->min_inputs, rule->max_inputs))
        REFUSE("%s: a %s reads %d to %d values, not %d", node->name, graph_op_name(node->op),
               rule->min_inputs, rule->max_inputs, node->input_count);
    if (rule->has_kernel)
        TRY(check_window(node, error));
    bool fused = node->relu || node->pooled != GRAPH_NONE || node->head != GRAPH_NONE;
    if (fused && node->op != GRAPH_CONV)
        REFUSE("%s: only a convolution can have activation, pool or head fused, not a %s",
               node->name, graph_op_name(node->op));
    if (node->upsampled != 0 &&
        (node->op != GRAPH_CONV || !in_range(node->upsampled, 1, node->input_count - 1)))
        REFUSE("%s: up-samples its input %d: only a convolution can, and never its first",
               node->name, node->upsampled);
    if (node->output == GRAPH_NONE && node->pooled == GRAPH_NONE && node->head == GRAPH_NONE)
        REFUSE("%s writes nothing", node->name);
    return UNET_OK;
}

/* `written` has a flag a value. */
static unet_status check_order(const struct graph *graph, const struct graph_node *node,
                               bool *written, unet_error *error)
{
    for (int i = 0; i < node->input_count; i++) {
        int value = node->inputs[i];
        if (!is_value(graph, value) || !written[value])
            REFUSE("%s reads value %d, which is not written before it", node->name, value);
    }
    const int outputs[] = {node->output, node->pooled, node->head};
    for (int i = 0; i < 3; i++) {
        if (outputs[i] == GRAPH_NONE)
            continue;
        if (!is_value(graph, outputs[i]) || written[outputs[i]])
            REFUSE("%s writes value %d, which is none or is written before", node->name,
                   outputs[i]);
        written[outputs[i]] = true;
    }
    return UNET_OK;
}

static bool is_empty(const struct graph_constant *constant)
{
    return constant->data == NULL && constant->count == 0;
}

static unet_status check_constant(const struct graph_node *node, const char *part,
                                  const struct graph_constant *constant, int64_t expected,
                                  bool optional, unet_error *error)
{
    if (optional && is_empty(constant))
        return UNET_OK;
    if (constant->count != expected)
        REFUSE("%s.%s has %lld values; %lld were expected", node->name, part,
               (long long)constant->count, (long long)expected);
    if (constant->data == NULL)
        REFUSE("%s.%s has no values; %lld were expected", node->name, part, (long long)expected);
    return UNET_OK;
}

static unet_status check_channels(const struct graph *graph, const struct graph_node *node,
                                  int value, const char *part, int64_t expected, unet_error *error)
{
    if (value != GRAPH_NONE && graph->values[value].channels != expected)
        REFUSE("%s: its %s has %d channels; %lld were expected", node->name, part,
               graph->values[value].channels, (long long)expected);
    return UNET_OK;
}

static unet_status check_head(const struct graph *graph, const struct graph_node *node,
                              int64_t channels, unet_error *error)
{
    if (node->head == GRAPH_NONE) {
        if (!is_empty(&node->head_weight) || !is_empty(&node->head_bias))
            REFUSE("%s has weights of a head but no head", node->name);
        return UNET_OK;
    }
    int64_t heads = graph->values[node->head].channels;
    TRY(check_constant(node, "head.weight", &node->head_weight, heads * channels, false, error));
    return check_constant(node, "head.bias", &node->head_bias, heads, true, error);
}

/* The weights' count gives the channels of y, which need not be stored. */
static unet_status check_conv(const struct graph *graph, const struct graph_node *node,
                              unet_error *error)
{
    bool transposed = node->op == GRAPH_CONV_TRANSPOSE;
    int64_t in = 0;
    for (int i = 0; i < (transposed ? 1 : node->input_count); i++)
        in += graph->values[node->inputs[i]].channels;
    int64_t per_channel = in * node->kernel_h * node->kernel_w;
    int64_t channels = node->weight.count / per_channel;
    if (channels < 1 || channels > GRAPH_MAX_CHANNELS)
        REFUSE("%s.weight has %lld values: no multiple of %lld that fits", node->name,
               (long long)node->weight.count, (long long)per_channel);
    TRY(check_constant(node, "weight", &node->weight, channels * per_channel, false, error));
    TRY(check_constant(node, "bias", &node->bias, channels, true, error));
    TRY(check_constant(node, "weight_step", &node->weight_step, channels, true, error));
    TRY(check_constant(node, "mean", &node->mean, in, true, error));
    TRY(check_channels(graph, node, node->output, "result", channels, error));
    TRY(check_channels(graph, node, node->pooled, "pooled result", channels, error));
    return check_head(graph, node, channels, error);
}

static unet_status check_shapes(const struct graph *graph, const struct graph_node *node,
                                unet_error *error)
{
    if (node->op == GRAPH_CONV || node->op == GRAPH_CONV_TRANSPOSE)
        return check_conv(graph, node, error);
    int64_t channels = 0;
    for (int i = 0; i < (node->op == GRAPH_CONCAT ? node->input_count : 1); i++)
        channels += graph->values[node->inputs[i]].channels;
    if (node->op == GRAPH_BATCH_NORM) {
        TRY(check_constant(node, "scale", &node->weight, channels, false, error));
        TRY(check_constant(node, "shift", &node->bias, channels, false, error));
    } else if (!is_empty(&node->weight) || !is_empty(&node->bias)) {
        REFUSE("%s: a %s has no weights", node->name, graph_op_name(node->op));
    }
    if (!is_empty(&node->weight_step) || !is_empty(&node->mean))
        REFUSE("%s: a %s has no weights to round", node->name, graph_op_name(node->op));
    TRY(check_head(graph, node, channels, error));
    return check_channels(graph, node, node->output, "result", channels, error);
}

static unet_status check_nodes(const struct graph *graph, bool *written, unet_error *error)
{
    written[graph->input] = true;
    for (int i = 0; i < graph->node_count; i++) {
        const struct graph_node *node = &graph->nodes[i];
        TRY(check_form(node, i, error));
        TRY(check_order(graph, node, written, error));
        TRY(check_shapes(graph, node, error));
        const char *fault = graph_type_fault(graph, node);
        if (fault != NULL)
            REFUSE("%s %s", node->name, fault);
    }
    for (int i = 0; i < graph->value_count; i++)
        if (!written[i])
            REFUSE("no node writes value %d", i);
    return UNET_OK;
}

unet_status graph_check_structure(const struct graph *graph, unet_error *error)
{
    TRY(check_frame(graph, error));
    bool *written = memory_calloc((size_t)graph->value_count, sizeof *written);
    if (written == NULL)
        return error_memory(error, (size_t)graph->value_count, "the graph's check");
    unet_status status = check_nodes(graph, written, error);
    memory_free(written);
    return status;
}

static unet_status check_finite(const struct graph_node *node, const char *part,
                                const struct graph_constant *constant, unet_error *error)
{
    for (int64_t i = 0; i < constant->count; i++)
        if (!isfinite(constant->data[i]))
            REFUSE("%s.%s: value %lld is %s; a network that works has finite ones only", node->name,
                   part, (long long)i, isnan(constant->data[i]) ? "NaN" : "infinite");
    return UNET_OK;
}

static unet_status check_steps(const struct graph_node *node, unet_error *error)
{
    TRY(check_finite(node, "weight_step", &node->weight_step, error));
    for (int64_t i = 0; i < node->weight_step.count; i++)
        if (!(node->weight_step.data[i] > 0))
            REFUSE("%s.weight_step: value %lld is not above 0", node->name, (long long)i);
    return UNET_OK;
}

unet_status graph_check(const struct graph *graph, unet_error *error)
{
    TRY(graph_check_structure(graph, error));
    for (int i = 0; i < graph->node_count; i++) {
        const struct graph_node *node = &graph->nodes[i];
        bool norm = node->op == GRAPH_BATCH_NORM;
        TRY(check_finite(node, norm ? "scale" : "weight", &node->weight, error));
        TRY(check_finite(node, norm ? "shift" : "bias", &node->bias, error));
        TRY(check_finite(node, "head.weight", &node->head_weight, error));
        TRY(check_finite(node, "head.bias", &node->head_bias, error));
        TRY(check_finite(node, "mean", &node->mean, error));
        TRY(check_steps(node, error));
    }
    return UNET_OK;
}
