/* graph/precision.c: which values become bf16, and what the interpreter makes of them. */
#include <math.h>

#include "graph/passes.h"
#include "random_graph.h"
#include "unit/engine/network.h"

static enum graph_type type_of(const struct graph *graph, int value)
{
    return graph->values[value].type;
}

/* 8 significant bits, ties to even, by arithmetic in double. */
static float rounded(double value)
{
    int exponent;
    frexp(value, &exponent);
    return (float)(nearbyint(ldexp(value, 8 - exponent)) * ldexp(1.0, exponent - 8));
}

static void all_between_input_and_output_changes(void **state)
{
    (void)state;
    unet_error error;
    for (int transposed = 0; transposed < 2; transposed++) {
        struct graph graph;
        network_optimized(&graph, transposed, 1);
        assert_int_equal(graph_precision(&graph), GRAPH_F32);
        graph_set_type(&graph, GRAPH_BF16);
        assert_ok(graph_check(&graph, &error), &error);
        assert_int_equal(graph_precision(&graph), GRAPH_BF16);
        for (int v = 0; v < graph.value_count; v++)
            assert_int_equal(type_of(&graph, v),
                             v == graph.input || v == graph.output ? GRAPH_F32 : GRAPH_BF16);
        graph_set_type(&graph, GRAPH_F32);
        assert_int_equal(graph_precision(&graph), GRAPH_F32);
        graph_clear(&graph);
    }
}

static void start(struct graph *graph)
{
    *graph = (struct graph){.architecture = "test", .normalize = UNET_NORMALIZE_255};
    graph->input = graph_add_value(graph, "input", 3);
}

/* input → pool → conv a → up-sampling; conv b reads that and the input. */
static void what_is_tied_to_the_input_stays(void **state)
{
    (void)state;
    unet_error error;
    uint64_t seed = 3;
    struct graph graph;
    start(&graph);
    int pooled = network_pool(&graph, "pool", graph.input);
    int first = network_conv(&graph, "first", pooled, 4, 3, &seed);
    int a = network_conv(&graph, "a", first, 4, 3, &seed);
    int up = network_node(&graph, GRAPH_UPSAMPLE, "up", &a, 1, 4);
    int both = network_pair(&graph, GRAPH_CONCAT, "concat", up, graph.input, 7);
    int b = network_conv(&graph, "b", both, 5, 3, &seed);
    graph.output = network_conv(&graph, "out", b, 2, 1, &seed);
    graph_set_type(&graph, GRAPH_BF16);
    assert_ok(graph_check(&graph, &error), &error);
    const int plain[] = {graph.input, pooled, a, up, both, graph.output};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        assert_int_equal(type_of(&graph, plain[i]), GRAPH_F32);
    assert_int_equal(type_of(&graph, first), GRAPH_BF16);
    assert_int_equal(type_of(&graph, b), GRAPH_BF16);
    graph_clear(&graph);
}

static void random_graphs_stay_whole(void **state)
{
    (void)state;
    unet_error error;
    int changed = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct graph graph;
        make_random_graph(seed, &graph);
        graph_set_type(&graph, GRAPH_BF16);
        assert_ok(graph_check(&graph, &error), &error);
        assert_int_equal(type_of(&graph, graph.input), GRAPH_F32);
        assert_int_equal(type_of(&graph, graph.output), GRAPH_F32);
        changed += graph_precision(&graph) == GRAPH_BF16;
        graph_clear(&graph);
    }
    assert_true(changed > 30);
}

/* Written by a convolution, read by convolutions that read nothing else: of any type. */
static bool is_free(const struct graph *graph, int value)
{
    for (int n = 0; n < graph->node_count; n++) {
        const struct graph_node *node = &graph->nodes[n];
        bool conv = node->op == GRAPH_CONV || node->op == GRAPH_CONV_TRANSPOSE;
        if (node->head == value || (node->output == value && !conv))
            return false;
        for (int i = 0; i < node->input_count; i++)
            if (node->inputs[i] == value && (!conv || (i == 0 && node->input_count > 1) || i > 0))
                return conv && node->op == GRAPH_CONV_TRANSPOSE;
    }
    return value != graph->output;
}

static void types_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    unet_error error;
    struct graph graph;
    network_optimized(&graph, false, 1);
    graph_set_type(&graph, GRAPH_BF16);
    for (int v = 0; v < graph.value_count; v++) {
        enum graph_type kept = graph.values[v].type;
        graph.values[v].type = kept == GRAPH_F32 ? GRAPH_BF16 : GRAPH_F32;
        if (is_free(&graph, v))
            assert_ok(graph_check(&graph, &error), &error);
        else
            assert_error(graph_check(&graph, &error), UNET_ERROR_MODEL, &error, "s ");
        graph.values[v].type = GRAPH_TYPE_COUNT;
        assert_error(graph_check(&graph, &error), UNET_ERROR_MODEL, &error, "unknown type");
        graph.values[v].type = kept;
    }
    assert_ok(graph_check(&graph, &error), &error);
    graph_clear(&graph);
}

/* Each layer's own: the encoder's tensors are read by one layer each. */
static void check_own_types(enum graph_type narrow)
{
    unet_error error;
    struct graph graph;
    network_optimized(&graph, true, 1);
    enum graph_type *wanted = memory_calloc((size_t)graph.node_count, sizeof *wanted);
    for (int last = 0; last < graph.node_count; last++) {
        for (int n = 0; n < graph.node_count; n++)
            wanted[n] = n == last ? GRAPH_BF16 : narrow;
        graph_set_types(&graph, wanted);
        assert_ok(graph_check(&graph, &error), &error);
        for (int n = 0; n < graph.node_count; n++) {
            const struct graph_node *node = &graph.nodes[n];
            bool conv = node->op == GRAPH_CONV || node->op == GRAPH_CONV_TRANSPOSE;
            if (conv && node->inputs[0] != graph.input)
                assert_int_equal(type_of(&graph, node->inputs[0]), wanted[n]);
        }
    }
    assert_int_equal(graph_precision(&graph), narrow);
    graph_widen_type(&graph, narrow, GRAPH_BF16);
    assert_ok(graph_check(&graph, &error), &error);
    assert_int_equal(graph_precision(&graph), GRAPH_BF16);
    memory_free(wanted);
    graph_clear(&graph);
}

static void layers_have_their_own_types(void **state)
{
    (void)state;
    check_own_types(GRAPH_U8);
    check_own_types(GRAPH_E4M3);
}

/* Nothing but bytes has a zero of its own. */
static void a_zero_is_of_bytes(void **state)
{
    (void)state;
    unet_error error;
    struct graph graph;
    network_optimized(&graph, true, 1);
    graph_set_type(&graph, GRAPH_E4M3);
    assert_ok(graph_check(&graph, &error), &error);
    for (int v = 0; v < graph.value_count; v++) {
        graph.values[v].zero = 128;
        assert_error(graph_check(&graph, &error), UNET_ERROR_MODEL, &error, "only one of bytes");
        graph.values[v].zero = 0;
    }
    graph_clear(&graph);
}

/* A 3×3 convolution of bytes around which 128 stands for 0, with weights of few steps; one whose
 * steps are given and one whose bias makes up for what rounding loses. */
static void the_interpreter_rounds_to_bytes(void **state)
{
    (void)state;
    uint64_t seed = 5;
    struct graph graph;
    float input[16], step[1] = {0.02f}, mean[1] = {100.0f};
    start(&graph);
    graph.values[graph.input].channels = 1;
    int middle = network_conv(&graph, "first", graph.input, 1, 1, &seed);
    graph.output = network_conv(&graph, "second", middle, 1, 3, &seed);
    graph.values[middle].type = GRAPH_U8;
    graph.values[middle].zero = 128;
    struct graph_node *first = &graph.nodes[0], *second = &graph.nodes[1];
    first->weight.data[0] = 100;
    first->bias.data[0] = 128;
    second->weight_step = (struct graph_constant){step, 1};
    second->mean = (struct graph_constant){mean, 1};
    for (int i = 0; i < 16; i++)
        input[i] = random_float(&seed, -2, 2);
    size_t count;
    float *output = run_reference(&graph, input, 4, 4, &count);
    for (int y = 0; y < 4; y++) {
        for (int x = 0; x < 4; x++) {
            double sum = (double)second->bias.data[0];
            for (int k = 0; k < 9; k++) {
                int iy = y + k / 3 - 1, ix = x + k % 3 - 1;
                bool inside = iy >= 0 && iy < 4 && ix >= 0 && ix < 4;
                double byte = 128, weight = (double)second->weight.data[k];
                if (inside)
                    byte = fmin(255, fmax(0, nearbyint(100.0 * (double)input[iy * 4 + ix] + 128)));
                double whole = nearbyint(weight / (double)step[0]);
                double fit = fmin(127, fmax(-127, whole)) * (double)step[0];
                sum += fit * byte + (weight - fit) * 100.0;
            }
            assert_float_equal(output[y * 4 + x], sum, 1e-4 * fabs(sum) + 1e-4);
        }
    }
    memory_free(output);
    graph_clear(&graph);
}

/* Four significant bits, of which the last is 2^-9 at least, up to 448. */
static double e4m3_of(double value)
{
    int exponent;
    frexp(value, &exponent);
    int last = exponent - 4 > -9 ? exponent - 4 : -9;
    double near = nearbyint(ldexp(value, -last)) * ldexp(1.0, last);
    return fmin(448, fmax(-448, near));
}

/* Two 1×1 convolutions of one channel, with values of a type between them. */
static void start_two_convs(struct graph *graph, enum graph_type type, uint64_t *seed)
{
    start(graph);
    graph->values[graph->input].channels = 1;
    int middle = network_conv(graph, "first", graph->input, 1, 1, seed);
    graph->output = network_conv(graph, "second", middle, 1, 1, seed);
    graph_set_type(graph, type);
    assert_int_equal(type_of(graph, middle), type);
}

/* Two 1×1 convolutions of one channel, the second of e4m3. Without a step its weight is 448 of
 * them; where one is given, as many as are nearest, and where that is tiny, 448 again. A mean makes
 * up for what is lost. */
static void the_interpreter_rounds_to_e4m3(void **state)
{
    (void)state;
    uint64_t seed = 11;
    float steps[] = {0, 0.013f, 1e-4f}, mean[1] = {3.0f};
    for (int kind = 0; kind < 6; kind++) {
        struct graph graph;
        float input[64];
        start_two_convs(&graph, GRAPH_E4M3, &seed);
        struct graph_node *first = &graph.nodes[0], *second = &graph.nodes[1];
        first->weight.data[0] = 200;
        if (kind % 3 > 0)
            second->weight_step = (struct graph_constant){&steps[kind % 3], 1};
        if (kind >= 3)
            second->mean = (struct graph_constant){mean, 1};
        for (int i = 0; i < 64; i++)
            input[i] = random_float(&seed, -3, 3);
        double weight = (double)second->weight.data[0];
        double step = kind % 3 > 0 ? (double)steps[kind % 3] : fabs(weight) / 448;
        double kept = e4m3_of((double)(float)(weight / step)) * step;
        double bias = (double)second->bias.data[0] + (kind >= 3 ? (weight - kept) * 3 : 0);
        size_t count;
        float *output = run_reference(&graph, input, 8, 8, &count);
        for (int i = 0; i < 64; i++) {
            double sum = 200.0 * (double)input[i] + (double)first->bias.data[0];
            double expected = kept * e4m3_of((double)(float)sum) + bias;
            assert_float_equal(output[i], expected, 1e-5 * fabs(expected) + 1e-5);
        }
        memory_free(output);
        graph_clear(&graph);
    }
}

/* Two 1×1 convolutions of one channel: y = w2 · round(w1 · x + b1) + b2, where w2 is rounded for it
 * meets bf16, and w1 is not. */
static void the_interpreter_rounds(void **state)
{
    (void)state;
    uint64_t seed = 9;
    struct graph graph;
    float input[64];
    start_two_convs(&graph, GRAPH_BF16, &seed);
    const struct graph_node *first = &graph.nodes[0], *second = &graph.nodes[1];
    for (int i = 0; i < 64; i++)
        input[i] = random_float(&seed, -3, 3);
    size_t count;
    float *output = run_reference(&graph, input, 8, 8, &count);
    assert_int_equal(count, 64);
    for (int i = 0; i < 64; i++) {
        double sum = (double)first->weight.data[0] * (double)input[i] + (double)first->bias.data[0];
        double between = (double)rounded((double)(float)sum);
        double weight = (double)rounded((double)second->weight.data[0]);
        float expected = (float)(weight * between + (double)second->bias.data[0]);
        assert_true(output[i] == expected);
    }
    free(output);
    graph_clear(&graph);
}

/* bf16 has the range that f16 lacks: what one reader needs as bf16 is bf16 for all that is tied. */
static void bf16_is_wider_than_f16(void **state)
{
    (void)state;
    struct graph graph;
    uint64_t seed = 3;
    start(&graph);
    int a = network_conv(&graph, "a", graph.input, 4, 3, &seed);
    int up = network_node(&graph, GRAPH_UPSAMPLE, "up", &a, 1, 4);
    int c = network_conv(&graph, "c", up, 4, 3, &seed);
    int d = network_conv(&graph, "d", c, 4, 3, &seed);
    graph.output = network_conv(&graph, "e", d, 2, 3, &seed);
    enum graph_type types[32];
    assert_true(graph.node_count <= 32);
    for (int n = 0; n < graph.node_count; n++)
        types[n] = strcmp(graph.nodes[n].name, "c") == 0 ? GRAPH_BF16 : GRAPH_F16;
    graph_set_types(&graph, types);
    assert_int_equal(type_of(&graph, a), GRAPH_BF16);
    assert_int_equal(type_of(&graph, up), GRAPH_BF16);
    assert_int_equal(type_of(&graph, c), GRAPH_F16);
    assert_int_equal(graph_precision(&graph), GRAPH_F16);
    graph_clear(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_between_input_and_output_changes),
        cmocka_unit_test(what_is_tied_to_the_input_stays),
        cmocka_unit_test(random_graphs_stay_whole),
        cmocka_unit_test(types_that_do_not_fit_are_refused),
        cmocka_unit_test(the_interpreter_rounds),
        cmocka_unit_test(layers_have_their_own_types),
        cmocka_unit_test(a_zero_is_of_bytes),
        cmocka_unit_test(the_interpreter_rounds_to_bytes),
        cmocka_unit_test(the_interpreter_rounds_to_e4m3),
        cmocka_unit_test(bf16_is_wider_than_f16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
