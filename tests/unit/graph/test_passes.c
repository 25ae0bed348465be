/* Passes keep the function: the reference gives the same before and after. And they do their work:
 * what a U-Net must look like in the end. */
#include "graph/passes.h"

#include "checkpoint.h"
#include "graph/recognize.h"
#include "random_graph.h"

#define SEEDS 400

/* It finds nothing to do before pads are fused and concatenations elided. */
static unet_status optimize_and_fuse_upsample(struct graph *graph, unet_error *error)
{
    TRY(graph_optimize(graph, error));
    return graph_fuse_upsample(graph, error);
}

static const struct {
    const char *name;
    unet_status (*run)(struct graph *graph, unet_error *error);
} passes[] = {
    {"fold_batch_norm", graph_fold_batch_norm},
    {"fuse_relu", graph_fuse_relu},
    {"fuse_pad", graph_fuse_pad},
    {"elide_concat", graph_elide_concat},
    {"fuse_pool", graph_fuse_pool},
    {"fuse_head", graph_fuse_head},
    {"drop_dead", graph_drop_dead},
    {"optimize", graph_optimize},
    {"fuse_upsample", optimize_and_fuse_upsample},
};
#define PASSES (sizeof passes / sizeof passes[0])

struct census {
    int ops[GRAPH_OP_COUNT];
    int relus, pools, heads, pads, several, upsampled;
};

static struct census count_all(const struct graph *graph)
{
    struct census census = {0};
    for (int i = 0; i < graph->node_count; i++) {
        const struct graph_node *node = &graph->nodes[i];
        census.ops[node->op]++;
        census.relus += node->relu;
        census.pools += node->pooled != GRAPH_NONE;
        census.heads += node->head != GRAPH_NONE;
        census.pads += node->op != GRAPH_CONV && node->input_count == 2;
        census.several += node->op == GRAPH_CONV && node->input_count == 2;
        census.upsampled += node->upsampled > 0;
    }
    return census;
}

static void expect_equal(const struct graph *graph, const float *input, const float *expected,
                         size_t count, const char *what, uint64_t seed)
{
    size_t now;
    float *output = run_reference(graph, input, RANDOM_GRAPH_HEIGHT, RANDOM_GRAPH_WIDTH, &now);
    assert_int_equal(now, count);
    double bound = 2e-6 * (1 + largest_magnitude(expected, count));
    double difference = max_difference(output, expected, count);
    if (difference > bound)
        fail_msg("%s, seed %d: differs by %g", what, (int)seed, difference);
    free(output);
}

/* Each pass alone, then one after the other in a random order, then all. */
static void keep_the_function(void **state)
{
    (void)state;
    int worked[PASSES] = {0}, upsampled = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct graph graph;
        unet_error error;
        make_random_graph(seed, &graph);
        assert_ok(graph_check(&graph, &error), &error);
        size_t count;
        float *input = random_input(&graph, RANDOM_GRAPH_HEIGHT, RANDOM_GRAPH_WIDTH, seed);
        float *expected =
            run_reference(&graph, input, RANDOM_GRAPH_HEIGHT, RANDOM_GRAPH_WIDTH, &count);
        graph_drop_dead(&graph, &error);
        int live = graph.node_count;
        graph_clear(&graph);
        for (size_t p = 0; p < PASSES; p++) {
            make_random_graph(seed, &graph);
            assert_ok(passes[p].run(&graph, &error), &error);
            assert_ok(graph_check(&graph, &error), &error);
            worked[p] += graph.node_count < live;
            upsampled += count_all(&graph).upsampled > 0;
            expect_equal(&graph, input, expected, count, passes[p].name, seed);
            for (int i = 0; i < 4; i++) {
                const size_t next = (size_t)((seed >> i) * 5 + p * 3) % PASSES;
                assert_ok(passes[next].run(&graph, &error), &error);
            }
            assert_ok(graph_check(&graph, &error), &error);
            expect_equal(&graph, input, expected, count, "passes out of order", seed);
            graph_clear(&graph);
        }
        free(expected);
        free(input);
    }
    assert_true(upsampled >= SEEDS / 20);
    for (size_t p = 0; p < PASSES; p++) /* else the graphs above were not worth the while */
        if (strcmp(passes[p].name, "drop_dead") != 0)
            assert_true(worked[p] >= SEEDS / 20);
}

/* ---------------------------------------------------------------- the U-Nets in the end */

static void check_optimized(const struct graph *graph, const struct checkpoint *of)
{
    struct census census = count_all(graph);
    bool bilinear = of->variant == BILINEAR || of->variant == OLD_BILINEAR;
    int depth = of->depth, convs = 2 * (2 * depth + 1);
    assert_int_equal(census.ops[GRAPH_CONV], convs);
    assert_int_equal(census.ops[GRAPH_UPSAMPLE], bilinear ? depth : 0);
    assert_int_equal(census.ops[GRAPH_CONV_TRANSPOSE], bilinear ? 0 : depth);
    assert_int_equal(graph->node_count, convs + depth);
    assert_int_equal(census.relus, convs);
    assert_int_equal(census.pools, depth);
    assert_int_equal(census.heads, 1);
    assert_int_equal(census.pads, depth);
    assert_int_equal(census.several, depth);
    const struct graph_node *last = &graph->nodes[graph->node_count - 1];
    assert_int_equal(last->head, graph->output);
    assert_int_equal(last->output, GRAPH_NONE);
    assert_int_equal(last->head_weight.count, of->classes * of->width);
    /* The second convolution of each encoder level is stored for its skip, and pooled. */
    for (int level = 0; level < depth; level++) {
        const struct graph_node *second = &graph->nodes[2 * level + 1];
        assert_true(second->pooled != GRAPH_NONE && second->output != GRAPH_NONE);
        assert_int_equal(graph->nodes[2 * level + 2].inputs[0], second->pooled);
    }
    /* Input, and what 18 convolutions, 4 ups, 4 pools and the head write, less the wide tensor. */
    assert_int_equal(graph->value_count, 1 + convs + 2 * depth + 1 - 1);
}

/* The skip's channels come first in Pytorch-UNet, last in the brain network. */
static void check_concat_order(const struct graph *graph, const struct checkpoint *of)
{
    for (int i = 1; i < graph->node_count; i++) {
        const struct graph_node *node = &graph->nodes[i];
        if (node->op != GRAPH_CONV || node->input_count != 2)
            continue;
        const struct graph_node *up = &graph->nodes[i - 1];
        assert_int_equal(node->inputs[of->variant == BRAIN ? 0 : 1], up->output);
        assert_int_equal(node->inputs[of->variant == BRAIN ? 1 : 0], up->inputs[1]);
    }
}

/* Every decoder level of a bilinear U-Net, none of the others. */
static void check_upsampled(const struct graph *graph, const struct checkpoint *of)
{
    struct census census = count_all(graph);
    bool bilinear = of->variant == BILINEAR || of->variant == OLD_BILINEAR;
    assert_int_equal(census.upsampled, bilinear ? of->depth : 0);
    assert_int_equal(census.ops[GRAPH_UPSAMPLE], 0);
    assert_int_equal(census.several, of->depth);
}

static void check_function_kept(const struct graph *raw, const struct graph *optimized, int height,
                                int width)
{
    size_t count, again;
    float *input = random_input(raw, height, width, 3);
    float *a = run_reference(raw, input, height, width, &count);
    float *b = run_reference(optimized, input, height, width, &again);
    assert_int_equal(count, again);
    assert_true(max_difference(a, b, count) < 4e-6 * (1 + largest_magnitude(a, count)));
    free(b);
    free(a);
    free(input);
}

static void shape_every_u_net(void **state)
{
    (void)state;
    static const int sizes[][2] = {{64, 64}, {67, 93}, {64, 80}};
    for (int v = OLD_BILINEAR; v <= BRAIN; v++) {
        for (int depth = 2; depth <= 6; depth++) {
            struct checkpoint of = {(enum variant)v, depth, 2,     3,    3,
                                    depth % 2 == 0,  true,  false, NULL, false};
            struct tensor_set set;
            struct graph raw, optimized;
            unet_error error;
            make_checkpoint(&of, &set);
            assert_ok(graph_recognize(&set, &raw, NULL, &error), &error);
            assert_ok(graph_recognize(&set, &optimized, NULL, &error), &error);
            assert_ok(graph_optimize(&optimized, &error), &error);
            check_optimized(&optimized, &of);
            check_concat_order(&optimized, &of);
            check_function_kept(&raw, &optimized, sizes[depth % 3][0], sizes[depth % 3][1]);
            assert_ok(graph_fuse_upsample(&optimized, &error), &error);
            assert_ok(graph_check(&optimized, &error), &error);
            check_upsampled(&optimized, &of);
            check_function_kept(&raw, &optimized, sizes[depth % 3][0], sizes[depth % 3][1]);
            graph_clear(&optimized);
            graph_clear(&raw);
            tensor_set_clear(&set);
        }
    }
}

static void describe_what_is_fused(void **state)
{
    (void)state;
    struct checkpoint of = {TRANSPOSED, 2, 2, 1, 1, false, true, false, NULL, false};
    struct tensor_set set;
    struct graph graph;
    unet_error error;
    make_checkpoint(&of, &set);
    assert_ok(graph_recognize(&set, &graph, NULL, &error), &error);
    assert_ok(graph_optimize(&graph, &error), &error);
    const char *const expected[] = {"relu", "relu+pool", "relu",        "relu+pool",
                                    "relu", "relu",      "pad",         "concat+relu",
                                    "relu", "pad",       "concat+relu", "relu+head"};
    assert_int_equal(graph.node_count, 12);
    char text[64];
    for (int i = 0; i < 12; i++)
        assert_string_equal(graph_fused_text(&graph.nodes[i], text, sizeof text), expected[i]);
    assert_string_equal(graph_fused_text(&graph.nodes[1], text, 6), "relu+");
    graph_clear(&graph);
    tensor_set_clear(&set);
}

/* ---------------------------------------------------------------- what must stay */

/* input → conv → …; the caller hangs on what the test needs. */
static struct random_graph start(struct graph *graph)
{
    *graph = (struct graph){.architecture = "test", .normalize = UNET_NORMALIZE_255};
    struct random_graph r = {.graph = graph, .random = 5};
    graph->input = graph_add_value(graph, "input", 2);
    r.sizes[graph->input] = (struct graph_size){RANDOM_GRAPH_HEIGHT, RANDOM_GRAPH_WIDTH};
    return r;
}

static void expect_census(struct graph *graph, enum graph_op op, int count)
{
    unet_error error;
    size_t before, after;
    float *input = random_input(graph, RANDOM_GRAPH_HEIGHT, RANDOM_GRAPH_WIDTH, 1);
    float *expected = run_reference(graph, input, RANDOM_GRAPH_HEIGHT, RANDOM_GRAPH_WIDTH, &before);
    assert_ok(graph_optimize(graph, &error), &error);
    float *output = run_reference(graph, input, RANDOM_GRAPH_HEIGHT, RANDOM_GRAPH_WIDTH, &after);
    assert_int_equal(before, after);
    assert_true(max_difference(output, expected, after) < 1e-5);
    assert_int_equal(count_all(graph).ops[op], count);
    free(output);
    free(expected);
    free(input);
    graph_clear(graph);
}

static void leave_what_others_read(void **state)
{
    (void)state;
    struct graph graph;
    /* The raw convolution is the output as well as the norm's input. */
    struct random_graph r = start(&graph);
    int conv = add_conv(&r, graph.input, 3, 3, 1, 1, 4, 1);
    add_norm(&r, conv);
    graph.output = conv;
    expect_census(&graph, GRAPH_BATCH_NORM, 0); /* nobody read it */

    r = start(&graph);
    conv = add_conv(&r, graph.input, 3, 3, 1, 1, 4, 1);
    int relu = add_simple(&r, GRAPH_RELU, conv, r.sizes[conv]);
    int up = add_simple(&r, GRAPH_UPSAMPLE, conv, (struct graph_size){38, 52});
    int pad = add_pad(&r, up, relu);
    struct graph_node *concat = new_node(&r, GRAPH_CONCAT, pad, 12, r.sizes[conv]);
    concat->inputs[concat->input_count++] = relu;
    concat->inputs[concat->input_count++] = conv;
    graph.output = concat->output;
    expect_census(&graph, GRAPH_RELU, 1);
}

/* `like` is written between the up-sampling and its pad: the fused node must wait for it. */
static void pad_waits_for_like(void **state)
{
    (void)state;
    struct graph graph;
    struct random_graph r = start(&graph);
    int up = add_simple(&r, GRAPH_UPSAMPLE, graph.input, (struct graph_size){38, 52});
    int like = add_conv(&r, graph.input, 5, 5, 1, 0, 3, 1);
    graph.output = add_pad(&r, up, like);
    expect_census(&graph, GRAPH_PAD, 0);
}

/* The norm would shift the zeros around a padded result too: it stays a node of its own. */
static void norm_stays_behind_a_fused_pad(void **state)
{
    (void)state;
    struct graph graph;
    unet_error error;
    struct random_graph r = start(&graph);
    int like = add_simple(&r, GRAPH_UPSAMPLE, graph.input, (struct graph_size){38, 52});
    like = add_simple(&r, GRAPH_UPSAMPLE, like, (struct graph_size){76, 104});
    graph.output = add_norm(&r, add_pad(&r, add_transposed(&r, graph.input), like));
    assert_ok(graph_fuse_pad(&graph, &error), &error);
    assert_int_equal(count_all(&graph).ops[GRAPH_PAD], 0);
    expect_census(&graph, GRAPH_BATCH_NORM, 1);
}

/* What a second layer reads, what lies in another tensor's size, or first, and bf16 stay stored. */
static void keeps_other_upsampled_tensors(void **state)
{
    (void)state;
    for (int kind = 0; kind < 5; kind++) {
        struct graph graph;
        unet_error error;
        struct random_graph r = start(&graph);
        int like = add_conv(&r, graph.input, 3, 3, 1, 1, 4, 1);
        int other = add_conv(&r, graph.input, 3, 3, 1, 1, 4, 1);
        int low = add_conv(&r, add_pool(&r, like), 3, 3, 1, 1, 3, 1);
        struct graph_size twice = {2 * r.sizes[low].height, 2 * r.sizes[low].width};
        int up = add_pad(&r, add_simple(&r, GRAPH_UPSAMPLE, low, twice), kind == 1 ? other : like);
        int first = kind == 2 ? up : like, second = kind == 2 ? like : up;
        struct graph_node *concat = new_node(&r, GRAPH_CONCAT, first, 7, r.sizes[like]);
        concat->inputs[concat->input_count++] = second;
        int x = add_conv(&r, concat->output, 3, 3, 1, 1, 3, 1);
        if (kind == 3)
            x = add_pad(&r, up, x);
        graph.output = add_conv(&r, x, 3, 3, 1, 1, 2, 1);
        assert_ok(graph_optimize(&graph, &error), &error);
        graph_set_type(&graph, kind == 4 ? GRAPH_BF16 : GRAPH_F32);
        assert_ok(graph_fuse_upsample(&graph, &error), &error);
        assert_ok(graph_check(&graph, &error), &error);
        assert_int_equal(count_all(&graph).upsampled, kind == 0 ? 1 : 0);
        assert_int_equal(count_all(&graph).ops[GRAPH_UPSAMPLE], kind == 0 ? 0 : 1);
        graph_clear(&graph);
    }
}

/* A chain of `levels` concatenations of `each` further sources, read by one convolution. */
static int nest_concats(struct random_graph *r, int levels, int each)
{
    int x = add_conv(r, r->graph->input, 3, 3, 1, 1, 2, 1);
    for (int level = 0; level < levels; level++) {
        int sources[8];
        for (int k = 0; k < each; k++)
            sources[k] = add_conv(r, r->graph->input, 3, 3, 1, 1, 1, 1);
        int channels = r->graph->values[x].channels + each;
        struct graph_node *concat = new_node(r, GRAPH_CONCAT, x, channels, r->sizes[x]);
        for (int k = 0; k < each; k++)
            concat->inputs[concat->input_count++] = sources[k];
        x = concat->output;
    }
    return x;
}

static void elide_nested_concats(void **state)
{
    (void)state;
    const int expected[][3] = {{1, 7, 0}, {2, 3, 0}, {3, 2, 0}, {7, 1, 0}, {2, 4, 1}, {3, 3, 1}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        struct graph graph;
        struct random_graph r = start(&graph);
        int x = nest_concats(&r, expected[i][0], expected[i][1]);
        graph.output = add_conv(&r, x, 3, 3, 1, 1, 2, 1);
        expect_census(&graph, GRAPH_CONCAT, expected[i][2]);
    }
    /* Read by a convolution and by a pool that needs it stored. */
    struct graph graph;
    struct random_graph r = start(&graph);
    int x = nest_concats(&r, 1, 2);
    int conv = add_conv(&r, x, 3, 3, 1, 1, 2, 1);
    int pool = add_pool(&r, x);
    graph.output = new_node(&r, GRAPH_PAD, pool, 4, r.sizes[conv])->output;
    graph.nodes[graph.node_count - 1].inputs[1] = conv;
    graph.nodes[graph.node_count - 1].input_count = 2;
    expect_census(&graph, GRAPH_CONCAT, 1);
}

/* A 1×1 convolution that is not the last, or is not plain, is no head. */
static void head_is_the_output_only(void **state)
{
    (void)state;
    for (int kind = 0; kind < 5; kind++) {
        struct graph graph;
        unet_error error;
        struct random_graph r = start(&graph);
        int x = add_conv(&r, graph.input, 3, 3, 1, 1, 4, 1);
        int stride = kind == 1 ? 2 : 1, padding = kind == 2 ? 1 : 0;
        x = add_conv(&r, x, 1, 1, stride, padding, 3, 1);
        if (kind == 3)
            x = add_simple(&r, GRAPH_RELU, x, r.sizes[x]);
        if (kind == 4)
            x = add_conv(&r, x, 3, 3, 1, 1, 2, 1);
        graph.output = x;
        assert_ok(graph_optimize(&graph, &error), &error);
        assert_int_equal(count_all(&graph).heads, kind == 0 ? 1 : 0);
        graph_clear(&graph);
    }
}

/* Weights that overflow when folded are refused by name, not passed on as infinities. */
static void folding_may_not_overflow(void **state)
{
    (void)state;
    struct graph graph;
    unet_error error = {0};
    struct random_graph r = start(&graph);
    int conv = add_conv(&r, graph.input, 3, 3, 1, 1, 4, 1);
    graph.output = add_norm(&r, conv);
    graph.nodes[0].weight.data[5] = 1e30f;
    graph.nodes[1].weight.data[0] = 1e30f;
    assert_error(graph_optimize(&graph, &error), UNET_ERROR_MODEL, &error, "conv.0.weight");
    graph_clear(&graph);
}

static void survive_every_failed_allocation(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        unet_status status = UNET_ERROR_MEMORY;
        for (long failures = 0; status != UNET_OK; failures++) {
            struct graph graph;
            unet_error error = {0};
            make_random_graph(seed, &graph);
            memory_fail_after(failures);
            status = optimize_and_fuse_upsample(&graph, &error);
            memory_fail_after(-1);
            if (status != UNET_OK)
                assert_error(status, UNET_ERROR_MEMORY, &error, "out of memory");
            assert_true(status == UNET_OK || failures < 100);
            graph_clear(&graph);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keep_the_function),
        cmocka_unit_test(shape_every_u_net),
        cmocka_unit_test(describe_what_is_fused),
        cmocka_unit_test(keeps_other_upsampled_tensors),
        cmocka_unit_test(leave_what_others_read),
        cmocka_unit_test(pad_waits_for_like),
        cmocka_unit_test(norm_stays_behind_a_fused_pad),
        cmocka_unit_test(elide_nested_concats),
        cmocka_unit_test(head_is_the_output_only),
        cmocka_unit_test(folding_may_not_overflow),
        cmocka_unit_test(survive_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
