/* Building, sizes, and the check that untrusted graphs must pass. */
#include "graph/graph.h"

#include <limits.h>
#include <math.h>

#include "graph/passes.h"
#include "random_graph.h"

/* input → conv 3×3 (relu, pool, head) → …: everything that a check can find fault with. */
static void make_sample(struct graph *graph)
{
    *graph = (struct graph){.architecture = "sample", .normalize = UNET_NORMALIZE_255};
    struct random_graph r = {.graph = graph, .random = 9};
    graph->input = graph_add_value(graph, "input", 2);
    r.sizes[graph->input] = (struct graph_size){16, 16};
    int x = add_conv(&r, graph->input, 3, 3, 1, 1, 4, 1);
    graph->nodes[0].relu = true;
    int pooled = graph->nodes[0].pooled = graph_add_value(graph, "pooled", 4);
    r.sizes[pooled] = (struct graph_size){8, 8};
    int up = add_transposed(&r, add_norm(&r, pooled));
    struct graph_node *node = &graph->nodes[graph->node_count - 1];
    node->inputs[node->input_count++] = x; /* node 2, with like */
    r.sizes[up] = (struct graph_size){16, 16};
    up = add_simple(&r, GRAPH_RELU, up, r.sizes[up]);
    struct graph_node *concat = new_node(&r, GRAPH_CONCAT, up, 0, r.sizes[x]);
    concat->inputs[concat->input_count++] = x;
    graph->values[concat->output].channels = 4 + graph->values[up].channels; /* node 4 */
    x = add_conv(&r, concat->output, 3, 3, 1, 1, 3, 1);                      /* node 5 */
    node = &graph->nodes[graph->node_count - 1];
    node->head = graph->output = graph_add_value(graph, "head", 2);
    node->head_weight = random_constant(graph, &r.random, 6, -1, 1);
    node->head_bias = random_constant(graph, &r.random, 2, -1, 1);
    graph_add_node(graph, GRAPH_UPSAMPLE, "up"); /* node 6: nobody reads it */
    node = &graph->nodes[graph->node_count - 1];
    node->inputs[node->input_count++] = x;
    node->output = graph_add_value(graph, "upped", 3);
}

static void accepts_a_sound_graph(void **state)
{
    (void)state;
    struct graph graph;
    unet_error error;
    make_sample(&graph);
    assert_ok(graph_check(&graph, &error), &error);
    assert_ok(graph_check_structure(&graph, &error), &error);
    graph_clear(&graph);
    graph_clear(NULL);
}

/* Spoils one thing; the message must say the part. Constants' values are graph_check's alone. */
#define REFUSED(part, spoil)                                                                       \
    do {                                                                                           \
        struct graph graph;                                                                        \
        unet_error error = {0};                                                                    \
        make_sample(&graph);                                                                       \
        struct graph_node *nodes = graph.nodes;                                                    \
        (void)nodes;                                                                               \
        spoil;                                                                                     \
        assert_error(graph_check(&graph, &error), UNET_ERROR_MODEL, &error, part);                 \
        assert_error(graph_check_structure(&graph, &error), UNET_ERROR_MODEL, &error, part);       \
        graph_clear(&graph);                                                                       \
    } while (0)

static void refuses_a_bad_frame(void **state)
{
    (void)state;
    REFUSED("0 nodes", graph.node_count = 0);
    REFUSED("nodes", graph.node_count = GRAPH_MAX_NODES + 1);
    REFUSED("nodes", graph.nodes = NULL);
    REFUSED("values", graph.value_count = -1);
    REFUSED("values", graph.values = NULL);
    REFUSED("input", graph.input = graph.value_count);
    REFUSED("output", graph.output = GRAPH_NONE);
    REFUSED("output", graph.output = graph.input);
    REFUSED("architecture", graph.architecture = NULL);
    REFUSED("normalisation", graph.normalize = UNET_NORMALIZE_DEFAULT);
    REFUSED("normalisation", graph.normalize = (unet_normalize)77);
    REFUSED("value 2", graph.values[2].name = NULL);
    REFUSED("value 2", graph.values[2].channels = 0);
    REFUSED("value 2", graph.values[2].channels = GRAPH_MAX_CHANNELS + 1);
    REFUSED("no node writes", graph_add_value(&graph, "orphan", 1));
}

static void refuses_a_bad_form(void **state)
{
    (void)state;
    REFUSED("node 3", nodes[3].name = NULL);
    REFUSED("operation", nodes[3].op = GRAPH_OP_COUNT);
    REFUSED("operation", nodes[3].op = (enum graph_op) - 1);
    REFUSED("reads 1 to 8", nodes[0].input_count = 0);
    REFUSED("reads 1 to 8", nodes[4].input_count = 9);
    REFUSED("reads 1 to 2", nodes[2].input_count = 3);
    REFUSED("reads 2 to 2", nodes[3].op = GRAPH_PAD);
    REFUSED("kernel", nodes[0].kernel_h = 0);
    REFUSED("kernel", nodes[0].kernel_w = GRAPH_MAX_KERNEL + 1);
    REFUSED("stride", nodes[0].stride = 0);
    REFUSED("padding", nodes[0].padding = -1);
    REFUSED("kernel = stride", nodes[2].stride = 1);
    REFUSED("kernel = stride", nodes[2].padding = 1);
    REFUSED("only a convolution", nodes[2].relu = true);
    REFUSED("only a convolution", nodes[3].pooled = nodes[3].output);
    REFUSED("only a convolution", nodes[3].head = nodes[3].output);
    REFUSED("up-samples its input 1", nodes[0].upsampled = 1);
    REFUSED("up-samples its input -1", nodes[0].upsampled = -1);
    REFUSED("up-samples its input 1", nodes[2].upsampled = 1);
    REFUSED("writes nothing", nodes[6].output = GRAPH_NONE);
}

static void refuses_a_bad_order(void **state)
{
    (void)state;
    REFUSED("not written before", nodes[0].inputs[0] = nodes[0].output);
    REFUSED("not written before", nodes[0].inputs[0] = nodes[5].output);
    REFUSED("not written before", nodes[4].inputs[1] = -1);
    REFUSED("not written before", nodes[4].inputs[1] = graph.value_count);
    REFUSED("written before", nodes[6].output = nodes[5].output);
    REFUSED("written before", nodes[0].pooled = nodes[0].output);
    REFUSED("written before", nodes[0].output = graph.input);
    REFUSED("writes value", nodes[0].output = graph.value_count);
    REFUSED("writes value", nodes[0].output = -2);
}

static void refuses_bad_shapes(void **state)
{
    (void)state;
    REFUSED("weight", nodes[0].weight.count--);
    REFUSED("weight", nodes[0].weight.count = 0);
    REFUSED("weight", nodes[0].weight.count = INT64_MIN);
    REFUSED("weight", nodes[0].weight.count = INT64_MAX);
    REFUSED("weight", nodes[0].weight.data = NULL);
    REFUSED("kernel", nodes[0].kernel_h = 2147483647);
    REFUSED("result", graph.values[nodes[0].output].channels++);
    REFUSED("pooled result", graph.values[nodes[0].pooled].channels++);
    REFUSED("head.weight", nodes[5].head_weight.count++);
    REFUSED("head.bias", nodes[5].head_bias.count++);
    REFUSED("head.weight", graph.values[nodes[5].head].channels++);
    REFUSED("no head", nodes[5].head = GRAPH_NONE);
    REFUSED("no head", nodes[4].head_weight = nodes[5].head_weight);
    REFUSED("scale", nodes[1].weight.count--);
    REFUSED("shift", nodes[1].bias.data = NULL);
    REFUSED("has no weights", nodes[3].bias = nodes[1].bias);
    REFUSED("result", graph.values[nodes[4].output].channels++);
    REFUSED("result", graph.values[nodes[6].output].channels--);
}

static void refuses_constants_that_are_not_finite(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct graph graph;
        unet_error error = {0};
        make_sample(&graph);
        struct graph_constant *constants[] = {&graph.nodes[0].weight, &graph.nodes[1].bias,
                                              &graph.nodes[5].head_weight,
                                              &graph.nodes[5].head_bias};
        const char *const parts[] = {".weight", ".shift", ".head.weight", ".head.bias"};
        constants[kind]->data[constants[kind]->count - 1] = kind % 2 == 0 ? NAN : -INFINITY;
        assert_error(graph_check(&graph, &error), UNET_ERROR_MODEL, &error, parts[kind]);
        assert_ok(graph_check_structure(&graph, &error), &error);
        graph_clear(&graph);
    }
}

static void failed_allocations_are_told(void **state)
{
    (void)state;
    struct graph graph, none = {0};
    unet_error error = {0};
    make_sample(&graph);
    memory_fail_after(0);
    unet_status status = graph_check(&graph, &error);
    int value = graph_add_value(&none, "x", 1);
    struct graph_node *node = graph_add_node(&none, GRAPH_RELU, "x");
    memory_fail_after(-1);
    assert_error(status, UNET_ERROR_MEMORY, &error, "out of memory");
    assert_int_equal(value, GRAPH_NONE);
    assert_null(node);
    assert_int_equal(none.value_count + none.node_count, 0);
    graph_clear(&none);
    graph_clear(&graph);
}

/* ---------------------------------------------------------------- sizes */

static void infers_sizes(void **state)
{
    (void)state;
    struct graph graph;
    unet_error error;
    struct graph_size sizes[16];
    make_sample(&graph);
    graph.nodes[2].kernel_h = graph.nodes[2].kernel_w = graph.nodes[2].stride;
    assert_true(graph.value_count <= 16);
    assert_ok(graph_infer(&graph, 11, 6, sizes, &error), &error);
    const struct graph_node *nodes = graph.nodes;
    const int expected[][3] = {{nodes[0].output, 11, 6}, {nodes[0].pooled, 5, 3},
                               {nodes[1].output, 5, 3},  {nodes[2].output, 11, 6},
                               {nodes[4].output, 11, 6}, {nodes[5].head, 11, 6},
                               {nodes[6].output, 22, 12}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_int_equal(sizes[expected[i][0]].height, expected[i][1]);
        assert_int_equal(sizes[expected[i][0]].width, expected[i][2]);
    }
    /* 3×3×2→4 and 1×1 weights over 66 pixels; the transposed one over 15. */
    assert_true(graph_node_macs(&graph, &nodes[0], sizes) == 72.0 * 66);
    assert_true(graph_node_macs(&graph, &nodes[2], sizes) == (double)nodes[2].weight.count * 15);
    assert_true(graph_node_macs(&graph, &nodes[5], sizes) ==
                ((double)nodes[5].weight.count + 6) * 66);
    assert_true(graph_node_macs(&graph, &nodes[3], sizes) == 0);
    assert_int_equal(graph_node_channels(&graph, &nodes[5]), 3);
    assert_int_equal(graph_node_channels(&graph, &nodes[2]),
                     graph.values[nodes[2].output].channels);
    graph_clear(&graph);
}

static void names_the_least_size(void **state)
{
    (void)state;
    for (int depth = 1; depth <= 6; depth++) {
        struct graph graph = {.architecture = "test", .normalize = UNET_NORMALIZE_255};
        struct random_graph r = {.graph = &graph, .random = 2};
        struct graph_size sizes[16];
        unet_error error = {0};
        char least[16], name[16];
        int x = graph.input = graph_add_value(&graph, "input", 1);
        for (int i = 0; i < depth; i++) {
            x = add_simple(&r, GRAPH_MAX_POOL, x, (struct graph_size){1, 1});
            struct graph_node *node = &graph.nodes[i];
            node->kernel_h = node->kernel_w = node->stride = 2;
        }
        graph.output = x;
        int side = 1 << depth;
        assert_ok(graph_infer(&graph, side, side, sizes, &error), &error);
        snprintf(least, sizeof least, "at least %d", side);
        snprintf(name, sizeof name, "max_pool.%d", depth - 1);
        for (int i = 0; i < 3; i++) {
            int height = i == 1 ? side : side - 1, width = i == 2 ? side : side - 1;
            unet_status status = graph_infer(&graph, height, width, sizes, &error);
            assert_error(status, UNET_ERROR_USAGE, &error, least);
            assert_error(status, UNET_ERROR_USAGE, &error, name);
        }
        graph_clear(&graph);
    }
}

static void names_the_least_size_of_a_fused_pool(void **state)
{
    (void)state;
    struct graph graph;
    struct graph_size sizes[16];
    unet_error error = {0};
    make_sample(&graph);
    unet_status status = graph_infer(&graph, 16, 1, sizes, &error);
    assert_error(status, UNET_ERROR_USAGE, &error, "1×16 is too small: conv.0 would be empty");
    assert_error(status, UNET_ERROR_USAGE, &error, "at least 2");
    assert_ok(graph_infer(&graph, 2, 2, sizes, &error), &error);
    graph_clear(&graph);
}

static void refuses_sizes_beyond_all(void **state)
{
    (void)state;
    struct graph graph;
    struct graph_size sizes[64];
    unet_error error = {0};
    make_sample(&graph);
    static const int bad[][2] = {{0, 5}, {5, 0}, {-1, 5}, {INT_MAX, 5}, {5, GRAPH_MAX_SIDE + 1}};
    for (int i = 0; i < 5; i++)
        assert_error(graph_infer(&graph, bad[i][0], bad[i][1], sizes, &error), UNET_ERROR_USAGE,
                     &error, "cannot be");
    graph_clear(&graph);

    graph = (struct graph){.architecture = "test", .normalize = UNET_NORMALIZE_255};
    struct random_graph r = {.graph = &graph};
    int x = graph.input = graph_add_value(&graph, "input", 1);
    for (int i = 0; i < 40; i++)
        x = add_simple(&r, GRAPH_UPSAMPLE, x, (struct graph_size){1, 1});
    graph.output = x;
    assert_ok(graph_check(&graph, &error), &error);
    assert_error(graph_infer(&graph, 1, 1, sizes, &error), UNET_ERROR_USAGE, &error,
                 "upsample.20 would go beyond");
    graph_clear(&graph);
}

static void names_sources_that_contradict(void **state)
{
    (void)state;
    struct graph graph = {.architecture = "test", .normalize = UNET_NORMALIZE_255};
    struct random_graph r = {.graph = &graph, .random = 2};
    struct graph_size sizes[8];
    unet_error error = {0};
    graph.input = graph_add_value(&graph, "input", 1);
    r.sizes[graph.input] = (struct graph_size){8, 8};
    int up = add_simple(&r, GRAPH_UPSAMPLE, graph.input, (struct graph_size){16, 16});
    struct graph_node *concat =
        new_node(&r, GRAPH_CONCAT, graph.input, 2, (struct graph_size){8, 8});
    concat->inputs[concat->input_count++] = up;
    graph.output = concat->output;
    assert_error(graph_infer(&graph, 8, 9, sizes, &error), UNET_ERROR_MODEL, &error,
                 "concat.1: its sources differ in size, 9×8 and 18×16");
    graph_clear(&graph);
}

static void names_every_operation(void **state)
{
    (void)state;
    for (int op = 0; op < GRAPH_OP_COUNT; op++) {
        assert_true(strlen(graph_op_name((enum graph_op)op)) >= 3);
        for (int other = 0; other < op; other++)
            assert_string_not_equal(graph_op_name((enum graph_op)op),
                                    graph_op_name((enum graph_op)other));
    }
    assert_string_equal(graph_op_name(GRAPH_OP_COUNT), "unknown");
}

/* ---------------------------------------------------------------- damaged graphs */

static int odd_number(struct random_graph *r, int plausible)
{
    static const int odd[] = {-1, 0, 1, 2, 3, 8, 9, INT_MAX, INT_MIN, 65536};
    switch (pick(r, 3)) {
    case 0:
        return odd[pick(r, 10)];
    case 1:
        return (int)(random_next(&r->random) >> 33);
    default:
        return pick(r, plausible + 1);
    }
}

static void damage_node(struct random_graph *r, struct graph_node *node)
{
    struct graph_constant *constants[] = {&node->weight, &node->bias, &node->head_weight,
                                          &node->head_bias};
    int *fields[] = {&node->output,    &node->pooled,    &node->head,      &node->input_count,
                     &node->kernel_h,  &node->kernel_w,  &node->stride,    &node->padding,
                     &node->inputs[0], &node->inputs[1], &node->inputs[2], &node->upsampled};
    int which = pick(r, 17);
    if (which < 12)
        *fields[which] = odd_number(r, r->graph->value_count);
    else if (which == 12)
        node->op = (enum graph_op)odd_number(r, GRAPH_OP_COUNT);
    else if (which == 13)
        node->relu = !node->relu;
    else if (pick(r, 2) == 0) /* never more values than there are: a reader checks that */
        constants[which % 4]->count = odd_number(r, 3) & ~INT_MAX;
    else
        *constants[which % 4] = (struct graph_constant){0};
}

static void damage(struct random_graph *r)
{
    struct graph *graph = r->graph;
    int *fields[] = {&graph->input, &graph->output, &graph->values[pick(r, 4)].channels};
    int which = pick(r, 8);
    if (which < 3)
        *fields[which] = odd_number(r, graph->value_count);
    else
        damage_node(r, &graph->nodes[pick(r, graph->node_count)]);
}

static bool is_small(const struct graph *graph, const struct graph_size *sizes)
{
    double work = 0;
    for (int i = 0; i < graph->node_count; i++)
        work += graph_node_macs(graph, &graph->nodes[i], sizes);
    for (int i = 0; i < graph->value_count; i++)
        work += (double)graph->values[i].channels * sizes[i].height * sizes[i].width;
    return work < 3e6;
}

/* What the check lets through can be inferred, run, optimised and described. True if it ran. */
static bool use(struct graph *graph, int height, int width)
{
    unet_error error = {0};
    char text[64];
    if (graph_check(graph, &error) != UNET_OK) {
        assert_true(error.message[0] != '\0');
        return false;
    }
    struct graph_size *sizes = calloc((size_t)graph->value_count, sizeof *sizes);
    assert_non_null(sizes);
    bool runs = graph_infer(graph, height, width, sizes, &error) == UNET_OK;
    runs = runs && is_small(graph, sizes);
    free(sizes);
    for (int i = 0; i < graph->node_count; i++)
        graph_fused_text(&graph->nodes[i], text, sizeof text);
    if (!runs)
        return false;
    size_t count;
    float *input = random_input(graph, height, width, 1);
    free(run_reference(graph, input, height, width, &count));
    unet_status status = graph_optimize(graph, &error);
    assert_true(status == UNET_OK || status == UNET_ERROR_MODEL);
    if (status == UNET_OK)
        free(run_reference(graph, input, height, width, &count));
    free(input);
    return true;
}

static void damaged_graphs_do_no_harm(void **state)
{
    (void)state;
    int ran = 0, rounds = 20000;
    for (int round = 0; round < rounds; round++) {
        struct graph graph;
        unet_error error;
        make_random_graph((uint64_t)round % 97, &graph);
        if (round % 3 == 0)
            assert_ok(graph_optimize(&graph, &error), &error);
        struct random_graph r = {.graph = &graph, .random = (uint64_t)round + 1};
        for (int i = 0; i < 20; i++)
            random_next(&r.random);
        for (int times = 1 + pick(&r, 2); times > 0; times--)
            damage(&r);
        bool same = pick(&r, 2) == 0;
        ran += use(&graph, same ? RANDOM_GRAPH_HEIGHT : 1 + pick(&r, 30),
                   same ? RANDOM_GRAPH_WIDTH : 1 + pick(&r, 30));
        graph_clear(&graph);
    }
    assert_true(ran > rounds / 50 && ran < rounds); /* both ways were taken */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_a_sound_graph),
        cmocka_unit_test(refuses_a_bad_frame),
        cmocka_unit_test(refuses_a_bad_form),
        cmocka_unit_test(refuses_a_bad_order),
        cmocka_unit_test(refuses_bad_shapes),
        cmocka_unit_test(refuses_constants_that_are_not_finite),
        cmocka_unit_test(failed_allocations_are_told),
        cmocka_unit_test(infers_sizes),
        cmocka_unit_test(names_the_least_size),
        cmocka_unit_test(names_the_least_size_of_a_fused_pool),
        cmocka_unit_test(refuses_sizes_beyond_all),
        cmocka_unit_test(names_sources_that_contradict),
        cmocka_unit_test(names_every_operation),
        cmocka_unit_test(damaged_graphs_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
