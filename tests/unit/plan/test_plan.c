/* plan/plan.c: which kernel runs a node, and what is said where none does. */
#include "unit/engine/network.h"

#include <stdio.h>

#include "base/memory.h"

struct notes {
    int lines;
    char text[16384];
};

static void note(void *user, int level, const char *line)
{
    struct notes *notes = user;
    assert_int_equal(level, LOG_DETAIL);
    notes->lines++;
    strncat(notes->text, line, sizeof notes->text - strlen(notes->text) - 2);
    strcat(notes->text, "\n");
}

static const char *tier_suffix(enum cpu_tier tier, char *text, size_t bytes)
{
    snprintf(text, bytes, ".%s", cpu_tier_name(tier));
    return text;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static void plans_each_node_at_every_tier(void **state)
{
    (void)state;
    const enum kernel_op expected[] = {KERNEL_LOAD, KERNEL_CONV, KERNEL_CONV, KERNEL_UPSAMPLE,
                                       KERNEL_CONV};
    unet_error error;
    struct graph graph;
    network_optimized(&graph, false, 1);
    for (int tier = 0; tier <= (int)cpu_tier_detected(); tier++) {
        struct plan plan;
        assert_ok(plan_create(&graph, target_cpu((enum cpu_tier)tier), NULL, NULL, &plan, &error),
                  &error);
        assert_int_equal(plan.step_count, 5);
        assert_int_equal(plan_step_count(&graph), 5);
        for (int i = 0; i < plan.step_count; i++) {
            char text[32], message[128] = "";
            const struct plan_step *step = &plan.steps[i];
            assert_int_equal(step->desc.op, expected[i]);
            assert_int_equal(step->kernel->op, expected[i]);
            assert_true((int)step->kernel->tier <= tier);
            assert_null(kernel_machine_refusal(step->kernel, (enum cpu_tier)tier, message, 128));
            assert_null(step->kernel->refuse(step->kernel, &step->desc));
            assert_true(
                ends_with(step->kernel->name, tier_suffix(step->kernel->tier, text, sizeof text)));
            assert_int_equal(step->packed_offset % MEMORY_ALIGNMENT, 0);
            assert_true(step->packed_offset + step->packed_bytes <= plan.packed_bytes);
        }
        plan_clear(&plan);
    }
    graph_clear(&graph);
}

static void describes_what_is_fused(void **state)
{
    (void)state;
    unet_error error;
    struct graph graph;
    struct plan plan;
    network_optimized(&graph, true, 1);
    assert_ok(plan_create(&graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, &error), &error);
    const struct kernel_desc *first = &plan.steps[1].desc, *last = &plan.steps[4].desc;
    assert_string_equal(plan_step_name(&plan, &plan.steps[0]), "input");
    assert_string_equal(plan_step_name(&plan, &plan.steps[1]), "conv1");
    assert_true(first->relu && first->pool && first->store_out);
    assert_int_equal(first->out_channels, 20);
    assert_int_equal(first->head_channels, 0);
    assert_int_equal(plan.steps[3].desc.op, KERNEL_CONV_TRANSPOSE);
    assert_int_equal(plan.steps[3].like, plan.steps[1].out);
    assert_int_equal(last->source_count, 2);
    assert_int_equal(last->source_channels[0], 20);
    assert_int_equal(last->source_channels[1], 18);
    assert_int_equal(last->out_channels, 9);
    assert_int_equal(last->head_channels, 5);
    assert_true(plan.steps[4].head && !last->store_out && !last->pool);
    plan_clear(&plan);
    graph_clear(&graph);
}

static void tells_refusals_with_reasons(void **state)
{
    (void)state;
    unet_error error;
    struct graph graph;
    struct plan plan;
    struct notes notes = {0};
    const struct log log = {.function = note, .user = &notes};
    network_optimized(&graph, false, 1);
    assert_ok(plan_create(&graph, target_cpu(CPU_TIER_C), NULL, &log, &plan, &error), &error);
    assert_non_null(strstr(notes.text, "conv1: not conv3x3.direct.avx512: needs avx512"));
    assert_true(notes.lines > plan.step_count);
    plan_clear(&plan);
    graph_clear(&graph);
}

static void stores_an_output_that_is_no_head(void **state)
{
    (void)state;
    unet_error error;
    uint64_t seed = 5;
    struct plan plan;
    struct graph graph = network_start(3);
    graph.output = network_conv(&graph, "only", graph.input, 4, 3, &seed);
    assert_int_equal(plan_step_count(&graph), 3);
    assert_ok(plan_create(&graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, &error), &error);
    assert_int_equal(plan.steps[2].desc.op, KERNEL_STORE);
    assert_int_equal(plan.steps[2].sources[0], graph.output);
    assert_string_equal(plan_step_name(&plan, &plan.steps[2]), "output");
    plan_clear(&plan);
    graph_clear(&graph);
}

/* ---------------------------------------------------------------- what no kernel runs */

static void refuse(struct graph *graph, int output, const char *name, const char *reason)
{
    unet_error error;
    struct plan plan;
    graph->output = output;
    assert_ok(graph_check(graph, &error), &error); /* the graph itself is right */
    unet_status status = plan_create(graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, &error);
    assert_error(status, UNET_ERROR_DEVICE, &error, name);
    assert_error(status, UNET_ERROR_DEVICE, &error, reason);
    graph_clear(graph);
}

static struct graph started(int *value)
{
    uint64_t seed = 9;
    struct graph graph = network_start(3);
    *value = network_conv(&graph, "first", graph.input, 4, 3, &seed);
    return graph;
}

static void refuses_what_cannot_be_fused(void **state)
{
    (void)state;
    const char *reason = "fused";
    uint64_t seed = 3;
    int value;
    struct graph graph = started(&value);
    refuse(&graph, network_relu(&graph, "loose.relu", value), "loose.relu (relu)", reason);
    graph = started(&value);
    refuse(&graph, network_pair(&graph, GRAPH_CONCAT, "loose.concat", value, value, 8),
           "loose.concat (concat)", reason);
    graph = started(&value);
    refuse(&graph, network_pair(&graph, GRAPH_PAD, "loose.pad", value, value, 4), "loose.pad (pad)",
           reason);
    graph = started(&value);
    int norm = network_node(&graph, GRAPH_BATCH_NORM, "loose.norm", &value, 1, 4);
    graph.nodes[1].weight = network_constant(&graph, 4, 1, &seed);
    graph.nodes[1].bias = network_constant(&graph, 4, 1, &seed);
    refuse(&graph, norm, "loose.norm (batch_norm)", reason);
}

static void refuses_other_windows(void **state)
{
    (void)state;
    int value;
    struct graph graph = started(&value);
    int pooled = network_pool(&graph, "pool3", value);
    graph.nodes[1].kernel_h = graph.nodes[1].kernel_w = graph.nodes[1].stride = 3;
    refuse(&graph, pooled, "pool3", "2×2");
}

static void refuses_too_many_sources(void **state)
{
    (void)state;
    uint64_t seed = 3;
    int value;
    struct graph graph = started(&value);
    int wide =
        network_node(&graph, GRAPH_CONV, "five", (int[]){value, value, value, value, value}, 5, 2);
    struct graph_node *node = &graph.nodes[1];
    node->kernel_h = node->kernel_w = node->stride = 1;
    node->weight = network_constant(&graph, 5 * 4 * 2, 1, &seed);
    refuse(&graph, wide, "five", "4 tensors");
}

static void refuses_heads_inside_the_graph(void **state)
{
    (void)state;
    uint64_t seed = 3;
    int value;
    struct graph graph = started(&value);
    int head = graph_add_value(&graph, "head", 2);
    graph.nodes[0].head = head;
    graph.nodes[0].head_weight = network_constant(&graph, 8, 1, &seed);
    refuse(&graph, value, "first", "output");
    graph = started(&value);
    graph.nodes[0].head = head = graph_add_value(&graph, "head", 2);
    graph.nodes[0].head_weight = network_constant(&graph, 8, 1, &seed);
    network_conv(&graph, "after", head, 2, 3, &seed);
    refuse(&graph, head, "first", "read by another");
}

/* ---------------------------------------------------------------- recorded kernels */

static void takes_the_recorded_kernels(void **state)
{
    (void)state;
    unet_error error;
    struct graph graph;
    struct plan chosen, taken;
    const char *names[5];
    network_optimized(&graph, false, 1);
    assert_ok(plan_create(&graph, target_cpu(CPU_TIER_C), NULL, NULL, &chosen, &error), &error);
    for (int i = 0; i < 5; i++)
        names[i] = chosen.steps[i].kernel->name;
    assert_ok(plan_create(&graph, target_cpu(cpu_tier_detected()), names, NULL, &taken, &error),
              &error);
    for (int i = 0; i < 5; i++)
        assert_ptr_equal(taken.steps[i].kernel, chosen.steps[i].kernel);
    assert_int_equal(taken.packed_bytes, chosen.packed_bytes);
    plan_clear(&taken);

    names[1] = "conv3x3.future.c";
    assert_error(plan_create(&graph, target_cpu(CPU_TIER_C), names, NULL, &taken, &error),
                 UNET_ERROR_MODEL, &error, "conv1: kernel conv3x3.future.c");
    names[1] = names[0];
    assert_error(plan_create(&graph, target_cpu(CPU_TIER_C), names, NULL, &taken, &error),
                 UNET_ERROR_MODEL, &error, "another operation");
    names[1] = "conv3x3.direct.avx512";
    assert_error(plan_create(&graph, target_cpu(CPU_TIER_C), names, NULL, &taken, &error),
                 UNET_ERROR_MODEL, &error, "needs avx512");
    plan_clear(&chosen);
    graph_clear(&graph);
}

static void packing_depends_on_nothing_else(void **state)
{
    (void)state;
    unet_error error;
    struct graph graph;
    network_optimized(&graph, true, 4);
    for (int tier = 0; tier <= (int)cpu_tier_detected(); tier++) {
        struct plan plan;
        assert_ok(plan_create(&graph, target_cpu((enum cpu_tier)tier), NULL, NULL, &plan, &error),
                  &error);
        assert_true(plan.packed_bytes > 0);
        uint8_t *first = memory_alloc_aligned(plan.packed_bytes);
        uint8_t *second = memory_alloc_aligned(plan.packed_bytes);
        memset(first, 0xaa, plan.packed_bytes);
        memset(second, 0x55, plan.packed_bytes);
        plan_pack(&plan, first);
        plan_pack(&plan, second);
        assert_memory_equal(first, second, plan.packed_bytes);
        memory_free_aligned(first);
        memory_free_aligned(second);
        plan_clear(&plan);
    }
    graph_clear(&graph);
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    unet_error error;
    struct graph graph;
    struct plan plan;
    network_optimized(&graph, false, 1);
    memory_fail_after(0);
    unet_status status = plan_create(&graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, &error);
    memory_fail_after(-1);
    assert_error(status, UNET_ERROR_MEMORY, &error, "plan");
    graph_clear(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_each_node_at_every_tier),
        cmocka_unit_test(describes_what_is_fused),
        cmocka_unit_test(tells_refusals_with_reasons),
        cmocka_unit_test(stores_an_output_that_is_no_head),
        cmocka_unit_test(refuses_what_cannot_be_fused),
        cmocka_unit_test(refuses_other_windows),
        cmocka_unit_test(refuses_too_many_sources),
        cmocka_unit_test(refuses_heads_inside_the_graph),
        cmocka_unit_test(takes_the_recorded_kernels),
        cmocka_unit_test(packing_depends_on_nothing_else),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
