/* Random graphs of every operation, not only U-Nets: odd kernels, strides, several sources, skips
 * in all directions, nodes that nobody reads. The same seed makes the same graph. */
#ifndef UNET_TESTS_RANDOM_GRAPH_H
#define UNET_TESTS_RANDOM_GRAPH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/reference.h"
#include "support/support.h"

#define RANDOM_GRAPH_HEIGHT 19 /* the input's size that all its shapes agree at */
#define RANDOM_GRAPH_WIDTH  26
#define RANDOM_GRAPH_VALUES 128

struct random_graph {
    struct graph *graph;
    uint64_t random;
    struct graph_size sizes[RANDOM_GRAPH_VALUES];
};

static inline int pick(struct random_graph *r, int count)
{
    return (int)(random_next(&r->random) % (uint64_t)count);
}

static inline struct graph_constant random_constant(struct graph *graph, uint64_t *random,
                                                    int64_t count, float low, float high)
{
    struct graph_constant constant = {
        arena_alloc_array(&graph->arena, (size_t)count, sizeof(float)), count};
    assert_non_null(constant.data);
    for (int64_t i = 0; i < count; i++)
        constant.data[i] = random_float(random, low, high);
    return constant;
}

/* The node with its first input and output. */
static inline struct graph_node *new_node(struct random_graph *r, enum graph_op op, int x,
                                          int channels, struct graph_size size)
{
    char name[32];
    snprintf(name, sizeof name, "%s.%d", graph_op_name(op), r->graph->node_count);
    int output = graph_add_value(r->graph, name, channels);
    assert_true(output >= 0 && output < RANDOM_GRAPH_VALUES);
    struct graph_node *node = graph_add_node(r->graph, op, name);
    assert_non_null(node);
    node->inputs[node->input_count++] = x;
    node->output = output;
    r->sizes[output] = size;
    return node;
}

static inline bool same_size(const struct random_graph *r, int a, int b)
{
    return r->sizes[a].height == r->sizes[b].height && r->sizes[a].width == r->sizes[b].width;
}

/* Mostly what came last, so that most nodes matter in the end. */
static inline int pick_value(struct random_graph *r)
{
    int count = r->graph->value_count;
    int back = pick(r, 3) == 0 ? pick(r, count) : pick(r, count < 3 ? count : 3);
    return count - 1 - back;
}

static inline void add_sources(struct random_graph *r, struct graph_node *node, int wanted)
{
    for (int tries = 0; tries < 12 && node->input_count < wanted; tries++) {
        int value = pick(r, r->graph->value_count);
        if (value != node->output && same_size(r, value, node->inputs[0]))
            node->inputs[node->input_count++] = value;
    }
}

static inline int add_conv(struct random_graph *r, int x, int kh, int kw, int stride, int padding,
                           int out_channels, int sources)
{
    struct graph *graph = r->graph;
    struct graph_size in = r->sizes[x];
    struct graph_size out = {(in.height + 2 * padding - kh) / stride + 1,
                             (in.width + 2 * padding - kw) / stride + 1};
    if (in.height + 2 * padding < kh || in.width + 2 * padding < kw)
        return x;
    struct graph_node *node = new_node(r, GRAPH_CONV, x, out_channels, out);
    add_sources(r, node, sources);
    int in_channels = 0;
    for (int i = 0; i < node->input_count; i++)
        in_channels += graph->values[node->inputs[i]].channels;
    node->kernel_h = kh;
    node->kernel_w = kw;
    node->stride = stride;
    node->padding = padding;
    float range = 3.0f / (float)(in_channels * kh * kw);
    int64_t count = (int64_t)out_channels * in_channels * kh * kw;
    node->weight = random_constant(graph, &r->random, count, -range, range);
    if (pick(r, 2) == 0)
        node->bias = random_constant(graph, &r->random, out_channels, -0.5f, 0.5f);
    return node->output;
}

static inline int add_random_conv(struct random_graph *r, int x)
{
    static const int kernels[] = {1, 3, 5, 3};
    int kh = kernels[pick(r, 4)], kw = pick(r, 3) == 0 ? kernels[pick(r, 4)] : kh;
    int stride = 1 + (pick(r, 4) == 0), padding = pick(r, 3);
    int out_channels = 1 + pick(r, 6), sources = 1 + pick(r, 3);
    return add_conv(r, x, kh, kw, stride, padding, out_channels, sources);
}

static inline int add_transposed(struct random_graph *r, int x)
{
    struct graph *graph = r->graph;
    int stride = 2 + pick(r, 2), out_channels = 1 + pick(r, 4);
    int in_channels = graph->values[x].channels;
    struct graph_size out = {r->sizes[x].height * stride, r->sizes[x].width * stride};
    struct graph_node *node = new_node(r, GRAPH_CONV_TRANSPOSE, x, out_channels, out);
    node->kernel_h = node->kernel_w = node->stride = stride;
    int64_t count = (int64_t)in_channels * out_channels * stride * stride;
    node->weight = random_constant(graph, &r->random, count, -0.8f, 0.8f);
    if (pick(r, 2) == 0)
        node->bias = random_constant(graph, &r->random, out_channels, -0.5f, 0.5f);
    return node->output;
}

static inline int add_norm(struct random_graph *r, int x)
{
    int channels = r->graph->values[x].channels;
    struct graph_node *node = new_node(r, GRAPH_BATCH_NORM, x, channels, r->sizes[x]);
    node->weight = random_constant(r->graph, &r->random, channels, -1.5f, 1.5f);
    node->bias = random_constant(r->graph, &r->random, channels, -0.5f, 0.5f);
    return node->output;
}

static inline int add_simple(struct random_graph *r, enum graph_op op, int x,
                             struct graph_size size)
{
    return new_node(r, op, x, r->graph->values[x].channels, size)->output;
}

static inline int add_pool(struct random_graph *r, int x)
{
    int stride = pick(r, 4) == 0 ? 3 : 2;
    struct graph_size size = {r->sizes[x].height / stride, r->sizes[x].width / stride};
    if (size.height < 1 || size.width < 1)
        return x;
    int output = add_simple(r, GRAPH_MAX_POOL, x, size);
    struct graph_node *node = &r->graph->nodes[r->graph->node_count - 1];
    node->kernel_h = node->kernel_w = node->stride = stride;
    return output;
}

static inline int add_pad(struct random_graph *r, int x, int like)
{
    int output = add_simple(r, GRAPH_PAD, x, r->sizes[like]);
    struct graph_node *node = &r->graph->nodes[r->graph->node_count - 1];
    node->inputs[node->input_count++] = like;
    return output;
}

static inline int add_concat(struct random_graph *r, int x)
{
    struct graph_node *node = new_node(r, GRAPH_CONCAT, x, 1, r->sizes[x]);
    add_sources(r, node, 2 + pick(r, 3));
    int channels = 0;
    for (int i = 0; i < node->input_count; i++)
        channels += r->graph->values[node->inputs[i]].channels;
    r->graph->values[node->output].channels = channels;
    return node->output;
}

static inline int add_up(struct random_graph *r, int x)
{
    struct graph_size in = r->sizes[x], twice = {2 * in.height, 2 * in.width};
    if (in.height > 60 || in.width > 60)
        return x;
    int up = pick(r, 2) == 0 ? add_transposed(r, x) : add_simple(r, GRAPH_UPSAMPLE, x, twice);
    return pick(r, 3) > 0 ? add_pad(r, up, pick(r, up)) : up;
}

/* What a decoder reads: [like, up-sampled to like's size], of another tensor. */
static inline int add_decoder(struct random_graph *r, int x)
{
    int like = pick_value(r);
    struct graph_size in = r->sizes[x], twice = {2 * in.height, 2 * in.width};
    if (in.height > 60 || in.width > 60)
        return x;
    int up = add_pad(r, add_simple(r, GRAPH_UPSAMPLE, x, twice), like);
    int channels = r->graph->values[like].channels + r->graph->values[up].channels;
    struct graph_node *concat = new_node(r, GRAPH_CONCAT, like, channels, r->sizes[like]);
    concat->inputs[concat->input_count++] = up;
    return concat->output;
}

static inline int add_random_layer(struct random_graph *r)
{
    int x = pick_value(r);
    switch (pick(r, 11)) {
    case 0:
        return add_pool(r, x);
    case 1:
        return add_up(r, x);
    case 2:
        return add_concat(r, x);
    case 3:
        return add_pad(r, x, pick(r, r->graph->value_count));
    case 4:
        return add_norm(r, x);
    case 5:
        return add_simple(r, GRAPH_RELU, x, r->sizes[x]);
    case 6: /* concat → conv */
        x = add_concat(r, x);
        break;
    case 7:
        x = add_decoder(r, x);
        break;
    default:
        break;
    }
    x = add_random_conv(r, x);
    x = pick(r, 2) == 0 ? add_norm(r, x) : x;
    x = pick(r, 2) == 0 ? add_simple(r, GRAPH_RELU, x, r->sizes[x]) : x;
    return pick(r, 4) == 0 ? add_pool(r, x) : x;
}

static inline void make_random_graph(uint64_t seed, struct graph *graph)
{
    *graph = (struct graph){.architecture = "random", .normalize = UNET_NORMALIZE_255};
    struct random_graph r = {.graph = graph, .random = seed * 0x9e3779b97f4a7c15u + 1};
    for (int i = 0; i < 8; i++)
        random_next(&r.random);
    graph->input = graph_add_value(graph, "input", 1 + pick(&r, 3));
    r.sizes[graph->input] = (struct graph_size){RANDOM_GRAPH_HEIGHT, RANDOM_GRAPH_WIDTH};
    int layers = 3 + pick(&r, 12), last = add_random_conv(&r, graph->input);
    for (int i = 0; i < layers; i++)
        last = add_random_layer(&r);
    int ending = pick(&r, 3);
    if (ending == 0)
        last = add_random_conv(&r, last);
    if (last == graph->input || ending < 2) /* what a head is made of */
        last = add_conv(&r, last, 1, 1, 1, 0, 1 + pick(&r, 4), 1);
    graph->output = last;
}

/* Runs the reference; the caller frees the result. */
static inline float *run_reference(const struct graph *graph, const float *input, int height,
                                   int width, size_t *count)
{
    unet_error error;
    struct graph_size *sizes = calloc((size_t)graph->value_count, sizeof *sizes);
    assert_non_null(sizes);
    assert_ok(graph_infer(graph, height, width, sizes, &error), &error);
    struct graph_size size = sizes[graph->output];
    *count =
        (size_t)graph->values[graph->output].channels * (size_t)size.height * (size_t)size.width;
    free(sizes);
    float *output = malloc(*count * sizeof *output);
    assert_non_null(output);
    assert_ok(graph_reference_run(graph, input, height, width, output, &error), &error);
    return output;
}

static inline float *random_input(const struct graph *graph, int height, int width, uint64_t seed)
{
    size_t count = (size_t)graph->values[graph->input].channels * (size_t)height * (size_t)width;
    float *input = malloc(count * sizeof *input);
    assert_non_null(input);
    for (size_t i = 0; i < count; i++)
        input[i] = random_float(&seed, -1, 1);
    return input;
}

static inline double largest_magnitude(const float *values, size_t count)
{
    double largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = values[i] > largest ? values[i] : -values[i] > largest ? -values[i] : largest;
    return largest;
}

#endif
