/* Small networks with random weights for the tests of plan, engine and run, made without any
 * checkpoint reader. */
#ifndef UNET_TESTS_NETWORK_H
#define UNET_TESTS_NETWORK_H

#include <string.h>

#include "engine/engine.h"
#include "graph/passes.h"
#include "support/support.h"

static inline struct graph_constant network_constant(struct graph *graph, int64_t count,
                                                     double range, uint64_t *seed)
{
    struct graph_constant constant = {
        .data = arena_alloc_array(&graph->arena, (size_t)count, sizeof(float)), .count = count};
    for (int64_t i = 0; i < count; i++)
        constant.data[i] = random_float(seed, (float)-range, (float)range);
    return constant;
}

/* A graph with nothing but its input. */
static inline struct graph network_start(int channels)
{
    struct graph graph = {.architecture = "test", .normalize = UNET_NORMALIZE_255};
    graph.input = graph_add_value(&graph, "input", channels);
    return graph;
}

static inline int network_node(struct graph *graph, enum graph_op op, const char *name,
                               const int *inputs, int count, int channels)
{
    int output = graph_add_value(graph, name, channels);
    struct graph_node *node = graph_add_node(graph, op, name);
    memcpy(node->inputs, inputs, (size_t)count * sizeof *inputs);
    node->input_count = count;
    node->output = output;
    return output;
}

static inline int network_conv(struct graph *graph, const char *name, int input, int channels,
                               int kernel, uint64_t *seed)
{
    int64_t window = (int64_t)graph->values[input].channels * kernel * kernel;
    int output = network_node(graph, GRAPH_CONV, name, &input, 1, channels);
    struct graph_node *node = &graph->nodes[graph->node_count - 1];
    node->kernel_h = node->kernel_w = kernel;
    node->stride = 1;
    node->padding = kernel / 2;
    node->weight = network_constant(graph, window * channels, 1.5 / (double)window, seed);
    node->bias = network_constant(graph, channels, 0.3, seed);
    return output;
}

static inline int network_relu(struct graph *graph, const char *name, int input)
{
    return network_node(graph, GRAPH_RELU, name, &input, 1, graph->values[input].channels);
}

static inline int network_pool(struct graph *graph, const char *name, int input)
{
    int output =
        network_node(graph, GRAPH_MAX_POOL, name, &input, 1, graph->values[input].channels);
    struct graph_node *node = &graph->nodes[graph->node_count - 1];
    node->kernel_h = node->kernel_w = node->stride = 2;
    return output;
}

static inline int network_conv_transpose(struct graph *graph, const char *name, int input,
                                         int channels, uint64_t *seed)
{
    int64_t in = graph->values[input].channels;
    int output = network_node(graph, GRAPH_CONV_TRANSPOSE, name, &input, 1, channels);
    struct graph_node *node = &graph->nodes[graph->node_count - 1];
    node->kernel_h = node->kernel_w = node->stride = 2;
    node->weight = network_constant(graph, in * channels * 4, 1.5 / (double)in, seed);
    node->bias = network_constant(graph, channels, 0.3, seed);
    return output;
}

static inline int network_pair(struct graph *graph, enum graph_op op, const char *name, int first,
                               int second, int channels)
{
    return network_node(graph, op, name, (int[]){first, second}, 2, channels);
}

/* Down once, up once, with a skip: every operation that kernels have, and sources whose channels
 * are no multiple of a block. Raw: graph_optimize has not been called. */
static inline void network_hourglass(struct graph *graph, bool transposed, uint64_t seed)
{
    *graph = network_start(3);
    graph->architecture = "unet-bilinear";
    int wide =
        network_relu(graph, "relu1", network_conv(graph, "conv1", graph->input, 20, 3, &seed));
    int low = network_pool(graph, "pool", wide);
    low = network_relu(graph, "relu2", network_conv(graph, "conv2", low, 37, 3, &seed));
    int up = transposed ? network_conv_transpose(graph, "up", low, 18, &seed)
                        : network_node(graph, GRAPH_UPSAMPLE, "up", &low, 1, 37);
    int channels = graph->values[up].channels;
    up = network_pair(graph, GRAPH_PAD, "pad", up, wide, channels);
    int both = network_pair(graph, GRAPH_CONCAT, "concat", wide, up, 20 + channels);
    int last = network_relu(graph, "relu3", network_conv(graph, "conv3", both, 9, 3, &seed));
    graph->output = network_conv(graph, "out", last, 5, 1, &seed);
}

static inline void network_optimized(struct graph *graph, bool transposed, uint64_t seed)
{
    unet_error error;
    network_hourglass(graph, transposed, seed);
    assert_ok(graph_optimize(graph, &error), &error);
}

static inline struct engine_facts network_facts(void)
{
    return (struct engine_facts){.architecture = "unet-bilinear",
                                 .in_channels = 3,
                                 .classes = 5,
                                 .width = 20,
                                 .tuned_height = 40,
                                 .tuned_width = 48,
                                 .parameter_count = 12345,
                                 .preprocess = {.size = sizeof(unet_preprocess),
                                                .normalize = UNET_NORMALIZE_255,
                                                .scale = 1},
                                 .mask_value_count = 5,
                                 .mask_value_channels = 1,
                                 .mask_values = (const uint8_t *)"\0\x20\x40\x80\xff"};
}

/* An engine for the tier in force, its values of this type. Where the machine has no use for bf16
 * an engine of it opens in fp32. */
static inline unet_engine *network_engine_of(bool transposed, uint64_t seed, enum graph_type type)
{
    unet_error error;
    struct graph graph;
    struct plan plan;
    enum cpu_tier tier;
    unet_engine *engine = NULL;
    struct engine_facts facts = network_facts();
    network_optimized(&graph, transposed, seed);
    graph_set_type(&graph, type);
    assert_ok(graph_fuse_upsample(&graph, &error), &error);
    assert_ok(cpu_tier_allowed(&tier, &error), &error);
    assert_ok(plan_create(&graph, target_cpu(tier), NULL, NULL, &plan, &error), &error);
    assert_ok(engine_create(&graph, &plan, &facts, &engine, &error), &error);
    plan_clear(&plan);
    return engine;
}

static inline unet_engine *network_engine(bool transposed, uint64_t seed)
{
    return network_engine_of(transposed, seed, GRAPH_F32);
}

static inline float *network_input(size_t count, uint64_t seed)
{
    float *values = memory_alloc_array(count, sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = random_float(&seed, -1, 1);
    return values;
}

#endif
