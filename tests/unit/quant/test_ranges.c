/* Histograms of channels become the ranges of a value; what a channel is given of both. */
#include "quant/ranges.h"

#include <math.h>

#include "support/support.h"

#define CHANNELS 6

static struct graph_node *add_conv(struct graph *graph, const char *name, int input, int *output)
{
    *output = graph_add_value(graph, name, CHANNELS);
    struct graph_node *node = graph_add_node(graph, GRAPH_CONV, name);
    assert_non_null(node);
    node->inputs[node->input_count++] = input;
    node->output = *output;
    return node;
}

/* input → first, never negative → second, which may be. */
static void make_graph(struct graph *graph, int *first, int *second)
{
    *graph = (struct graph){0};
    graph->input = graph_add_value(graph, "input", 1);
    add_conv(graph, "first", graph->input, first)->relu = true;
    add_conv(graph, "second", *first, second);
    graph->output = GRAPH_NONE;
}

static void count(uint32_t counts[CHANNELS][QUANT_BINS], struct quant_histogram *histograms)
{
    uint64_t seed = 3;
    for (int c = 0; c < CHANNELS; c++) {
        histograms[c] = (struct quant_histogram){counts[c], ldexpf(1, c - 14)};
        for (int i = 0; i < 20000 && c != 2; i++) { /* one sleeps */
            float u = random_float(&seed, 1e-4f, 1);
            counts[c][(int)(QUANT_BINS * -logf(u) / 10)]++;
        }
    }
}

static void ranges_come_from_histograms(void **state)
{
    (void)state;
    static uint32_t counts[CHANNELS][QUANT_BINS];
    struct quant_histogram histograms[CHANNELS];
    struct quant_merged merged = {0};
    struct graph graph;
    struct quant_ranges ranges;
    unet_error error;
    int values[2];
    make_graph(&graph, &values[0], &values[1]);
    count(counts, histograms);
    for (int c = 0; c < CHANNELS; c++)
        quant_merge(&merged, &histograms[c]);
    assert_ok(quant_ranges_create(&graph, &ranges, &error), &error);
    for (int m = 0; m < QUANT_METHOD_COUNT; m++) {
        enum quant_method method = (enum quant_method)m;
        for (int v = 0; v < 2; v++) {
            int levels = v == 0 ? 255 : 127;
            const struct quant_value_range *range = &ranges.values[values[v]];
            assert_ok(quant_ranges_set(&ranges, &graph, values[v], method, histograms, &error),
                      &error);
            assert_float_equal(range->tensor, quant_range_merged(method, &merged, levels), 0);
            for (int c = 0; c < CHANNELS && method != QUANT_ENTROPY; c++)
                assert_float_equal(range->channels[c], quant_range(method, &histograms[c], levels),
                                   0);
            assert_float_equal(range->channels[2], 0, 0);
            assert_true(range->channels[5] > 10 * range->channels[0]);
        }
    }
    quant_ranges_clear(&ranges);
    graph_clear(&graph);
}

static void what_is_never_active_has_the_range_1(void **state)
{
    (void)state;
    static uint32_t counts[QUANT_BINS] = {12345};
    struct quant_histogram histograms[CHANNELS];
    struct graph graph;
    struct quant_ranges ranges;
    unet_error error;
    int values[2];
    make_graph(&graph, &values[0], &values[1]);
    for (int c = 0; c < CHANNELS; c++)
        histograms[c] = (struct quant_histogram){counts, 1};
    assert_ok(quant_ranges_create(&graph, &ranges, &error), &error);
    assert_ok(quant_ranges_set(&ranges, &graph, values[0], QUANT_MSE, histograms, &error), &error);
    assert_float_equal(ranges.values[values[0]].tensor, 1, 0);
    assert_true(quant_channel_range(&ranges, values[0], 3) > 0);
    for (long n = 0; n < 2; n++) {
        struct quant_ranges other;
        assert_ok(quant_ranges_create(&graph, &other, &error), &error);
        memory_fail_after(n > 0 ? 0 : -1);
        unet_status status =
            quant_ranges_set(&other, &graph, values[0], QUANT_MSE, histograms, &error);
        memory_fail_after(-1);
        assert_int_equal(status, n > 0 ? UNET_ERROR_MEMORY : UNET_OK);
        quant_ranges_clear(&other);
    }
    quant_ranges_clear(&ranges);
    graph_clear(&graph);
}

static void channels_share_their_tensors_range(void **state)
{
    (void)state;
    struct graph graph;
    struct quant_ranges ranges;
    unet_error error;
    int first, second;
    make_graph(&graph, &first, &second);
    assert_ok(quant_ranges_create(&graph, &ranges, &error), &error);
    struct quant_value_range *range = &ranges.values[first];
    range->tensor = 8;
    assert_float_equal(quant_channel_range(&ranges, first, 0), 8, 0);
    range->channels = quant_ranges_array(&ranges, CHANNELS);
    range->channels[0] = 2;
    range->channels[1] = 0;
    ranges.share = 0;
    assert_float_equal(quant_channel_range(&ranges, first, 0), 8, 1e-5);
    ranges.share = 0.5f;
    assert_float_equal(quant_channel_range(&ranges, first, 0), 4, 1e-5);
    ranges.share = 1;
    assert_float_equal(quant_channel_range(&ranges, first, 0), 2, 1e-5);
    assert_float_equal(quant_channel_range(&ranges, first, 1), 8.0 / 256, 1e-6);
    quant_ranges_clear(&ranges);
    graph_clear(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_come_from_histograms),
        cmocka_unit_test(what_is_never_active_has_the_range_1),
        cmocka_unit_test(channels_share_their_tensors_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
