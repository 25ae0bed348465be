/* Sizes of values. Every size is checked as it comes up, so a chain of up-samplings in an untrusted
 * graph cannot overflow. */
#include "graph/graph.h"

#include <stdio.h>

#define LEAST_SIDE_LIMIT 4096 /* up to here a refusal looks for the least side that would do */

enum failure_kind { FITS, IS_EMPTY, IS_TOO_LARGE, CONTRADICTS };

struct failure {
    enum failure_kind kind;
    const struct graph_node *node;
    struct graph_size size, other;
};

static int conv_side(int side, int kernel, int stride, int padding)
{
    int span = side + 2 * padding - kernel;
    return span < 0 ? 0 : span / stride + 1;
}

struct graph_size graph_node_size(const struct graph_node *node, const struct graph_size *sizes)
{
    struct graph_size x = sizes[node->inputs[0]];
    bool pads = node->op == GRAPH_UPSAMPLE || node->op == GRAPH_CONV_TRANSPOSE;
    if (node->op == GRAPH_PAD || (pads && node->input_count == 2))
        return sizes[node->inputs[1]];
    switch (node->op) {
    case GRAPH_CONV:
        return (struct graph_size){conv_side(x.height, node->kernel_h, node->stride, node->padding),
                                   conv_side(x.width, node->kernel_w, node->stride, node->padding)};
    case GRAPH_CONV_TRANSPOSE:
        return (struct graph_size){x.height * node->stride, x.width * node->stride};
    case GRAPH_MAX_POOL:
        return (struct graph_size){x.height / node->stride, x.width / node->stride};
    case GRAPH_UPSAMPLE:
        return (struct graph_size){2 * x.height, 2 * x.width};
    default:
        return x;
    }
}

static enum failure_kind judge(struct graph_size size)
{
    if (size.height < 1 || size.width < 1)
        return IS_EMPTY;
    return size.height > GRAPH_MAX_SIDE || size.width > GRAPH_MAX_SIDE ? IS_TOO_LARGE : FITS;
}

/* Sources that are read as one tensor must have one size; one that is up-sampled gets the first
 * one's. */
static bool sources_agree(const struct graph_node *node, const struct graph_size *sizes,
                          struct failure *failure)
{
    if (node->op != GRAPH_CONV && node->op != GRAPH_CONCAT)
        return true;
    struct graph_size first = sizes[node->inputs[0]];
    for (int i = 1; i < node->input_count; i++) {
        struct graph_size other = sizes[node->inputs[i]];
        if (i != node->upsampled && (other.height != first.height || other.width != first.width)) {
            *failure = (struct failure){CONTRADICTS, node, first, other};
            return false;
        }
    }
    return true;
}

static bool infer_node(const struct graph_node *node, struct graph_size *sizes,
                       struct failure *failure)
{
    if (!sources_agree(node, sizes, failure))
        return false;
    struct graph_size own = graph_node_size(node, sizes);
    struct graph_size pooled = {own.height / 2, own.width / 2};
    enum failure_kind kind = judge(own);
    if (kind == FITS && node->pooled != GRAPH_NONE)
        kind = judge(pooled);
    if (kind != FITS) {
        *failure = (struct failure){.kind = kind, .node = node};
        return false;
    }
    if (node->output != GRAPH_NONE)
        sizes[node->output] = own;
    if (node->pooled != GRAPH_NONE)
        sizes[node->pooled] = pooled;
    if (node->head != GRAPH_NONE)
        sizes[node->head] = own;
    return true;
}

static bool infer_all(const struct graph *graph, struct graph_size input, struct graph_size *sizes,
                      struct failure *failure)
{
    sizes[graph->input] = input;
    for (int i = 0; i < graph->node_count; i++)
        if (!infer_node(&graph->nodes[i], sizes, failure))
            return false;
    return true;
}

/* The least n for which n × n runs; 0 if none was found. */
static int least_side(const struct graph *graph, struct graph_size *sizes)
{
    struct failure ignored;
    for (int side = 1; side <= LEAST_SIDE_LIMIT; side++)
        if (infer_all(graph, (struct graph_size){side, side}, sizes, &ignored))
            return side;
    return 0;
}

static unet_status refuse_empty(const struct graph *graph, struct graph_size input,
                                const struct graph_node *node, struct graph_size *sizes,
                                unet_error *error)
{
    char rule[64] = "give a larger one";
    int least = least_side(graph, sizes);
    if (least > 0)
        snprintf(rule, sizeof rule, "width and height must be at least %d", least);
    return error_set(error, UNET_ERROR_USAGE,
                     "an input of %d×%d is too small: %s would be empty; %s", input.width,
                     input.height, node->name, rule);
}

unet_status graph_infer(const struct graph *graph, int height, int width, struct graph_size *sizes,
                        unet_error *error)
{
    struct graph_size input = {height, width};
    struct failure failure;
    if (judge(input) != FITS)
        return error_set(error, UNET_ERROR_USAGE,
                         "an input of %d×%d cannot be: width and height go from 1 to %d", width,
                         height, GRAPH_MAX_SIDE);
    if (infer_all(graph, input, sizes, &failure))
        return UNET_OK;
    const char *name = failure.node->name;
    switch (failure.kind) {
    case CONTRADICTS:
        return error_set(error, UNET_ERROR_MODEL,
                         "%s: its sources differ in size, %d×%d and %d×%d, for an input of %d×%d",
                         name, failure.size.width, failure.size.height, failure.other.width,
                         failure.other.height, width, height);
    case IS_TOO_LARGE:
        return error_set(error, UNET_ERROR_USAGE,
                         "an input of %d×%d is too large: %s would go beyond %d", width, height,
                         name, GRAPH_MAX_SIDE);
    default:
        return refuse_empty(graph, input, failure.node, sizes, error);
    }
}
