#include "quant/table_order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/ties.h"

#define UNNAMED "(Unnamed Layer* "

/* What a layer of the network is to a program that has not optimised it. */
enum layer {
    LAYER_SUM,
    LAYER_NORM,
    LAYER_ACTIVATION,
    LAYER_POOL,
    LAYER_UP,
    LAYER_PAD,
    LAYER_CONCAT,
    LAYER_LAST,
    LAYER_COUNT
};

struct tensor {
    enum layer layer;
    int value; /* the stored one that has this tensor's range; GRAPH_NONE */
};

struct sequence {
    struct tensor *tensors;
    int count;
};

/* ---------------------------------------------------------------- the network's sequence */

static void add(struct sequence *sequence, enum layer layer, int value)
{
    sequence->tensors[sequence->count++] = (struct tensor){layer, value};
}

/* Before fusing: concatenation, sums, norm, activation, pool, and the head as the last one. */
static void add_conv(struct sequence *sequence, const struct graph_node *node)
{
    int stored = node->output != GRAPH_NONE ? node->output : node->pooled;
    if (node->upsampled > 0) {
        add(sequence, LAYER_UP, GRAPH_NONE);
        add(sequence, LAYER_PAD, GRAPH_NONE);
    }
    if (node->input_count > 1)
        add(sequence, LAYER_CONCAT, GRAPH_NONE);
    if (node->relu) {
        add(sequence, LAYER_SUM, GRAPH_NONE);
        add(sequence, LAYER_NORM, GRAPH_NONE);
    }
    add(sequence, node->relu ? LAYER_ACTIVATION : LAYER_LAST, stored);
    if (node->pooled != GRAPH_NONE)
        add(sequence, LAYER_POOL, GRAPH_NONE);
    if (node->head != GRAPH_NONE)
        add(sequence, LAYER_LAST, GRAPH_NONE);
}

static void add_node(struct sequence *sequence, const struct graph_node *node)
{
    static const enum layer simple[GRAPH_OP_COUNT] = {
        [GRAPH_CONV_TRANSPOSE] = LAYER_UP, [GRAPH_BATCH_NORM] = LAYER_NORM,
        [GRAPH_RELU] = LAYER_ACTIVATION,   [GRAPH_MAX_POOL] = LAYER_POOL,
        [GRAPH_UPSAMPLE] = LAYER_UP,       [GRAPH_PAD] = LAYER_PAD,
        [GRAPH_CONCAT] = LAYER_CONCAT,
    };
    if (node->op == GRAPH_CONV) {
        add_conv(sequence, node);
        return;
    }
    add(sequence, simple[node->op], node->output);
    bool pads = node->op == GRAPH_UPSAMPLE || node->op == GRAPH_CONV_TRANSPOSE;
    if (pads && node->input_count == 2)
        add(sequence, LAYER_PAD, GRAPH_NONE);
}

static void take(struct quant_ranges *ranges, int value, const struct quant_entry *entry)
{
    if (value != GRAPH_NONE)
        ranges->values[value].tensor = entry->value * QUANT_SIGNED_LEVELS;
}

/* ---------------------------------------------------------------- unnamed layers */

/* The number in "(Unnamed Layer* 12) [Activation]_output"; −1: not such a name. */
static long unnamed_number(const struct quant_entry *entry)
{
    if (strncmp(entry->name, UNNAMED, strlen(UNNAMED)) != 0)
        return -1;
    return strtol(entry->name + strlen(UNNAMED), NULL, 10);
}

static bool is_kind(const struct quant_entry *entry, const char *kind)
{
    return unnamed_number(entry) >= 0 && strstr(entry->name, kind) != NULL;
}

/* Older versions write them in the order of a hash. */
static int by_number(const void *left, const void *right)
{
    const struct quant_entry *a = left, *b = right;
    long first = unnamed_number(a), second = unnamed_number(b);
    return first != second ? (first > second) - (first < second)
                           : (a->line > b->line) - (a->line < b->line);
}

/* The n-th of a kind is the n-th layer of the network's. */
static unet_status match_kind(const struct quant_entry *entries, int count, const char *kind,
                              const struct sequence *sequence, enum layer layer,
                              const struct graph *graph, struct quant_ranges *ranges,
                              unet_error *error)
{
    int found = 0, due = 0, next = 0;
    const char *first = "none", *last = "none";
    for (int i = 0; i < count; i++)
        found += is_kind(&entries[i], kind);
    for (int i = 0; i < sequence->count; i++) {
        if (sequence->tensors[i].layer != layer)
            continue;
        int value = sequence->tensors[i].value;
        first = due == 0 && value != GRAPH_NONE ? graph->values[value].name : first;
        last = value != GRAPH_NONE ? graph->values[value].name : last;
        due++;
    }
    if (found != due)
        return error_set(error, UNET_ERROR_MODEL,
                         "belongs to another model: it has %d tensors with %s in their names, this "
                         "network has %d such layers (%s to %s); calibrate again",
                         found, kind, due, first, last);
    for (int i = 0; i < sequence->count; i++) {
        if (sequence->tensors[i].layer != layer)
            continue;
        while (!is_kind(&entries[next], kind))
            next++;
        take(ranges, sequence->tensors[i].value, &entries[next++]);
    }
    return UNET_OK;
}

static bool has_transposed(const struct graph *graph)
{
    for (int i = 0; i < graph->node_count; i++)
        if (graph->nodes[i].op == GRAPH_CONV_TRANSPOSE)
            return true;
    return false;
}

static unet_status match_unnamed(const struct quant_table *table, const struct graph *graph,
                                 const struct sequence *sequence, struct quant_ranges *ranges,
                                 unet_error *error)
{
    size_t bytes = (size_t)table->count * sizeof *table->entries;
    struct quant_entry *sorted = memory_alloc(bytes);
    if (sorted == NULL)
        return error_memory(error, bytes, "a calibration table");
    memcpy(sorted, table->entries, bytes);
    qsort(sorted, (size_t)table->count, sizeof *sorted, by_number);
    unet_status status = match_kind(sorted, table->count, "[Activation]", sequence,
                                    LAYER_ACTIVATION, graph, ranges, error);
    if (status == UNET_OK && has_transposed(graph)) /* else what up-samples, and is not due */
        status = match_kind(sorted, table->count, "[Deconvolution]", sequence, LAYER_UP, graph,
                            ranges, error);
    memory_free(sorted);
    return status;
}

/* ---------------------------------------------------------------- names of all kinds */

/* Which layers have a tensor of their own in the table depends on who wrote the network down: an
 * exporter folds norms, sizes that fit need no padding, fused activations leave no sums. */
#define LEFT_OUT(layer) (1u << (layer))
static const unsigned layouts[] = {
    0,
    LEFT_OUT(LAYER_NORM),
    LEFT_OUT(LAYER_NORM) | LEFT_OUT(LAYER_PAD),
    LEFT_OUT(LAYER_NORM) | LEFT_OUT(LAYER_SUM),
    LEFT_OUT(LAYER_NORM) | LEFT_OUT(LAYER_SUM) | LEFT_OUT(LAYER_PAD),
    LEFT_OUT(LAYER_NORM) | LEFT_OUT(LAYER_SUM) | LEFT_OUT(LAYER_PAD) | LEFT_OUT(LAYER_CONCAT),
};
#define LAYOUTS (sizeof layouts / sizeof layouts[0])

static int count_tensors(const struct sequence *sequence, unsigned left_out)
{
    int count = 0;
    for (int i = 0; i < sequence->count; i++)
        count += (left_out >> sequence->tensors[i].layer & 1) == 0;
    return count;
}

/* Layouts that come to the table's number of tensors, with the network's input in it or not. */
static int find_layout(const struct sequence *sequence, int tensors, unsigned *left_out, int *skip)
{
    int fitting = 0;
    for (size_t i = 0; i < LAYOUTS; i++) {
        int count = count_tensors(sequence, layouts[i]);
        if (tensors != count && tensors != count + 1)
            continue;
        *left_out = layouts[i];
        *skip = tensors - count;
        fitting++;
    }
    return fitting;
}

static unet_status match_sequence(const struct quant_table *table, const struct graph *graph,
                                  const struct sequence *sequence, struct quant_ranges *ranges,
                                  unet_error *error)
{
    unsigned left_out = 0;
    int skip = 0, fitting = find_layout(sequence, table->count, &left_out, &skip);
    const char *first = table->count > 0 ? table->entries[0].name : "none";
    const char *last = table->count > 0 ? table->entries[table->count - 1].name : "none";
    if (fitting != 1)
        return error_set(
            error, UNET_ERROR_MODEL,
            "%s: none of its %d tensors (%s to %s) is named as this network's are (%s "
            "to %s), which come to %d to %d; calibrate again",
            fitting == 0 ? "belongs to another model" : "cannot be matched by order", table->count,
            first, last, graph->values[graph->input].name, graph->values[graph->output].name,
            count_tensors(sequence, layouts[LAYOUTS - 1]), count_tensors(sequence, 0) + 1);
    for (int i = 0, next = skip; i < sequence->count; i++)
        if ((left_out >> sequence->tensors[i].layer & 1) == 0)
            take(ranges, sequence->tensors[i].value, &table->entries[next++]);
    return UNET_OK;
}

/* ---------------------------------------------------------------- matching */

unet_status quant_match_order(const struct quant_table *table, const struct graph *graph,
                              struct quant_ranges *ranges, unet_error *error)
{
    const size_t most = 7; /* tensors of a node: a convolution with all that can be fused */
    size_t count = most * (size_t)graph->node_count;
    struct sequence sequence = {.tensors = memory_alloc_array(count, sizeof *sequence.tensors)};
    if (sequence.tensors == NULL)
        return error_memory(error, count * sizeof *sequence.tensors, "a calibration table");
    for (int i = 0; i < graph->node_count; i++)
        add_node(&sequence, &graph->nodes[i]);
    int unnamed = 0;
    for (int i = 0; i < table->count; i++)
        unnamed += is_kind(&table->entries[i], "[");
    unet_status status = unnamed > 0 ? match_unnamed(table, graph, &sequence, ranges, error)
                                     : match_sequence(table, graph, &sequence, ranges, error);
    memory_free(sequence.tensors);
    return status;
}
