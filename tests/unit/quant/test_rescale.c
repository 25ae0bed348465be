/* The rescaled graph is the same function: the reference says so, of any graph, with zeros at 128
 * and without. Stored as bytes it is nearly so, and its constants are what running it shows. */
#include "quant/rescale.h"

#include "../graph/checkpoint.h"
#include "../graph/random_graph.h"
#include <math.h>

#include "graph/passes.h"
#include "graph/recognize.h"

#define SEEDS 300

/* ---------------------------------------------------------------- what a graph stores */

struct stored {
    float *data; /* the caller frees it */
    int channels;
    size_t pixels;
};

/* One of its values: the graph ends there for once. */
static struct stored run_to(const struct graph *graph, int value, const float *input, int height,
                            int width)
{
    struct graph cut = *graph;
    struct stored stored = {.channels = graph->values[value].channels};
    size_t count;
    cut.output = value;
    stored.data = run_reference(&cut, input, height, width, &count);
    stored.pixels = count / (size_t)stored.channels;
    return stored;
}

static bool is_conv(const struct graph_node *node)
{
    return node->op == GRAPH_CONV || node->op == GRAPH_CONV_TRANSPOSE;
}

static void measure_value(const struct stored *stored, struct quant_ranges *ranges, int value)
{
    struct quant_value_range *range = &ranges->values[value];
    range->channels = quant_ranges_array(ranges, stored->channels);
    range->mean = quant_ranges_array(ranges, stored->channels);
    range->square = quant_ranges_array(ranges, stored->channels);
    for (int c = 0; c < stored->channels; c++) {
        const float *plane = stored->data + (size_t)c * stored->pixels;
        double sum = 0, squares = 0;
        for (size_t i = 0; i < stored->pixels; i++) {
            sum += (double)plane[i];
            squares += (double)plane[i] * (double)plane[i];
        }
        range->channels[c] = (float)largest_magnitude(plane, stored->pixels);
        range->mean[c] = (float)(sum / (double)stored->pixels);
        range->square[c] = (float)(squares / (double)stored->pixels);
        range->tensor = fmaxf(range->tensor, range->channels[c]);
    }
}

/* Of all that nodes write. */
static void measure(const struct graph *graph, const float *input, int height, int width,
                    struct quant_ranges *ranges)
{
    unet_error error;
    assert_ok(quant_ranges_create(graph, ranges, &error), &error);
    for (int n = 0; n < graph->node_count; n++) {
        const int written[] = {graph->nodes[n].output, graph->nodes[n].pooled};
        for (int k = 0; k < 2; k++) {
            if (written[k] == GRAPH_NONE)
                continue;
            struct stored stored = run_to(graph, written[k], input, height, width);
            measure_value(&stored, ranges, written[k]);
            free(stored.data);
        }
    }
}

/* ---------------------------------------------------------------- any graph */

static void random_ranges(const struct graph *graph, uint64_t *seed, struct quant_ranges *ranges)
{
    unet_error error;
    assert_ok(quant_ranges_create(graph, ranges, &error), &error);
    for (int v = 0; v < graph->value_count; v++) {
        struct quant_value_range *range = &ranges->values[v];
        range->tensor = random_float(seed, 1, 20);
        range->channels = quant_ranges_array(ranges, graph->values[v].channels);
        for (int c = 0; c < graph->values[v].channels; c++)
            range->channels[c] = random_float(seed, 0, 1) < 0.1f ? 0 : random_float(seed, 0.2f, 1);
    }
    ranges->share = random_float(seed, 0, 1);
}

static void expect_same(const struct graph *graph, const float *input, int height, int width,
                        const float *expected, double tolerance, const char *what, int seed)
{
    size_t count;
    float *output = run_reference(graph, input, height, width, &count);
    double difference = max_difference(output, expected, count);
    double bound = tolerance * (1 + largest_magnitude(expected, count));
    if (!(difference <= bound))
        fail_msg("%s, %d: differs by %g, %g is allowed", what, seed, difference, bound);
    free(output);
}

/* As float32, but with the zeros that bytes would have. */
static int forget_types(struct graph *graph)
{
    int shifted = 0;
    for (int v = 0; v < graph->value_count; v++) {
        graph->values[v].type = GRAPH_F32;
        shifted += graph->values[v].zero == 128;
    }
    return shifted;
}

static void any_graph_stays_the_same(void **state)
{
    (void)state;
    int shifted = 0, refused = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct graph graph;
        struct quant_ranges ranges;
        unet_error error;
        size_t count;
        uint64_t random = seed;
        make_random_graph(seed, &graph);
        if (seed % 3 != 0)
            assert_ok(graph_optimize(&graph, &error), &error);
        if (seed % 3 == 1)
            assert_ok(graph_fuse_upsample(&graph, &error), &error);
        const int height = RANDOM_GRAPH_HEIGHT, width = RANDOM_GRAPH_WIDTH;
        float *input = random_input(&graph, height, width, seed);
        float *expected = run_reference(&graph, input, height, width, &count);
        random_ranges(&graph, &random, &ranges);
        assert_ok(quant_rescale(&graph, &ranges, &error), &error);
        assert_ok(graph_check(&graph, &error), &error);
        expect_same(&graph, input, height, width, expected, 1e-5, "rescaled", (int)seed);
        graph_set_type(&graph, GRAPH_U8);
        unet_status status = quant_shift(&graph, &error);
        if (status != UNET_OK) {
            assert_error(status, UNET_ERROR_MODEL, &error, "in 16 or 32 bits");
            refused++;
        } else {
            assert_ok(graph_check(&graph, &error), &error);
        }
        shifted += forget_types(&graph) > 0;
        expect_same(&graph, input, height, width, expected, 1e-4, "shifted", (int)seed);
        assert_ok(quant_shift(&graph, &error), &error); /* all is float32: no zero is left */
        assert_int_equal(forget_types(&graph), 0);
        expect_same(&graph, input, height, width, expected, 1e-4, "shifted back", (int)seed);
        quant_ranges_clear(&ranges);
        free(expected);
        free(input);
        graph_clear(&graph);
    }
    assert_true(shifted > SEEDS / 10 && refused > 0 && refused < SEEDS * 3 / 4);
}

/* ---------------------------------------------------------------- U-Nets */

static void make_network(enum variant variant, struct graph *graph)
{
    struct checkpoint of = {variant, 3, 6, 3, 3, variant == TRANSPOSED, true, false, NULL, false};
    struct tensor_set set;
    unet_error error;
    make_checkpoint(&of, &set);
    assert_ok(graph_recognize(&set, graph, NULL, &error), &error);
    assert_ok(graph_optimize(graph, &error), &error);
    tensor_set_clear(&set);
}

/* A first convolution and heads in float32, all others read that type. */
static void set_narrow(struct graph *graph, enum graph_type type)
{
    enum graph_type wanted[64];
    assert_true(graph->node_count <= 64);
    for (int n = 0; n < graph->node_count; n++)
        wanted[n] = type;
    graph_set_types(graph, wanted);
}

/* What a convolution stores fills the levels: the largest value of each channel is the last one. */
static void expect_full_levels(const struct graph *graph, const struct quant_ranges *ranges,
                               const float *input, int height, int width)
{
    for (int n = 0; n < graph->node_count; n++) {
        const struct graph_node *node = &graph->nodes[n];
        if (!is_conv(node) || node->output == GRAPH_NONE)
            continue;
        struct stored stored = run_to(graph, node->output, input, height, width);
        bool negative = !node->relu;
        assert_int_equal(graph->values[node->output].zero, negative ? 128 : 0);
        for (int c = 0; c < stored.channels; c++) {
            double low = 1e9, high = -1e9;
            for (size_t i = 0; i < stored.pixels; i++) {
                double x = (double)stored.data[(size_t)c * stored.pixels + i];
                low = fmin(low, x);
                high = fmax(high, x);
            }
            double reach = negative ? fmax(high - 128, 128 - low) : high;
            const struct quant_value_range *range = &ranges->values[node->output];
            bool lively = range->channels[c] >= range->tensor / 256; /* others get more room */
            assert_true(reach <= (negative ? 127.01 : 255.01));
            assert_true(!lively || reach >= (negative ? 126.99 : 254.99));
            assert_true(lively || reach < (negative ? 127 : 255));
        }
        free(stored.data);
    }
}

/* The mean of what a node reads is what its constant says. */
static void expect_means(const struct graph *graph, const float *input, int height, int width)
{
    int checked = 0;
    for (int n = 0; n < graph->node_count; n++) {
        const struct graph_node *node = &graph->nodes[n];
        if (!is_conv(node))
            continue;
        bool reads_input = node->inputs[0] == graph->input;
        assert_true((node->weight_step.data != NULL) == !reads_input);
        assert_true((node->mean.data != NULL) == !reads_input);
        const float *mean = node->mean.data;
        int sources = node->op == GRAPH_CONV ? node->input_count : 1;
        for (int s = 0; s < sources && !reads_input; s++) {
            struct stored stored = run_to(graph, node->inputs[s], input, height, width);
            for (int c = 0; c < stored.channels; c++, mean++, checked++) {
                double sum = 0;
                for (size_t i = 0; i < stored.pixels; i++)
                    sum += (double)stored.data[(size_t)c * stored.pixels + i];
                assert_float_equal(*mean, sum / (double)stored.pixels, 2e-2);
            }
            free(stored.data);
        }
    }
    assert_true(checked > 50);
}

static double noise_of(const struct graph *graph, const float *input, int height, int width,
                       const float *expected)
{
    size_t count;
    float *output = run_reference(graph, input, height, width, &count);
    double noise = 0, mean = 0, power = 0;
    for (size_t i = 0; i < count; i++)
        mean += (double)expected[i] / (double)count;
    for (size_t i = 0; i < count; i++) {
        noise += pow((double)output[i] - (double)expected[i], 2);
        power += pow((double)expected[i] - mean, 2);
    }
    free(output);
    return sqrt(noise / power);
}

/* The same graph as it is: what runs to 255 fits, what may be negative needs no zero, and four
 * significant bits err more. */
static void check_e4m3(struct graph *graph, const float *input, int height, int width,
                       const float *expected)
{
    unet_error error;
    set_narrow(graph, GRAPH_E4M3);
    assert_ok(quant_shift(graph, &error), &error);
    assert_ok(graph_check(graph, &error), &error);
    assert_int_equal(graph_precision(graph), GRAPH_E4M3);
    double noise = noise_of(graph, input, height, width, expected);
    if (!(noise > 1e-3 && noise < 0.2))
        fail_msg("as e4m3 it errs by %g of its spread", noise);
    assert_int_equal(forget_types(graph), 0);
}

static void check_network(enum variant variant, int height, int width)
{
    struct graph plain, graph;
    struct quant_ranges ranges;
    unet_error error;
    size_t count;
    make_network(variant, &plain);
    float *input = random_input(&plain, height, width, 5);
    float *expected = run_reference(&plain, input, height, width, &count);
    measure(&plain, input, height, width, &ranges);
    assert_ok(graph_copy(&plain, &graph, &error), &error);
    assert_ok(quant_rescale(&graph, &ranges, &error), &error);
    expect_same(&graph, input, height, width, expected, 1e-5, "rescaled", (int)variant);
    set_narrow(&graph, GRAPH_U8);
    assert_ok(quant_shift(&graph, &error), &error);
    assert_ok(graph_check(&graph, &error), &error);
    assert_int_equal(graph_precision(&graph), GRAPH_U8);
    double noise = noise_of(&graph, input, height, width, expected);
    if (!(noise > 1e-5 && noise < 0.05))
        fail_msg("variant %d: as bytes it errs by %g of its spread", (int)variant, noise);
    int shifted = forget_types(&graph);
    assert_int_equal(shifted, variant == TRANSPOSED || variant == BRAIN ? 3 : 0);
    expect_same(&graph, input, height, width, expected, 2e-5, "shifted", (int)variant);
    expect_full_levels(&graph, &ranges, input, height, width);
    expect_means(&graph, input, height, width);
    check_e4m3(&graph, input, height, width, expected);
    quant_ranges_clear(&ranges);
    free(expected);
    free(input);
    graph_clear(&graph);
    graph_clear(&plain);
}

static void u_nets_stay_the_same(void **state)
{
    (void)state;
    static const int sizes[][2] = {{32, 40}, {37, 53}, {33, 24}};
    for (int v = OLD_BILINEAR; v <= BRAIN; v++)
        for (int i = 0; i < 3; i++) /* the brain network knows no padding */
            check_network((enum variant)v, sizes[v == BRAIN ? 0 : i][0],
                          sizes[v == BRAIN ? 0 : i][1]);
}

/* The same function of channels that differ in size, as trained ones do. */
static void unbalance(struct graph *graph)
{
    struct quant_ranges ranges;
    unet_error error;
    uint64_t seed = 4;
    random_ranges(graph, &seed, &ranges);
    for (int v = 0; v < graph->value_count; v++)
        for (int c = 0; c < graph->values[v].channels; c++)
            ranges.values[v].channels[c] = powf(2, random_float(&seed, -5, 0));
    ranges.share = 1;
    assert_ok(quant_rescale(graph, &ranges, &error), &error);
    quant_ranges_clear(&ranges);
}

/* Channels of their own ranges keep more of the network than one range a tensor, and so do searched
 * weight steps and the correction of the bias. */
static void each_part_lowers_the_noise(void **state)
{
    (void)state;
    struct graph plain;
    struct quant_ranges ranges;
    unet_error error;
    size_t count;
    make_network(TRANSPOSED, &plain);
    unbalance(&plain);
    float *input = random_input(&plain, 37, 53, 6);
    float *expected = run_reference(&plain, input, 37, 53, &count);
    measure(&plain, input, 37, 53, &ranges);
    double noise[3];
    for (int kind = 0; kind < 3; kind++) {
        struct graph graph;
        ranges.share = kind == 1 ? 0 : 1;
        assert_ok(graph_copy(&plain, &graph, &error), &error);
        assert_ok(quant_rescale(&graph, &ranges, &error), &error);
        set_narrow(&graph, GRAPH_U8);
        assert_ok(quant_shift(&graph, &error), &error);
        for (int n = 0; n < graph.node_count && kind == 2; n++)
            graph.nodes[n].weight_step = graph.nodes[n].mean = (struct graph_constant){0};
        noise[kind] = noise_of(&graph, input, 37, 53, expected);
        graph_clear(&graph);
    }
    assert_true(noise[1] > 2 * noise[0]);
    assert_true(noise[2] > 1.05 * noise[0]);
    quant_ranges_clear(&ranges);
    free(expected);
    free(input);
    graph_clear(&plain);
}

/* ---------------------------------------------------------------- refusals */

static void missing_ranges_are_named(void **state)
{
    (void)state;
    struct graph graph;
    struct quant_ranges ranges;
    unet_error error;
    uint64_t seed = 1;
    make_network(BILINEAR, &graph);
    random_ranges(&graph, &seed, &ranges);
    int value = graph.nodes[2].output;
    ranges.values[value].tensor = 0;
    assert_error(quant_rescale(&graph, &ranges, &error), UNET_ERROR_MODEL, &error,
                 graph.values[value].name);
    graph_clear(&graph);
    make_network(BILINEAR, &graph);
    ranges.values[value].tensor = 1e-44f;
    assert_error(quant_rescale(&graph, &ranges, &error), UNET_ERROR_MODEL, &error,
                 graph.nodes[2].name);
    ranges.value_count--;
    assert_error(quant_rescale(&graph, &ranges, &error), UNET_ERROR_MODEL, &error, "values");
    graph_clear(&graph);
    quant_ranges_clear(&ranges);
}

static void lack_of_memory_is_reported(void **state)
{
    (void)state;
    struct graph plain, graph;
    struct quant_ranges ranges;
    unet_error error;
    uint64_t seed = 1;
    make_network(TRANSPOSED, &plain);
    random_ranges(&plain, &seed, &ranges);
    unet_status status = UNET_ERROR_MEMORY;
    long n = 0;
    for (; status != UNET_OK && n < 2000; n++) {
        assert_ok(graph_copy(&plain, &graph, &error), &error);
        set_narrow(&graph, GRAPH_U8);
        memory_fail_after(n);
        status = quant_rescale(&graph, &ranges, &error);
        memory_fail_after(-1);
        if (status != UNET_OK)
            assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
        graph_clear(&graph);
    }
    assert_true(n > 5 && n < 2000);
    struct quant_ranges other;
    memory_fail_after(0);
    assert_error(quant_ranges_create(&plain, &other, &error), UNET_ERROR_MEMORY, &error, "memory");
    memory_fail_after(-1);
    quant_ranges_clear(&other);
    quant_ranges_clear(NULL);
    quant_ranges_clear(&ranges);
    graph_clear(&plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_graph_stays_the_same),   cmocka_unit_test(u_nets_stay_the_same),
        cmocka_unit_test(each_part_lowers_the_noise), cmocka_unit_test(missing_ranges_are_named),
        cmocka_unit_test(lack_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
