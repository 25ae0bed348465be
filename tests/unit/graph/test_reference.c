/* The oracle itself: each operation against numbers from PyTorch 2, and against plain formulas on
 * random shapes. test_pytorch.c runs whole networks.
 *
 * PyTorch's inputs were x[i] = ((37 i + 11) mod 64 − 32) / 16, weights ((29 i + 5) mod 32 − 16) /
 * 32 and biases ((13 i) mod 16 − 8) / 8: all exact in float32. */
#include "graph/reference.h"

#include <math.h>

#include "random_graph.h"

static float pattern(int64_t i, int factor, int offset, int modulus, int divisor)
{
    return (float)((i * factor + offset) % modulus - modulus / 2) / (float)divisor;
}

static struct graph_constant pattern_constant(struct graph *graph, int64_t count, bool bias)
{
    struct graph_constant constant = {
        arena_alloc_array(&graph->arena, (size_t)count, sizeof(float)), count};
    assert_non_null(constant.data);
    for (int64_t i = 0; i < count; i++)
        constant.data[i] = bias ? pattern(i, 13, 0, 16, 8) : pattern(i, 29, 5, 32, 32);
    return constant;
}

/* A graph of one node; the caller fills in what the op needs. */
static struct graph_node *single(struct graph *graph, enum graph_op op, int channels,
                                 int out_channels)
{
    *graph = (struct graph){.architecture = "test", .normalize = UNET_NORMALIZE_255};
    graph->input = graph_add_value(graph, "input", channels);
    graph->output = graph_add_value(graph, "output", out_channels);
    struct graph_node *node = graph_add_node(graph, op, "node");
    assert_non_null(node);
    node->inputs[0] = graph->input;
    node->input_count = 1;
    node->output = graph->output;
    return node;
}

static void expect(struct graph *graph, int height, int width, const float *expected, size_t count)
{
    unet_error error;
    float input[256];
    size_t inputs = (size_t)graph->values[graph->input].channels * (size_t)(height * width), got;
    assert_true(inputs <= 256);
    for (size_t i = 0; i < inputs; i++)
        input[i] = pattern((int64_t)i, 37, 11, 64, 16);
    assert_ok(graph_check(graph, &error), &error);
    float *output = run_reference(graph, input, height, width, &got);
    assert_int_equal(got, count);
    if (max_difference(output, expected, count) > 3e-7)
        fail_msg("%s differs by %g", graph_op_name(graph->nodes[0].op),
                 max_difference(output, expected, count));
    free(output);
    graph_clear(graph);
}

#define EXPECT(graph, height, width, ...)                                                          \
    expect(graph, height, width, (const float[]){__VA_ARGS__},                                     \
           sizeof((const float[]){__VA_ARGS__}) / sizeof(float))

static void convolves_as_pytorch(void **state)
{
    (void)state;
    struct graph graph;
    struct graph_node *node = single(&graph, GRAPH_CONV, 2, 2);
    node->kernel_h = 5;
    node->kernel_w = 3;
    node->stride = 2;
    node->padding = 1;
    node->weight = pattern_constant(&graph, 60, false);
    node->bias = pattern_constant(&graph, 2, true);
    EXPECT(&graph, 5, 4, -0.765625f, -1.390625f, -0.46875f, 0.03125f, 1.765625f, -2.359375f, 0.5f,
           4.0f);
}

static void convolves_transposed_as_pytorch(void **state)
{
    (void)state;
    struct graph graph;
    struct graph_node *node = single(&graph, GRAPH_CONV_TRANSPOSE, 2, 3);
    node->kernel_h = node->kernel_w = node->stride = 2;
    node->weight = pattern_constant(&graph, 24, false);
    node->bias = pattern_constant(&graph, 3, true);
    EXPECT(&graph, 2, 1, -0.2265625f, -0.7265625f, -1.8515625f, -1.6640625f, -2.10546875f,
           -0.7265625f, 0.02734375f, -0.21875f, 0.1484375f, 0.3359375f, 0.5234375f, 0.7109375f,
           1.16015625f, 0.9140625f, 0.66796875f, 0.421875f, 0.5234375f, 0.7109375f, 0.8984375f,
           1.0859375f, -0.19921875f, -0.4453125f, -0.69140625f, -0.9375f);
    node = single(&graph, GRAPH_CONV_TRANSPOSE, 2, 2);
    node->kernel_h = node->kernel_w = node->stride = 3;
    node->weight = pattern_constant(&graph, 36, false);
    EXPECT(&graph, 1, 1, 0.419921875f, 0.44921875f, -0.833984375f, -0.8046875f, -0.775390625f,
           -0.74609375f, 0.283203125f, 0.3125f, 0.341796875f, 0.37109375f, 0.400390625f, 0.4296875f,
           0.458984375f, -0.82421875f, -0.794921875f, -0.765625f, 0.263671875f, 0.29296875f);
}

static void upsamples_as_pytorch(void **state)
{
    (void)state;
    struct graph graph;
    single(&graph, GRAPH_UPSAMPLE, 1, 1);
    EXPECT(&graph, 3, 2, -1.3125f, -0.541666627f, 0.229166716f, 1.0f, -1.0625f, -0.291666657f,
           0.479166716f, 1.25f, -0.8125f, -0.0416666083f, 0.729166746f, 1.5f, -0.56249994f,
           -0.0583333224f, 0.445833266f, 0.949999869f, -0.31249997f, -0.341666669f, -0.370833397f,
           -0.400000066f, -0.0625f, -0.62500006f, -1.18750012f, -1.75f);
    /* One row: both of its copies are equal. */
    single(&graph, GRAPH_UPSAMPLE, 2, 2);
    EXPECT(&graph, 1, 3, -1.3125f, -0.387500018f, 0.537500024f, 0.662499905f, -0.0125000477f,
           -0.6875f, -1.3125f, -0.387500018f, 0.537500024f, 0.662499905f, -0.0125000477f, -0.6875f,
           1.625f, 0.950000048f, 0.274999976f, -0.400000095f, -1.07500005f, -1.75f, 1.625f,
           0.950000048f, 0.274999976f, -0.400000095f, -1.07500005f, -1.75f);
}

static void pools_as_pytorch(void **state)
{
    (void)state;
    struct graph graph;
    struct graph_node *node = single(&graph, GRAPH_MAX_POOL, 1, 1);
    node->kernel_h = node->kernel_w = node->stride = 2;
    EXPECT(&graph, 5, 5, 1.0f, 1.625f, 1.8125f, 0.75f);
    node = single(&graph, GRAPH_MAX_POOL, 1, 1);
    node->kernel_h = node->kernel_w = node->stride = 3;
    EXPECT(&graph, 7, 6, 1.1875f, 1.8125f, 0.9375f, 1.75f);
}

/* Pads x to the size of a strided convolution of it, whose numbers do not matter. */
static void add_like(struct graph *graph, int kernel_h, int kernel_w, int padding)
{
    struct graph_node like = *single(graph, GRAPH_CONV, 1, 1);
    like.kernel_h = kernel_h;
    like.kernel_w = kernel_w;
    like.stride = 1;
    like.padding = padding;
    like.weight = pattern_constant(graph, (int64_t)kernel_h * kernel_w, false);
    graph->nodes[0] = like;
    graph->output = graph_add_value(graph, "padded", 1);
    struct graph_node *pad = graph_add_node(graph, GRAPH_PAD, "pad");
    assert_non_null(pad);
    pad->inputs[0] = graph->input;
    pad->inputs[1] = like.output;
    pad->input_count = 2;
    pad->output = graph->output;
}

static void pads_and_crops_as_pytorch(void **state)
{
    (void)state;
    struct graph graph;
    add_like(&graph, 2, 8, 2); /* 3×5 → 6×2 */
    EXPECT(&graph, 3, 5, 0, 0, -0.6875f, 1.625f, -1.125f, 1.1875f, -1.5625f, 0.75f, 0, 0, 0, 0);
    add_like(&graph, 2, 3, 2); /* 2×2 → 5×4 */
    EXPECT(&graph, 2, 2, 0, 0, 0, 0, 0, -1.3125f, 1.0f, 0, 0, -0.6875f, 1.625f, 0, 0, 0, 0, 0, 0, 0,
           0, 0);
}

/* ---------------------------------------------------------------- plain formulas */

/* The definition of a convolution, one output at a time, with every bound tested. */
static double conv_at(const struct graph_node *node, const float *x, int channels, int height,
                      int width, int o, int oy, int ox)
{
    double sum = node->bias.data != NULL ? node->bias.data[o] : 0;
    for (int c = 0; c < channels; c++)
        for (int ky = 0; ky < node->kernel_h; ky++)
            for (int kx = 0; kx < node->kernel_w; kx++) {
                int iy = oy * node->stride - node->padding + ky;
                int ix = ox * node->stride - node->padding + kx;
                if (iy < 0 || iy >= height || ix < 0 || ix >= width)
                    continue;
                int64_t at = ((int64_t)(o * channels + c) * node->kernel_h + ky) * node->kernel_w;
                sum += (double)node->weight.data[at + kx] * x[(c * height + iy) * width + ix];
            }
    return sum;
}

static void convolves_any_shape(void **state)
{
    (void)state;
    uint64_t random = 11;
    for (int round = 0; round < 300; round++) {
        struct graph graph;
        struct random_graph r = {.graph = &graph, .random = random_next(&random)};
        graph = (struct graph){.architecture = "test", .normalize = UNET_NORMALIZE_255};
        int height = 1 + pick(&r, 12), width = 1 + pick(&r, 12), channels = 1 + pick(&r, 4);
        graph.input = graph_add_value(&graph, "input", channels);
        r.sizes[graph.input] = (struct graph_size){height, width};
        int kh = 1 + pick(&r, 7), kw = 1 + pick(&r, 7), stride = 1 + pick(&r, 4);
        int padding = pick(&r, 6), out_channels = 1 + pick(&r, 4);
        graph.output = add_conv(&r, graph.input, kh, kw, stride, padding, out_channels, 1);
        if (graph.node_count == 0) { /* the kernel was larger than the padded input */
            graph_clear(&graph);
            continue;
        }
        struct graph_node *node = &graph.nodes[0];
        node->relu = round % 2 == 0;
        size_t count;
        float *input = random_input(&graph, height, width, random);
        float *output = run_reference(&graph, input, height, width, &count);
        struct graph_size size = r.sizes[graph.output];
        for (size_t i = 0; i < count; i++) {
            int ox = (int)i % size.width, oy = (int)i / size.width % size.height;
            double due = conv_at(node, input, channels, height, width,
                                 (int)i / size.width / size.height, oy, ox);
            if (node->relu && due < 0)
                due = 0;
            assert_true(fabs(due - output[i]) < 1e-6);
        }
        free(output);
        free(input);
        graph_clear(&graph);
    }
}

/* What passes fuse, put together by hand and compared with the same apart. */
static void fused_parts_equal_separate_nodes(void **state)
{
    (void)state;
    struct graph graph;
    struct random_graph r = {.graph = &graph, .random = 3};
    graph = (struct graph){.architecture = "test", .normalize = UNET_NORMALIZE_255};
    graph.input = graph_add_value(&graph, "input", 2);
    r.sizes[graph.input] = (struct graph_size){9, 7};
    int y = add_conv(&r, graph.input, 3, 3, 1, 1, 5, 1);
    int relu = add_simple(&r, GRAPH_RELU, y, r.sizes[y]);
    int head = add_conv(&r, relu, 1, 1, 1, 0, 3, 1);
    int pooled = add_simple(&r, GRAPH_MAX_POOL, relu, (struct graph_size){4, 3});
    struct graph_node *pool = &graph.nodes[graph.node_count - 1];
    pool->kernel_h = pool->kernel_w = pool->stride = 2;
    float *input = random_input(&graph, 9, 7, 4);
    const int wanted[] = {relu, head, pooled};
    float *separate[3], *fused;
    size_t counts[3], count;
    for (int i = 0; i < 3; i++) {
        graph.output = wanted[i];
        separate[i] = run_reference(&graph, input, 9, 7, &counts[i]);
    }
    struct graph_node *conv = &graph.nodes[0];
    conv->relu = true;
    conv->pooled = pooled;
    conv->head = head;
    conv->head_weight = graph.nodes[2].weight;
    conv->head_bias = graph.nodes[2].bias;
    graph.node_count = 1;
    for (int i = 0; i < 3; i++) {
        conv->output = i == 0 ? relu : GRAPH_NONE; /* stored only where it is wanted */
        graph.output = wanted[i];
        fused = run_reference(&graph, input, 9, 7, &count);
        assert_int_equal(count, counts[i]);
        assert_memory_equal(fused, separate[i], count * sizeof *fused);
        free(fused);
        free(separate[i]);
    }
    free(input);
    graph_clear(&graph);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct graph graph;
        size_t count;
        make_random_graph(seed, &graph);
        float *input = random_input(&graph, RANDOM_GRAPH_HEIGHT, RANDOM_GRAPH_WIDTH, 1);
        float *output =
            run_reference(&graph, input, RANDOM_GRAPH_HEIGHT, RANDOM_GRAPH_WIDTH, &count);
        unet_status status = UNET_ERROR_MEMORY;
        for (long failures = 0; status != UNET_OK; failures++) {
            unet_error error = {0};
            memory_fail_after(failures);
            status = graph_reference_run(&graph, input, RANDOM_GRAPH_HEIGHT, RANDOM_GRAPH_WIDTH,
                                         output, &error);
            memory_fail_after(-1);
            if (status != UNET_OK)
                assert_error(status, UNET_ERROR_MEMORY, &error, "out of memory");
        }
        free(output);
        free(input);
        graph_clear(&graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolves_as_pytorch),
        cmocka_unit_test(convolves_transposed_as_pytorch),
        cmocka_unit_test(upsamples_as_pytorch),
        cmocka_unit_test(pools_as_pytorch),
        cmocka_unit_test(pads_and_crops_as_pytorch),
        cmocka_unit_test(convolves_any_shape),
        cmocka_unit_test(fused_parts_equal_separate_nodes),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
