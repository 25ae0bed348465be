/* The calibration table: what is written is read back to the bit, tables that TensorRT wrote are
 * matched by order, and whatever does not fit is refused by name. */
#include "quant/table.h"

#include "../graph/checkpoint.h"
#include "graph/passes.h"
#include "graph/recognize.h"

#include <math.h>
#include <stdlib.h>

#define TEXT_BYTES 65536

static void make_network(enum variant variant, int width, uint64_t seed, struct graph *graph)
{
    struct checkpoint of = {variant, 3, width, 3, 2, false, true, false, NULL, false};
    struct tensor_set set = {0};
    struct checkpoint_writer writer = {&of, &set, seed};
    unet_error error;
    if (variant == BRAIN)
        put_brain(&writer);
    else
        put_pytorch_unet(&writer);
    assert_ok(graph_recognize(&set, graph, NULL, &error), &error);
    assert_ok(graph_optimize(graph, &error), &error);
    tensor_set_clear(&set);
}

static bool is_conv(const struct graph_node *node)
{
    return node->op == GRAPH_CONV || node->op == GRAPH_CONV_TRANSPOSE;
}

static void fill(struct quant_ranges *ranges, int value, int channels, uint64_t *seed)
{
    struct quant_value_range *range = &ranges->values[value];
    range->tensor = random_float(seed, 0.1f, 9);
    range->channels = quant_ranges_array(ranges, channels);
    range->mean = quant_ranges_array(ranges, channels);
    range->square = quant_ranges_array(ranges, channels);
    for (int c = 0; c < channels; c++) {
        range->channels[c] = c == 1 ? 0 : random_float(seed, 0.01f, range->tensor);
        range->mean[c] = random_float(seed, -1, 1);
        range->square[c] = random_float(seed, 0, 2);
    }
}

static void random_ranges(const struct graph *graph, struct quant_ranges *ranges)
{
    unet_error error;
    uint64_t seed = 8;
    assert_ok(quant_ranges_create(graph, ranges, &error), &error);
    ranges->share = 0.625f;
    for (int n = 0; n < graph->node_count; n++) {
        const int written[] = {graph->nodes[n].output, graph->nodes[n].pooled};
        for (int k = 0; k < 2 && is_conv(&graph->nodes[n]); k++)
            if (written[k] != GRAPH_NONE)
                fill(ranges, written[k], graph->values[written[k]].channels, &seed);
        if (graph->nodes[n].pooled == GRAPH_NONE || graph->nodes[n].output == GRAPH_NONE)
            continue; /* else the output's range is the pooled one's, of which only means are known
                       */
        ranges->values[graph->nodes[n].pooled].tensor = 0;
        ranges->values[graph->nodes[n].pooled].channels = NULL;
    }
}

static void expect_array(const float *a, const float *b, int count)
{
    assert_true((a == NULL) == (b == NULL));
    if (a != NULL)
        assert_memory_equal(a, b, (size_t)count * sizeof *a);
}

static void expect_ranges(const struct graph *graph, const struct quant_ranges *a,
                          const struct quant_ranges *b)
{
    assert_float_equal(a->share, b->share, 0);
    for (int v = 0; v < graph->value_count; v++) {
        int channels = graph->values[v].channels;
        assert_float_equal(a->values[v].tensor, b->values[v].tensor, 0);
        expect_array(a->values[v].channels, b->values[v].channels, channels);
        expect_array(a->values[v].mean, b->values[v].mean, channels);
        expect_array(a->values[v].square, b->values[v].square, channels);
    }
}

/* ---------------------------------------------------------------- our own */

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    for (int v = OLD_BILINEAR; v <= BRAIN; v++) {
        struct graph graph;
        struct quant_ranges ranges, again;
        struct quant_table table = {0}, read = {0};
        unet_error error;
        bool foreign = true;
        float flips = 0;
        const char *path = temporary_path("calibration.table");
        make_network((enum variant)v, 4, 1, &graph);
        random_ranges(&graph, &ranges);
        assert_ok(quant_table_put_ranges(&table, &graph, &ranges, &error), &error);
        assert_ok(quant_table_put(&table, "unet/flips", 0.5f, &error), &error);
        assert_ok(quant_table_put(&table, "unet/flips", 0.125f, &error), &error);
        assert_ok(quant_table_write(&table, path, &error), &error);
        assert_ok(quant_table_read(&read, path, &error), &error);
        assert_int_equal(read.count, table.count);
        assert_string_equal(read.calibrator, "EntropyCalibration2");
        assert_true(quant_table_find(&read, "unet/flips", &flips) && flips == 0.125f);
        assert_ok(quant_table_get_ranges(&read, &graph, &again, &foreign, &error), &error);
        assert_false(foreign);
        expect_ranges(&graph, &ranges, &again);
        quant_ranges_clear(&again);
        quant_ranges_clear(&ranges);
        quant_table_clear(&read);
        quant_table_clear(&table);
        graph_clear(&graph);
    }
}

/* TensorRT's lines are what TensorRT would have written. */
static void lines_are_tensorrts(void **state)
{
    (void)state;
    struct quant_table table = {0};
    unet_error error;
    float value = 0;
    static const char text[] = "TRT-8601-EntropyCalibration2\r\n"
                               "images: 3b66eddc\r\n"
                               "a: b: 3F800000\n"
                               "\n"
                               "short: 42\n"
                               "last: 3c010a14";
    assert_ok(quant_table_parse(&table, text, strlen(text), &error), &error);
    assert_int_equal(table.count, 4);
    assert_true(quant_table_find(&table, "a: b", &value) && value == 1);
    assert_true(quant_table_find(&table, "last", &value));
    assert_float_equal(value * 127, 2048.5 / 2048, 1e-6); /* half a bin beyond 1, as there */
    assert_false(quant_table_find(&table, "first", &value));
    const char *path = temporary_path("written.table");
    assert_ok(quant_table_write(&table, path, &error), &error);
    FILE *file = fopen(path, "r");
    char line[80];
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    assert_string_equal(line, "TRT-7000-EntropyCalibration2\n");
    assert_non_null(fgets(line, sizeof line, file));
    assert_string_equal(line, "images: 3b66eddc\n");
    assert_non_null(fgets(line, sizeof line, file));
    assert_string_equal(line, "a: b: 3f800000\n");
    fclose(file);
    quant_table_clear(&table);
    quant_table_clear(NULL);
}

static void broken_tables_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "first line"},
        {"inc.double_conv.2: 3c888888\n", "first line"},
        {"TRT-7000\na: 3c888888\n", "first line"},
        {"TRT-7000-\n", "first line"},
        {"TRT-7000-X\nno scale here\n", "line 2 is broken: it is not"},
        {"TRT-7000-X\n: 3c888888\n", "line 2 is broken"},
        {"TRT-7000-X\na: 3c888888\nb:\n", "line 3 is broken: its scale is not up to eight"},
        {"TRT-7000-X\na: 3c8888881\n", "eight"},
        {"TRT-7000-X\na: 3c88888g\n", "eight"},
        {"TRT-7000-X\na\tb: 3c888888\n", "its name"},
        {"TRT-7000-X\na: 00000000\n", "not above 0"},
        {"TRT-7000-X\na: bc888888\n", "not above 0"},
        {"TRT-7000-X\na: 7f800000\n", "not finite"},
        {"TRT-7000-X\na: 7fc00000\n", "not finite"},
        {"TRT-7000-X\nunet/flips: 7fc00000\n", "not finite"},
        {"TRT-7000-X\na: 7f7fffff\n", "beyond"},
        {"TRT-7000-X\na: 3c888888\nb: 3c888888\na: 3c888888\n", "line 4 speaks of a, as line 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quant_table table = {0};
        unet_error error;
        unet_status status =
            quant_table_parse(&table, cases[i].text, strlen(cases[i].text), &error);
        assert_error(status, UNET_ERROR_MODEL, &error, cases[i].part);
        quant_table_clear(&table);
    }
    struct quant_table table = {0};
    unet_error error;
    assert_error(quant_table_put(&table, "a\nb", 1, &error), UNET_ERROR_MODEL, &error, "a?b");
    assert_error(quant_table_put(&table, "a", NAN, &error), UNET_ERROR_MODEL, &error, "a: ");
    assert_error(quant_table_read(&table, "/nowhere/at.all", &error), UNET_ERROR_MODEL, &error,
                 "/nowhere/at.all");
    quant_table_clear(&table);
}

/* ---------------------------------------------------------------- other models */

static void expect_refusal(const struct quant_table *table, const struct graph *graph,
                           const char *part)
{
    struct quant_ranges ranges;
    unet_error error;
    bool foreign;
    assert_error(quant_table_get_ranges(table, graph, &ranges, &foreign, &error), UNET_ERROR_MODEL,
                 &error, part);
    assert_null(ranges.values);
    quant_ranges_clear(&ranges);
}

static void other_models_are_refused(void **state)
{
    (void)state;
    struct graph graph, other;
    struct quant_ranges ranges;
    struct quant_table table = {0};
    unet_error error;
    make_network(BILINEAR, 4, 1, &graph);
    random_ranges(&graph, &ranges);
    assert_ok(quant_table_put_ranges(&table, &graph, &ranges, &error), &error);
    make_network(TRANSPOSED, 4, 1, &other); /* what its transposed convolutions write */
    expect_refusal(&table, &other, "missing (up1.pad, up2.pad, up3.pad)");
    graph_clear(&other);
    make_network(BRAIN, 4, 1, &other);
    expect_refusal(&table, &other, "not its own (inc.double_conv.2, ");
    graph_clear(&other);
    make_network(BILINEAR, 8, 1, &other);
    expect_refusal(&table, &other, "inc.double_conv.0, ");
    graph_clear(&other);
    make_network(BILINEAR, 4, 2, &other);
    expect_refusal(&table, &other, "another checkpoint");
    graph_clear(&other);
    quant_ranges_clear(&ranges);
    quant_table_clear(&table);
    graph_clear(&graph);
}

/* The lines of a table but for one, which becomes `instead`. */
static void parse_changed(struct quant_table *from, const char *drop, const char *instead,
                          struct quant_table *to)
{
    char *text = malloc(TEXT_BYTES * 8);
    size_t used = (size_t)sprintf(text, "TRT-7000-EntropyCalibration2\n%s", instead);
    unet_error error;
    for (int i = 0; i < from->count; i++) {
        uint32_t bits;
        memcpy(&bits, &from->entries[i].value, sizeof bits);
        if (strcmp(from->entries[i].name, drop) != 0)
            used += (size_t)sprintf(text + used, "%s: %08x\n", from->entries[i].name, bits);
        assert_true(used < TEXT_BYTES * 7);
    }
    *to = (struct quant_table){0};
    assert_ok(quant_table_parse(to, text, used, &error), &error);
    free(text);
}

static void missing_and_extra_lines_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *drop, *instead, *part;
    } cases[] = {
        {"inc.double_conv.2", "", "1 tensors of this one are missing (inc.double_conv.2)"},
        {"", "stranger: 3c888888\n", "1 are not its own (stranger)"},
        {"unet/range/inc.double_conv.2/3", "", "range of 3 channels of inc.double_conv.2"},
        {"", "unet/mean/inc.double_conv.2/4: 3c888888\n",
         "mean of 5 channels of inc.double_conv.2"},
        {"unet/range/inc.double_conv.2", "unet/range/inc.double_conv.2: 0\n", "not above 0"},
        {"unet/range/inc.double_conv.2/0", "unet/range/inc.double_conv.2/0: bf800000\n", "below 0"},
        {"unet/share", "unet/share: 40000000\n", "share is 2"},
        {"unet/weights/up1.conv.double_conv.0", "unet/weights/up1.conv.double_conv.0: 0\n",
         "weights of 1 layers differ (up1.conv.double_conv.0)"},
    };
    struct graph graph;
    struct quant_ranges ranges;
    struct quant_table table = {0}, changed;
    unet_error error;
    make_network(BILINEAR, 4, 1, &graph);
    random_ranges(&graph, &ranges);
    assert_ok(quant_table_put_ranges(&table, &graph, &ranges, &error), &error);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        parse_changed(&table, cases[i].drop, cases[i].instead, &changed);
        expect_refusal(&changed, &graph, cases[i].part);
        quant_table_clear(&changed);
    }
    quant_ranges_clear(&ranges);
    quant_table_clear(&table);
    graph_clear(&graph);
}

/* ---------------------------------------------------------------- TensorRT's own names */

/* Writes a network down layer by layer as a program for TensorRT would: the scale of a tensor is
 * its place in the network, so that the test sees which one was taken. */
struct foreign {
    char text[TEXT_BYTES], *lines[512];
    int count, layers;
    bool unnamed;
    float expected[512]; /* of each value of ours */
};

static float add_tensor(struct foreign *f, const char *kind)
{
    float scale = (float)(++f->layers) / 64;
    uint32_t bits;
    char line[96];
    memcpy(&bits, &scale, sizeof bits);
    if (f->unnamed)
        snprintf(line, sizeof line, "(Unnamed Layer* %d) [%s]_output: %08x\n", f->layers - 1, kind,
                 bits);
    else
        snprintf(line, sizeof line, "%d: %08x\n", 100 + f->layers, bits);
    f->lines[f->count++] = strdup(line);
    return scale * 127;
}

/* `norms`: as nodes of their own. */
static void write_conv(struct foreign *f, const struct graph_node *node, bool norms)
{
    if (node->input_count > 1)
        add_tensor(f, "Concatenation");
    add_tensor(f, "Convolution");
    if (norms)
        add_tensor(f, "Scale");
    float range = add_tensor(f, "Activation");
    if (node->output != GRAPH_NONE)
        f->expected[node->output] = range;
    else if (node->pooled != GRAPH_NONE)
        f->expected[node->pooled] = range;
    if (node->pooled != GRAPH_NONE)
        add_tensor(f, "Pooling");
    if (node->head != GRAPH_NONE)
        add_tensor(f, "Convolution");
}

static void write_foreign(const struct graph *graph, bool unnamed, bool norms, bool pads,
                          bool input, struct foreign *f)
{
    memset(f, 0, sizeof *f);
    f->unnamed = unnamed;
    if (input)
        f->lines[f->count++] = strdup("data: 3c010a14\n");
    for (int n = 0; n < graph->node_count; n++) {
        const struct graph_node *node = &graph->nodes[n];
        if (node->op == GRAPH_CONV) {
            write_conv(f, node, norms);
        } else {
            float range = add_tensor(f, "Deconvolution");
            f->expected[node->output] = node->op == GRAPH_CONV_TRANSPOSE ? range : 0;
            if (pads)
                add_tensor(f, "Padding");
        }
    }
}

/* Into one text, the lines in any order if they are to be shuffled; frees the lines. */
static void finish_text(struct foreign *f, bool shuffle)
{
    uint64_t seed = 77;
    strcpy(f->text, "TRT-7000-EntropyCalibration2\n");
    for (int i = 0; i < f->count; i++) {
        int other = i + (shuffle ? (int)(random_next(&seed) % (uint64_t)(f->count - i)) : 0);
        char *line = f->lines[other];
        f->lines[other] = f->lines[i];
        strcat(f->text, line);
        free(line);
    }
    f->count = 0;
}

static void expect_match(const struct graph *graph, const struct foreign *f)
{
    struct quant_table table = {0};
    struct quant_ranges ranges;
    unet_error error;
    bool foreign = false;
    assert_ok(quant_table_parse(&table, f->text, strlen(f->text), &error), &error);
    assert_ok(quant_table_get_ranges(&table, graph, &ranges, &foreign, &error), &error);
    assert_true(foreign);
    for (int n = 0; n < graph->node_count; n++) {
        const struct graph_node *node = &graph->nodes[n];
        int stored = node->output != GRAPH_NONE ? node->output : node->pooled;
        if (is_conv(node) && stored != GRAPH_NONE)
            assert_float_equal(ranges.values[stored].tensor, f->expected[stored], 1e-4);
        if (stored != GRAPH_NONE)
            assert_null(ranges.values[stored].channels);
    }
    quant_ranges_clear(&ranges);
    quant_table_clear(&table);
}

static void foreign_tables_are_matched_by_order(void **state)
{
    (void)state;
    struct foreign *f = malloc(sizeof *f);
    for (int v = OLD_BILINEAR; v <= BRAIN; v++) {
        struct graph graph;
        make_network((enum variant)v, 4, 1, &graph);
        for (int kind = 0; kind < 16; kind++) {
            bool unnamed = kind & 1, norms = kind & 2, input = kind & 4;
            bool pads = norms || (kind & 8) != 0;
            write_foreign(&graph, unnamed, norms, pads, input, f);
            finish_text(f, unnamed); /* only numbers tell the order then */
            expect_match(&graph, f);
        }
        graph_clear(&graph);
    }
    free(f);
}

static void foreign_tables_of_other_networks_are_refused(void **state)
{
    (void)state;
    struct graph graph, other;
    struct foreign *f = malloc(sizeof *f);
    struct quant_table table;
    unet_error error;
    make_network(TRANSPOSED, 4, 1, &graph);
    struct checkpoint of = {TRANSPOSED, 4, 4, 3, 2, false, true, false, NULL, false};
    struct tensor_set set;
    make_checkpoint(&of, &set);
    assert_ok(graph_recognize(&set, &other, NULL, &error), &error);
    assert_ok(graph_optimize(&other, &error), &error);
    for (int unnamed = 0; unnamed < 2; unnamed++) {
        write_foreign(&other, unnamed, true, true, true, f);
        finish_text(f, false);
        table = (struct quant_table){0};
        assert_ok(quant_table_parse(&table, f->text, strlen(f->text), &error), &error);
        expect_refusal(&table, &graph,
                       unnamed ? "18 tensors with [Activation] in their names, this network has 14 "
                                 "such layers (inc.double_conv.2 to up3.conv.double_conv.2)"
                               : "another model: none of its 72 tensors (data to 171)");
        quant_table_clear(&table);
    }
    table = (struct quant_table){0};
    expect_refusal(&table, &graph, "another model");
    tensor_set_clear(&set);
    graph_clear(&other);
    graph_clear(&graph);
    free(f);
}

static void lack_of_memory_is_reported(void **state)
{
    (void)state;
    struct graph graph;
    struct quant_ranges ranges, again;
    unet_error error;
    bool foreign;
    make_network(TRANSPOSED, 4, 1, &graph);
    random_ranges(&graph, &ranges);
    unet_status status = UNET_ERROR_MEMORY;
    long n = 0;
    for (; status != UNET_OK && n < 5000; n++) {
        struct quant_table table = {0};
        memory_fail_after(n);
        status = quant_table_put_ranges(&table, &graph, &ranges, &error);
        if (status == UNET_OK)
            status = quant_table_get_ranges(&table, &graph, &again, &foreign, &error);
        memory_fail_after(-1);
        if (status != UNET_OK)
            assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
        quant_table_clear(&table);
    }
    assert_true(n > 5 && n < 5000);
    quant_ranges_clear(&again);
    quant_ranges_clear(&ranges);
    graph_clear(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(lines_are_tensorrts),
        cmocka_unit_test(broken_tables_are_refused),
        cmocka_unit_test(other_models_are_refused),
        cmocka_unit_test(missing_and_extra_lines_are_named),
        cmocka_unit_test(foreign_tables_are_matched_by_order),
        cmocka_unit_test(foreign_tables_of_other_networks_are_refused),
        cmocka_unit_test(lack_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
