/* Bytes that may be negative lie around 128. */
#include "quant/rescale.h"

#include "quant/ties.h"

#define MIDDLE 128

struct shifting {
    struct graph *graph;
    bool *is_signed;
    unet_error *error;
};

/* What the value's zero is to be. */
static int wanted_zero(const struct shifting *s, int value)
{
    return s->is_signed[value] && s->graph->values[value].type == GRAPH_U8 ? MIDDLE : 0;
}

/* By how much more than now. */
static double shift_of(const struct shifting *s, int value)
{
    return wanted_zero(s, value) - s->graph->values[value].zero;
}

/* ---------------------------------------------------------------- can it be? */

static const char *passing_fault(const struct shifting *s, const struct graph_node *node)
{
    int zero = wanted_zero(s, node->output);
    for (int i = 0; i < quant_read_count(node); i++) {
        int own = wanted_zero(s, node->inputs[i]);
        if (node->op == GRAPH_RELU && own != 0)
            return "cuts off what is below 0, which bytes around 128 do not show";
        if (own != zero)
            return "would mix bytes around 128 with others";
    }
    return NULL;
}

/* Why a node cannot do with the zeros; NULL: it can. */
static const char *node_fault(const struct shifting *s, const struct graph_node *node)
{
    if (quant_passes(node))
        return passing_fault(s, node);
    if (node->op == GRAPH_CONV_TRANSPOSE && wanted_zero(s, node->inputs[0]) != 0)
        return "meets each of its taps alone, so that one bias cannot take back the 128 of bytes "
               "that may be negative";
    if (node->output != GRAPH_NONE && node->pooled != GRAPH_NONE &&
        wanted_zero(s, node->output) != wanted_zero(s, node->pooled))
        return "may be negative and stores bytes and another type side by side";
    return NULL;
}

static unet_status check_shifts(const struct shifting *s)
{
    for (int i = 0; i < s->graph->node_count; i++) {
        const char *fault = node_fault(s, &s->graph->nodes[i]);
        if (fault != NULL)
            return error_set(s->error, UNET_ERROR_MODEL,
                             "%s %s: keep it and its neighbours in 16 or 32 bits",
                             s->graph->nodes[i].name, fault);
    }
    return UNET_OK;
}

/* ---------------------------------------------------------------- biases and means */

/* A bias that is not there is zero. */
static unet_status need(struct shifting *s, struct graph_constant *constant, int64_t count)
{
    if (constant->data != NULL)
        return UNET_OK;
    constant->data = arena_alloc_array(&s->graph->arena, (size_t)count, sizeof *constant->data);
    if (constant->data == NULL)
        return error_memory(s->error, (size_t)count * sizeof *constant->data, "a layer's bias");
    constant->count = count;
    return UNET_OK;
}

static double sum_of(const float *weights, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)weights[i];
    return sum;
}

/* Σ shift · weight of all that output `o` reads. */
static double read_shift(const struct shifting *s, const struct graph_node *node, int o)
{
    double sum = 0;
    const float *weights = node->weight.data;
    if (node->op == GRAPH_BATCH_NORM)
        return shift_of(s, node->inputs[0]) * (double)weights[o];
    if (node->op != GRAPH_CONV)
        return 0;
    size_t taps = (size_t)(node->kernel_h * node->kernel_w);
    weights += (size_t)o * taps * (size_t)quant_read_channels(s->graph, node);
    for (int i = 0; i < node->input_count; i++) {
        size_t count = taps * (size_t)s->graph->values[node->inputs[i]].channels;
        double shift = shift_of(s, node->inputs[i]);
        if (shift != 0)
            sum += shift * sum_of(weights, count);
        weights += count;
    }
    return sum;
}

static unet_status shift_means(struct shifting *s, struct graph_node *node)
{
    TRY(need(s, &node->mean, quant_read_channels(s->graph, node)));
    float *mean = node->mean.data;
    for (int i = 0; i < node->input_count; i++) {
        const struct graph_value *value = &s->graph->values[node->inputs[i]];
        for (int c = 0; c < value->channels; c++)
            *mean++ += (float)shift_of(s, node->inputs[i]);
    }
    return UNET_OK;
}

static unet_status shift_head(struct shifting *s, struct graph_node *node, double written)
{
    int channels = graph_node_channels(s->graph, node);
    int outputs = s->graph->values[node->head].channels;
    TRY(need(s, &node->head_bias, outputs));
    for (int o = 0; o < outputs; o++) {
        const float *weights = node->head_weight.data + (size_t)o * (size_t)channels;
        double back = written * sum_of(weights, (size_t)channels);
        node->head_bias.data[o] = (float)((double)node->head_bias.data[o] - back);
    }
    return UNET_OK;
}

static unet_status shift_node(struct shifting *s, struct graph_node *node)
{
    bool reads = false;
    for (int i = 0; i < quant_read_count(node); i++)
        reads = reads || shift_of(s, node->inputs[i]) != 0;
    int stored = node->output != GRAPH_NONE ? node->output : node->pooled;
    double written = stored != GRAPH_NONE ? shift_of(s, stored) : 0;
    if (quant_passes(node) || (!reads && written == 0))
        return UNET_OK;
    int channels = graph_node_channels(s->graph, node);
    TRY(need(s, &node->bias, channels));
    for (int o = 0; o < channels; o++) {
        double moved = written - (reads ? read_shift(s, node, o) : 0);
        node->bias.data[o] = (float)((double)node->bias.data[o] + moved);
    }
    if (reads && node->op == GRAPH_CONV)
        TRY(shift_means(s, node));
    return node->head != GRAPH_NONE && written != 0 ? shift_head(s, node, written) : UNET_OK;
}

unet_status quant_shift(struct graph *graph, unet_error *error)
{
    size_t count = (size_t)graph->value_count;
    struct shifting s = {graph, memory_alloc_array(count, sizeof(bool)), error};
    if (s.is_signed == NULL)
        return error_memory(error, count * sizeof(bool), "the signs of values");
    quant_find_signed(graph, s.is_signed);
    unet_status status = check_shifts(&s);
    for (int i = 0; i < graph->node_count && status == UNET_OK; i++)
        status = shift_node(&s, &graph->nodes[i]);
    for (int i = 0; i < graph->value_count && status == UNET_OK; i++)
        graph->values[i].zero = (uint8_t)wanted_zero(&s, i);
    memory_free(s.is_signed);
    return status;
}
