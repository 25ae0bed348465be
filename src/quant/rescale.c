#include "quant/rescale.h"

#include <math.h>
#include <string.h>

#include "quant/ties.h"

/* What is known of a value's channels, in its own units before the rewrite. */
struct channels {
    float *factor; /* 1 where nothing is rescaled */
    const float *mean, *square;
    bool rescaled;
};

struct rescaling {
    struct graph *graph;
    const struct quant_ranges *ranges;
    struct arena arena;
    struct channels *values;
    bool *is_signed, *fixed;
    unet_error *error;
};

/* ---------------------------------------------------------------- scratch */

static float *new_floats(struct rescaling *r, int count)
{
    float *floats = arena_alloc_array(&r->arena, (size_t)count, sizeof *floats);
    if (floats == NULL)
        error_memory(r->error, (size_t)count * sizeof *floats, "the channels of a layer");
    return floats;
}

static unet_status begin(struct rescaling *r)
{
    size_t count = (size_t)r->graph->value_count;
    r->values = arena_alloc_array(&r->arena, count, sizeof *r->values);
    r->is_signed = arena_alloc_array(&r->arena, count, sizeof *r->is_signed);
    r->fixed = arena_alloc_array(&r->arena, count, sizeof *r->fixed);
    if (r->values == NULL || r->is_signed == NULL || r->fixed == NULL)
        return error_memory(r->error, count * sizeof *r->values, "the factors of values");
    quant_find_signed(r->graph, r->is_signed);
    quant_find_fixed(r->graph, r->fixed);
    for (int i = 0; i < r->graph->value_count; i++) {
        int channels = r->graph->values[i].channels;
        r->values[i].factor = new_floats(r, channels);
        if (r->values[i].factor == NULL)
            return UNET_ERROR_MEMORY;
        for (int c = 0; c < channels; c++)
            r->values[i].factor[c] = 1;
        r->values[i].mean = r->ranges->values[i].mean;
        r->values[i].square = r->ranges->values[i].square;
    }
    return UNET_OK;
}

/* ---------------------------------------------------------------- factors */

enum member { FACTOR, MEAN, SQUARE };

static const float *member_of(const struct channels *channels, enum member member)
{
    return member == FACTOR ? channels->factor : member == MEAN ? channels->mean : channels->square;
}

/* One array of all that a node reads; *known: false where a source lacks it. */
static unet_status gather(struct rescaling *r, const struct graph_node *node, enum member member,
                          float **all, bool *known)
{
    *known = true;
    float *to = *all = new_floats(r, quant_read_channels(r->graph, node));
    if (to == NULL)
        return UNET_ERROR_MEMORY;
    for (int s = 0; s < quant_read_count(node); s++) {
        const float *from = member_of(&r->values[node->inputs[s]], member);
        size_t count = (size_t)r->graph->values[node->inputs[s]].channels;
        if (from != NULL)
            memcpy(to, from, count * sizeof *to);
        *known = *known && from != NULL;
        to += count;
    }
    return UNET_OK;
}

/* What nobody measured is like what it is made of; of a pool that is a little too low. */
static unet_status pass_on(struct rescaling *r, const struct graph_node *node)
{
    struct channels *to = &r->values[node->output];
    bool known;
    float *all;
    TRY(gather(r, node, FACTOR, &to->factor, &known));
    if (to->mean == NULL) {
        TRY(gather(r, node, MEAN, &all, &known));
        to->mean = known ? all : NULL;
    }
    if (to->square == NULL) {
        TRY(gather(r, node, SQUARE, &all, &known));
        to->square = known ? all : NULL;
    }
    to->rescaled = true;
    for (int s = 0; s < quant_read_count(node); s++)
        to->rescaled = to->rescaled && r->values[node->inputs[s]].rescaled;
    return UNET_OK;
}

/* The stored result that was measured; GRAPH_NONE. */
static int measured_value(const struct rescaling *r, const struct graph_node *node)
{
    const int stored[] = {node->output, node->pooled};
    for (int i = 0; i < 2; i++)
        if (stored[i] != GRAPH_NONE && r->ranges->values[stored[i]].tensor > 0)
            return stored[i];
    return GRAPH_NONE;
}

static unet_status find_factors(struct rescaling *r, const struct graph_node *node, int stored,
                                float *factor)
{
    int value = measured_value(r, node), channels = graph_node_channels(r->graph, node);
    if (value == GRAPH_NONE)
        return error_set(r->error, UNET_ERROR_MODEL,
                         "%s: no range is known for %s, which it writes: calibrate again",
                         node->name, r->graph->values[stored].name);
    double levels = r->is_signed[value] ? QUANT_SIGNED_LEVELS : QUANT_LEVELS;
    for (int c = 0; c < channels; c++) {
        float range = quant_channel_range(r->ranges, value, c);
        factor[c] = (float)(levels / (double)range);
        if (!isfinite(factor[c]) || !(factor[c] > 0))
            return error_set(r->error, UNET_ERROR_MODEL,
                             "%s: the range %g of its channel %d is of no use: calibrate again",
                             node->name, (double)range, c);
    }
    return UNET_OK;
}

/* The two stored results of a node are of one piece. */
static void keep_factors(struct rescaling *r, const struct graph_node *node, float *factor)
{
    struct channels *out = node->output != GRAPH_NONE ? &r->values[node->output] : NULL;
    struct channels *pooled = node->pooled != GRAPH_NONE ? &r->values[node->pooled] : NULL;
    if (out != NULL) {
        out->factor = factor;
        out->rescaled = true;
    }
    if (pooled != NULL) {
        pooled->factor = factor;
        pooled->rescaled = true;
    }
    if (out != NULL && pooled != NULL) {
        pooled->mean = pooled->mean != NULL ? pooled->mean : out->mean;
        pooled->square = pooled->square != NULL ? pooled->square : out->square;
    }
}

/* ---------------------------------------------------------------- rewriting */

static bool multiply(float *value, double factor)
{
    *value = (float)((double)*value * factor);
    return isfinite(*value);
}

/* y[o] is to be factor[o] times as large, and x[i] is in_factor[i] times as large already. */
static bool rescale_filters(const struct graph *graph, struct graph_node *node, const float *factor,
                            const float *in_factor)
{
    struct quant_filters filters = quant_filters_of(graph, node);
    bool finite = true;
    for (int o = 0; o < filters.outputs; o++) {
        for (int i = 0; i < filters.inputs; i++) {
            float *weight = node->weight.data + (size_t)o * filters.output_stride +
                            (size_t)i * filters.input_stride;
            double by = (double)factor[o] / (double)in_factor[i];
            for (int t = 0; t < filters.taps; t++)
                finite = multiply(&weight[t], by) && finite;
        }
    }
    return finite;
}

static bool rescale_constants(const struct graph *graph, struct graph_node *node,
                              const float *factor, const float *in_factor)
{
    int channels = graph_node_channels(graph, node);
    bool finite = true;
    if (node->op != GRAPH_BATCH_NORM)
        finite = rescale_filters(graph, node, factor, in_factor);
    for (int c = 0; c < channels && node->op == GRAPH_BATCH_NORM; c++)
        finite =
            multiply(&node->weight.data[c], (double)factor[c] / (double)in_factor[c]) && finite;
    for (int c = 0; c < channels && node->bias.data != NULL; c++)
        finite = multiply(&node->bias.data[c], (double)factor[c]) && finite;
    for (int64_t i = 0; node->head != GRAPH_NONE && i < node->head_weight.count; i++)
        finite = multiply(&node->head_weight.data[i], 1 / (double)factor[i % channels]) && finite;
    return finite;
}

/* ---------------------------------------------------------------- constants of 8-bit products */

static unet_status new_constant(struct graph *graph, struct graph_constant *constant, int count,
                                unet_error *error)
{
    constant->data = arena_alloc_array(&graph->arena, (size_t)count, sizeof *constant->data);
    if (constant->data == NULL)
        return error_memory(error, (size_t)count * sizeof *constant->data, "a layer's constants");
    constant->count = count;
    return UNET_OK;
}

/* Means are corrected for, so only what varies around them turns weights' errors into noise. NULL
 * where squares are not known. */
static unet_status find_importance(struct rescaling *r, const struct graph_node *node,
                                   const float *in_factor, const float *mean, float **importance)
{
    bool known;
    TRY(gather(r, node, SQUARE, importance, &known));
    int inputs = quant_read_channels(r->graph, node);
    for (int i = 0; i < inputs && known; i++) {
        double square = (double)(*importance)[i], factor = (double)in_factor[i];
        double average = mean != NULL ? (double)mean[i] : 0, spread = square - average * average;
        (*importance)[i] = (float)(spread > 0 ? spread * factor * factor : 0);
    }
    *importance = known ? *importance : NULL;
    return UNET_OK;
}

static unet_status add_constants(struct rescaling *r, struct graph_node *node,
                                 const float *in_factor)
{
    for (int s = 0; s < quant_read_count(node); s++)
        if (!r->values[node->inputs[s]].rescaled)
            return UNET_OK;
    struct quant_filters filters = quant_filters_of(r->graph, node);
    float *mean, *importance;
    bool known;
    TRY(gather(r, node, MEAN, &mean, &known));
    TRY(find_importance(r, node, in_factor, known ? mean : NULL, &importance));
    if (known) {
        TRY(new_constant(r->graph, &node->mean, filters.inputs, r->error));
        for (int i = 0; i < filters.inputs; i++)
            node->mean.data[i] = mean[i] * in_factor[i];
    }
    TRY(new_constant(r->graph, &node->weight_step, filters.outputs, r->error));
    return quant_weight_steps(&filters, importance, node->weight_step.data, r->error);
}

/* ---------------------------------------------------------------- nodes */

static unet_status rescale_node(struct rescaling *r, struct graph_node *node)
{
    if (quant_passes(node))
        return pass_on(r, node);
    int channels = graph_node_channels(r->graph, node);
    int stored = node->output != GRAPH_NONE ? node->output : node->pooled;
    bool known;
    float *in_factor, *factor = new_floats(r, channels);
    if (factor == NULL)
        return UNET_ERROR_MEMORY;
    for (int c = 0; c < channels; c++)
        factor[c] = 1;
    if (stored != GRAPH_NONE && !r->fixed[stored]) {
        TRY(find_factors(r, node, stored, factor));
        keep_factors(r, node, factor);
    }
    TRY(gather(r, node, FACTOR, &in_factor, &known));
    if (!rescale_constants(r->graph, node, factor, in_factor))
        return error_set(r->error, UNET_ERROR_MODEL,
                         "%s: its weights leave float32's range when it is rescaled: do its ranges "
                         "belong to this network?",
                         node->name);
    return node->op != GRAPH_BATCH_NORM ? add_constants(r, node, in_factor) : UNET_OK;
}

unet_status quant_rescale(struct graph *graph, const struct quant_ranges *ranges, unet_error *error)
{
    if (ranges->value_count != graph->value_count)
        return error_set(error, UNET_ERROR_MODEL,
                         "ranges of %d values do not fit a graph of %d: calibrate again",
                         ranges->value_count, graph->value_count);
    struct rescaling r = {.graph = graph, .ranges = ranges, .error = error};
    unet_status status = begin(&r);
    for (int i = 0; i < graph->node_count && status == UNET_OK; i++)
        status = rescale_node(&r, &graph->nodes[i]);
    arena_clear(&r.arena);
    return status == UNET_OK ? quant_shift(graph, error) : status;
}
