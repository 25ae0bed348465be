/* Which network is it? On checkpoints made in memory; test_pytorch.c has PyTorch's own. */
#include <math.h>
#include <stdlib.h>

#include "checkpoint.h"
#include "graph/recognize.h"

static const struct checkpoint variants[] = {
    {OLD_BILINEAR, 4, 4, 3, 2, true, true, false, NULL, false},
    {OLD_BILINEAR, 4, 3, 1, 1, false, true, false, NULL, false},
    {BILINEAR, 4, 4, 3, 2, false, true, false, NULL, false},
    {BILINEAR, 4, 2, 4, 19, true, false, false, NULL, false},
    {TRANSPOSED, 4, 2, 3, 11, false, true, false, NULL, false},
    {TRANSPOSED, 4, 1, 1, 1, true, true, false, NULL, false},
    {BRAIN, 4, 2, 3, 1, false, true, false, NULL, false},
    {BRAIN, 4, 1, 1, 3, true, false, false, NULL, false},
};
#define VARIANTS (sizeof variants / sizeof variants[0])

static const char *const architectures[] = {
    [OLD_BILINEAR] = "unet-bilinear-old",
    [BILINEAR] = "unet-bilinear",
    [TRANSPOSED] = "unet-transposed",
    [BRAIN] = "brain-segmentation",
};

static void check_recognized(const struct checkpoint *of)
{
    struct tensor_set set;
    struct graph graph;
    struct unet_facts facts;
    unet_error error;
    make_checkpoint(of, &set);
    assert_ok(graph_recognize(&set, &graph, &facts, &error), &error);
    tensor_set_clear(&set); /* the graph must not need it any more */
    assert_ok(graph_check(&graph, &error), &error);
    assert_string_equal(facts.architecture, architectures[of->variant]);
    assert_string_equal(graph.architecture, architectures[of->variant]);
    assert_int_equal(facts.in_channels, of->in_channels);
    assert_int_equal(facts.classes, of->classes);
    assert_int_equal(facts.width, of->width);
    assert_int_equal(facts.conv_bias, of->conv_bias);
    assert_int_equal(graph.values[graph.input].channels, of->in_channels);
    assert_int_equal(graph.values[graph.output].channels, of->classes);
    assert_int_equal(graph.sigmoid_output, of->variant == BRAIN);
    assert_int_equal(graph.normalize,
                     of->variant == BRAIN ? UNET_NORMALIZE_ZSCORE : UNET_NORMALIZE_255);
    /* A double convolution a level and way, with norms and activations; pool, up, pad, concat. */
    assert_int_equal(graph.node_count, 6 * (2 * of->depth + 1) + 4 * of->depth + 1);
    graph_clear(&graph);
}

static void knows_every_variant(void **state)
{
    (void)state;
    for (size_t i = 0; i < VARIANTS; i++)
        check_recognized(&variants[i]);
}

static void knows_them_by_counts_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < VARIANTS; i++) {
        struct checkpoint of = variants[i];
        of.flat = true;
        check_recognized(&of);
    }
}

static void knows_them_behind_prefixes(void **state)
{
    (void)state;
    const char *const prefixes[] = {"module.", "model.", "a.b."};
    for (size_t i = 0; i < VARIANTS; i++) {
        struct checkpoint of = variants[i];
        of.prefix = prefixes[i % 3];
        check_recognized(&of);
    }
}

static void knows_other_depths_and_widths(void **state)
{
    (void)state;
    for (int depth = 1; depth <= 6; depth++) {
        for (int v = OLD_BILINEAR; v <= BRAIN; v++) {
            struct checkpoint of = {(enum variant)v, depth, 1 + depth % 3, 2,    3,
                                    depth % 2 == 0,  true,  false,         NULL, false};
            if (v == OLD_BILINEAR && depth == 1)
                continue; /* there it is the same network as today's */
            check_recognized(&of);
        }
    }
}

static void knows_ups_without_bias(void **state)
{
    (void)state;
    for (size_t i = 4; i < VARIANTS; i++) {
        struct checkpoint of = variants[i];
        of.bare_ups = true;
        check_recognized(&of);
    }
}

/* Multiply-adds at 512×512, width 64, as they were counted for the project's benchmarks. */
static void counts_multiply_adds(void **state)
{
    (void)state;
    static const double expected[] = {
        [OLD_BILINEAR] = 123.7e9, [BILINEAR] = 160e9, [TRANSPOSED] = 193e9};
    for (int v = OLD_BILINEAR; v <= TRANSPOSED; v++) {
        struct checkpoint of = {(enum variant)v, 4, 64, 3, 2, true, true, false, NULL, false};
        struct tensor_set set;
        struct graph graph;
        unet_error error;
        make_checkpoint(&of, &set);
        assert_ok(graph_recognize(&set, &graph, NULL, &error), &error);
        struct graph_size *sizes = calloc((size_t)graph.value_count, sizeof *sizes);
        assert_non_null(sizes);
        assert_ok(graph_infer(&graph, 512, 512, sizes, &error), &error);
        double macs = 0;
        for (int i = 0; i < graph.node_count; i++)
            macs += graph_node_macs(&graph, &graph.nodes[i], sizes);
        if (fabs(macs / expected[v] - 1) > 0.004)
            fail_msg("%s: %.2f GMAC where %.1f are due", graph.architecture, macs / 1e9,
                     expected[v] / 1e9);
        free(sizes);
        graph_clear(&graph);
        tensor_set_clear(&set);
    }
}

/* Names of nodes are those of the checkpoint's layers: reports and engines speak of them. */
static void names_layers_as_the_checkpoint_does(void **state)
{
    (void)state;
    struct tensor_set set;
    struct graph graph;
    unet_error error;
    struct checkpoint of = variants[4];
    of.prefix = "module.";
    make_checkpoint(&of, &set);
    assert_ok(graph_recognize(&set, &graph, NULL, &error), &error);
    const char *const expected[] = {"inc.double_conv.0",    "inc.double_conv.1",
                                    "inc.double_conv.2",    "inc.double_conv.3",
                                    "inc.double_conv.4",    "inc.double_conv.5",
                                    "down1.maxpool_conv.0", "down1.maxpool_conv.1.double_conv.0"};
    for (int i = 0; i < 8; i++)
        assert_string_equal(graph.nodes[i].name, expected[i]);
    assert_string_equal(graph.nodes[graph.node_count - 1].name, "outc.conv");
    graph_clear(&graph);
    tensor_set_clear(&set);
}

/* ---------------------------------------------------------------- what is refused */

static unet_tensor *find(struct tensor_set *set, const char *name)
{
    unet_tensor *tensor = (unet_tensor *)tensor_set_find(set, name);
    assert_non_null(tensor);
    return tensor;
}

static void expect_refusal(struct tensor_set *set, const char *const *parts)
{
    struct graph graph;
    unet_error error = {0};
    unet_status status = graph_recognize(set, &graph, NULL, &error);
    for (; *parts != NULL; parts++)
        assert_error(status, UNET_ERROR_MODEL, &error, *parts);
    assert_int_equal(graph.node_count, 0);
    assert_null(graph.arena.chunks);
    tensor_set_clear(set);
}

#define EXPECT(set, ...) expect_refusal(set, (const char *const[]){__VA_ARGS__, NULL})

static void copy_without(const struct tensor_set *from, size_t skipped, struct tensor_set *to)
{
    unet_error error;
    *to = (struct tensor_set){0};
    for (size_t i = 0; i < from->count; i++)
        if (i != skipped)
            assert_ok(tensor_set_add(to, &from->items[i], &error), &error);
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* Any one tensor taken away is named, but for what only training needs. */
static void names_a_missing_tensor(void **state)
{
    (void)state;
    for (size_t v = 0; v < VARIANTS; v++) {
        struct tensor_set whole, part;
        make_checkpoint(&variants[v], &whole);
        for (size_t i = 0; i < whole.count; i++) {
            const char *name = whole.items[i].name;
            copy_without(&whole, i, &part);
            if (!ends_with(name, "num_batches_tracked")) {
                EXPECT(&part, name, "missing");
                continue;
            }
            struct graph graph;
            unet_error error;
            assert_ok(graph_recognize(&part, &graph, NULL, &error), &error);
            graph_clear(&graph);
            tensor_set_clear(&part);
        }
        tensor_set_clear(&whole);
    }
}

/* One value fewer in any tensor, as shape and as count: that tensor is named, no other. */
static void names_a_misshapen_tensor(void **state)
{
    (void)state;
    for (size_t v = 0; v < 2 * VARIANTS; v++) {
        struct checkpoint of = variants[v / 2];
        of.flat = v % 2 == 1;
        of.width = 4; /* so that a side can shrink and the tensor does not vanish */
        of.in_channels = of.classes = 3;
        struct tensor_set whole, part;
        make_checkpoint(&of, &whole);
        for (size_t i = 0; i < whole.count; i++) {
            const char *name = whole.items[i].name;
            if (ends_with(name, "num_batches_tracked"))
                continue;
            copy_without(&whole, whole.count, &part);
            unet_tensor *tensor = &part.items[i];
            tensor->shape[tensor->rank - 1]--;
            /* Kernels have 3×3 or 2×2 taps: 3×2 shows. A 1×1 kernel would have none. */
            EXPECT(&part, name, "expected");
        }
        tensor_set_clear(&whole);
    }
}

static void says_what_was_expected(void **state)
{
    (void)state;
    struct checkpoint of = {BILINEAR, 4, 32, 3, 2, true, true, false, NULL, false};
    struct tensor_set set;
    make_checkpoint(&of, &set);
    find(&set, "down2.maxpool_conv.1.double_conv.3.weight")->shape[3] = 2;
    EXPECT(&set, "down2.maxpool_conv.1.double_conv.3.weight is 128×128×3×2; 128×128×3×3 was "
                 "expected");
    make_checkpoint(&of, &set);
    find(&set, "inc.double_conv.0.weight")->rank = 3;
    EXPECT(&set, "inc.double_conv.0.weight is 32×3×3; 32×N×3×3 was expected");
    of.flat = true;
    make_checkpoint(&of, &set);
    find(&set, "up1.conv.double_conv.0.weight")->shape[0]++;
    EXPECT(&set, "up1.conv.double_conv.0.weight has 1179649 values; 256×512×3×3 was expected");
}

static void names_a_superfluous_tensor(void **state)
{
    (void)state;
    const char *const names[] = {"down1.maxpool_conv.1.double_conv.6.weight", "attention.weight",
                                 "inc.double_conv.0.bias", "num_batches_tracked",
                                 "up1.up.num_batches_tracked"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct tensor_set set;
        unet_error error;
        make_checkpoint(&variants[4], &set); /* without bias */
        unet_tensor extra = *find(&set, "inc.double_conv.1.weight");
        extra.name = names[i];
        assert_ok(tensor_set_add(&set, &extra, &error), &error);
        EXPECT(&set, names[i], "belongs to no layer");
    }
}

static void refuses_what_is_not_finite(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    const char *const names[] = {"up2.up.weight", "inc.double_conv.1.running_var",
                                 "down4.maxpool_conv.1.double_conv.4.bias", "outc.conv.bias",
                                 "up4.conv.double_conv.3.weight"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct tensor_set set;
        make_checkpoint(&variants[4], &set);
        unet_tensor *tensor = find(&set, names[i]);
        ((float *)tensor->data)[tensor->bytes / sizeof(float) - 1] = bad[i % 3];
        EXPECT(&set, names[i], i % 3 == 0 ? "NaN" : "infinite");
    }
}

/* What float32 cannot hold is infinite: the checkpoint had a finite float64. */
static void refuses_what_leaves_the_range(void **state)
{
    (void)state;
    struct tensor_set set;
    make_checkpoint(&variants[4], &set);
    unet_tensor *tensor = find(&set, "outc.conv.bias");
    static const double large[11] = {1, 2, 1e300};
    tensor->dtype = UNET_F64;
    tensor->data = large;
    tensor->bytes = sizeof large;
    EXPECT(&set, "outc.conv.bias", "value 2", "infinite");

    make_checkpoint(&variants[4], &set);
    ((float *)find(&set, "inc.double_conv.1.running_var")->data)[1] = -0.25f;
    EXPECT(&set, "inc.double_conv.1.running_var", "value 1", "-0.25");

    make_checkpoint(&variants[4], &set);
    ((float *)find(&set, "inc.double_conv.1.weight")->data)[0] = 3e38f;
    ((float *)find(&set, "inc.double_conv.1.running_var")->data)[0] = 0;
    EXPECT(&set, "inc.double_conv.1", "channel 0", "scaled");
}

static void refuses_other_networks(void **state)
{
    (void)state;
    struct tensor_set set = {0};
    EXPECT(&set, "no tensors", "inc.double_conv.");
    static const float zero;
    unet_error error;
    unet_tensor tensor = {.name = "layer1.0.conv1.weight", .rank = 0, .data = &zero, .bytes = 4};
    set = (struct tensor_set){0};
    assert_ok(tensor_set_add(&set, &tensor, &error), &error);
    EXPECT(&set, "layer1.0.conv1.weight", "Pytorch-UNet", "brain-segmentation");
    /* The marker counts only where a part of a name begins. */
    tensor.name = "zinc.double_conv.0.weight";
    set = (struct tensor_set){0};
    assert_ok(tensor_set_add(&set, &tensor, &error), &error);
    EXPECT(&set, "zinc.double_conv.0.weight", "not a U-Net");
    tensor.name = "inc.double_conv.0.weight";
    set = (struct tensor_set){0};
    assert_ok(tensor_set_add(&set, &tensor, &error), &error);
    EXPECT(&set, "inc.double_conv.1.weight", "missing");
}

static void refuses_a_first_block_alone(void **state)
{
    (void)state;
    struct tensor_set whole, set = {0};
    unet_error error;
    make_checkpoint(&variants[2], &whole);
    for (size_t i = 0; i < whole.count; i++)
        if (strncmp(whole.items[i].name, "inc.", 4) == 0)
            assert_ok(tensor_set_add(&set, &whole.items[i], &error), &error);
    EXPECT(&set, "down1.maxpool_conv.1.double_conv.0.weight", "missing");
    tensor_set_clear(&whole);
}

/* More channels than a graph may have: refused before anything is computed from them. */
static void refuses_a_width_beyond_all(void **state)
{
    (void)state;
    struct tensor_set set;
    make_checkpoint(&variants[2], &set);
    const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
    static float many[5000];
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "inc.double_conv.1.%s", parts[i]);
        unet_tensor *tensor = find(&set, name);
        tensor->shape[0] = 5000;
        tensor->data = many;
        tensor->bytes = sizeof many;
    }
    EXPECT(&set, "inc.double_conv.1.weight has 5000 values", "4096");
}

/* Half of float32's precision is enough to tell that the right converter ran. */
static void reads_half_precision(void **state)
{
    (void)state;
    struct tensor_set set;
    struct graph graph;
    unet_error error;
    make_checkpoint(&variants[4], &set);
    static const uint16_t halves[11] = {0x3c00, 0xc000, 0x3555, 0x0001};
    unet_tensor *tensor = find(&set, "outc.conv.bias");
    tensor->dtype = UNET_F16;
    tensor->data = halves;
    tensor->bytes = sizeof halves;
    assert_ok(graph_recognize(&set, &graph, NULL, &error), &error);
    const struct graph_node *last = &graph.nodes[graph.node_count - 1];
    const float expected[] = {1, -2, 0.333251953125f, 0x1p-24f, 0};
    assert_memory_equal(last->bias.data, expected, sizeof expected);
    graph_clear(&graph);
    tensor_set_clear(&set);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    for (size_t v = 0; v < VARIANTS; v += 2) {
        struct tensor_set set;
        make_checkpoint(&variants[v], &set);
        unet_status status = UNET_ERROR_MEMORY;
        long failures = 0;
        for (; status != UNET_OK; failures++) {
            struct graph graph;
            unet_error error = {0};
            memory_fail_after(failures);
            status = graph_recognize(&set, &graph, NULL, &error);
            memory_fail_after(-1);
            if (status != UNET_OK)
                assert_error(status, UNET_ERROR_MEMORY, &error, "out of memory");
            graph_clear(&graph);
        }
        assert_true(failures > 5);
        tensor_set_clear(&set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_every_variant),
        cmocka_unit_test(knows_them_by_counts_alone),
        cmocka_unit_test(knows_them_behind_prefixes),
        cmocka_unit_test(knows_other_depths_and_widths),
        cmocka_unit_test(knows_ups_without_bias),
        cmocka_unit_test(counts_multiply_adds),
        cmocka_unit_test(names_layers_as_the_checkpoint_does),
        cmocka_unit_test(names_a_missing_tensor),
        cmocka_unit_test(names_a_misshapen_tensor),
        cmocka_unit_test(says_what_was_expected),
        cmocka_unit_test(names_a_superfluous_tensor),
        cmocka_unit_test(refuses_what_is_not_finite),
        cmocka_unit_test(refuses_what_leaves_the_range),
        cmocka_unit_test(refuses_other_networks),
        cmocka_unit_test(refuses_a_first_block_alone),
        cmocka_unit_test(refuses_a_width_beyond_all),
        cmocka_unit_test(reads_half_precision),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
