/* Any bytes as a calibration table: it is read or refused with one line, what is read is found
 * again, and as the table of a network it is refused or gives ranges above 0. */
#include <unet.h>

#include <stdlib.h>
#include <string.h>

#include "quant/table.h"

static void check(unet_status status, const unet_error *error)
{
    if (status != UNET_OK && status != UNET_ERROR_MODEL && status != UNET_ERROR_MEMORY)
        abort();
    if (status != UNET_OK && (error->message[0] == '\0' || strchr(error->message, '\n') != NULL))
        abort();
}

/* One convolution of two channels that stores "a" and, pooled, "b"; another one writes the output.
 */
static void make_graph(struct graph *graph)
{
    static float weights[2] = {1, 2};
    *graph = (struct graph){0};
    graph->input = graph_add_value(graph, "input", 1);
    int a = graph_add_value(graph, "a", 2), b = graph_add_value(graph, "b", 2);
    graph->output = graph_add_value(graph, "out", 1);
    struct graph_node *first = graph_add_node(graph, GRAPH_CONV, "first");
    if (first == NULL)
        abort();
    first->inputs[first->input_count++] = graph->input;
    first->output = a;
    first->pooled = b;
    first->relu = true;
    first->kernel_h = first->kernel_w = 1;
    first->weight = (struct graph_constant){weights, 2};
    struct graph_node *last = graph_add_node(graph, GRAPH_CONV, "last");
    if (last == NULL)
        abort();
    last->inputs[last->input_count++] = a;
    last->output = graph->output;
    last->kernel_h = last->kernel_w = 1;
    last->weight = (struct graph_constant){weights, 2};
}

static void take_ranges(const struct quant_table *table)
{
    struct graph graph;
    struct quant_ranges ranges;
    unet_error error = {0};
    bool foreign;
    make_graph(&graph);
    unet_status status = quant_table_get_ranges(table, &graph, &ranges, &foreign, &error);
    check(status, &error);
    if (status == UNET_OK && !(quant_channel_range(&ranges, 1, 1) > 0))
        abort();
    quant_ranges_clear(&ranges);
    graph_clear(&graph);
}

static void parse(const char *text, size_t bytes)
{
    struct quant_table table = {0};
    unet_error error = {0};
    float value;
    unet_status status = quant_table_parse(&table, text, bytes, &error);
    check(status, &error);
    for (int i = 0; status == UNET_OK && i < table.count; i++)
        if (!quant_table_find(&table, table.entries[i].name, &value) ||
            value != table.entries[i].value)
            abort();
    if (status == UNET_OK)
        take_ranges(&table);
    quant_table_clear(&table);
}

/* As it is, and behind lines without which it would need a seed to get far. */
static void parse_behind(const char *head, const uint8_t *data, size_t size)
{
    size_t length = strlen(head);
    char *whole = malloc(length + size + 1);
    if (whole == NULL)
        return;
    memcpy(whole, head, length);
    if (size > 0)
        memcpy(whole + length, data, size);
    parse(whole, length + size);
    free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse((const char *)data, size);
    parse_behind("TRT-7000-EntropyCalibration2\n", data, size);
    parse_behind("TRT-7000-EntropyCalibration2\na: 3c888889\n", data, size);
    parse_behind("TRT-7000-EntropyCalibration2\n(Unnamed Layer* 2) [Activation]_output: 3c8888\n",
                 data, size);
    return 0;
}
