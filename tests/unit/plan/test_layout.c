/* plan/layout.c: a simulation writes each tensor's name over the arena, step by step, and finds
 * whatever was overwritten before its last reader came. */
#include "unit/engine/network.h"

#include "base/memory.h"

#define CELL 64 /* bytes that the simulation tells apart */

struct simulation {
    const struct plan *plan;
    const struct layout *layout;
    int *owners; /* of each cell: the value that lies there */
};

static size_t tensor_bytes(const struct blocked *tensor)
{
    struct blocked shape = *tensor;
    return blocked_init(&shape, tensor->type, tensor->channels, tensor->height, tensor->width);
}

static void for_cells(const struct simulation *simulation, const struct blocked *tensor,
                      size_t pixel_offset, int value, bool write)
{
    size_t first = pixel_offset - blocked_origin(tensor);
    size_t bytes = tensor_bytes(tensor);
    assert_int_equal(pixel_offset % MEMORY_ALIGNMENT, 0);
    assert_true(first + bytes <= simulation->layout->arena_bytes);
    for (size_t cell = first / CELL; cell < (first + bytes) / CELL; cell++) {
        if (write)
            simulation->owners[cell] = value;
        else if (simulation->owners[cell] != value)
            fail_msg("value %d was overwritten by %d", value, simulation->owners[cell]);
    }
}

/* Sources must be whole before the step, and still be whole after its outputs were written. */
static void simulate_step(const struct simulation *simulation, int index)
{
    const struct plan_step *step = &simulation->plan->steps[index];
    const struct layout_step *laid = &simulation->layout->steps[index];
    for (int round = 0; round < 2; round++) {
        for (int s = 0; s < step->desc.source_count && step->sources[s] != GRAPH_NONE; s++)
            for_cells(simulation, &laid->args.sources[s], laid->source_offset[s], step->sources[s],
                      false);
        if (step->out != GRAPH_NONE)
            for_cells(simulation, &laid->args.out, laid->out_offset, step->out, round == 0);
        if (step->pooled != GRAPH_NONE)
            for_cells(simulation, &laid->args.pooled, laid->pooled_offset, step->pooled,
                      round == 0);
    }
}

static void simulate(const struct plan *plan, const struct layout *layout)
{
    size_t cells = layout->arena_bytes / CELL + 1;
    struct simulation simulation = {plan, layout, memory_alloc_array(cells, sizeof(int))};
    for (size_t i = 0; i < cells; i++)
        simulation.owners[i] = -1;
    for (int i = 0; i < plan->step_count; i++)
        simulate_step(&simulation, i);
    memory_free(simulation.owners);
}

static bool step_uses(const struct plan_step *step, int value)
{
    bool uses = step->out == value || step->pooled == value;
    for (int s = 0; s < step->desc.source_count; s++)
        uses = uses || step->sources[s] == value;
    return uses;
}

static size_t value_bytes(const struct plan *plan, const struct layout *layout, int value)
{
    for (int i = 0; i < plan->step_count; i++) {
        if (plan->steps[i].out == value)
            return tensor_bytes(&layout->steps[i].args.out);
        if (plan->steps[i].pooled == value)
            return tensor_bytes(&layout->steps[i].args.pooled);
    }
    return 0;
}

/* What must be there at once: no layout can be smaller. */
static size_t least_bytes(const struct plan *plan, const struct layout *layout)
{
    size_t most = 0;
    for (int i = 0; i < plan->step_count; i++) {
        size_t bytes = 0;
        for (int v = 0; v < plan->graph->value_count; v++) {
            bool before = false, after = false;
            for (int k = 0; k < plan->step_count; k++) {
                before = before || (k <= i && step_uses(&plan->steps[k], v));
                after = after || (k >= i && step_uses(&plan->steps[k], v));
            }
            if (before && after)
                bytes += value_bytes(plan, layout, v);
        }
        most = bytes > most ? bytes : most;
    }
    return most;
}

static size_t all_bytes(const struct plan *plan, const struct layout *layout)
{
    size_t bytes = 0;
    for (int i = 0; i < plan->step_count; i++) {
        if (plan->steps[i].out != GRAPH_NONE)
            bytes += tensor_bytes(&layout->steps[i].args.out);
        if (plan->steps[i].pooled != GRAPH_NONE)
            bytes += tensor_bytes(&layout->steps[i].args.pooled);
    }
    return bytes;
}

static void nothing_is_overwritten_while_it_lives(void **state)
{
    (void)state;
    const struct graph_size sizes[] = {{2, 2}, {3, 2}, {16, 16}, {37, 53}, {64, 48}, {129, 7}};
    unet_error error;
    for (int transposed = 0; transposed < 2; transposed++) {
        struct graph graph;
        struct plan plan;
        network_optimized(&graph, transposed, 1);
        assert_ok(plan_create(&graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, &error), &error);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct layout layout;
            assert_ok(layout_create(&plan, 1, sizes[i].height, sizes[i].width, 2, &layout, &error),
                      &error);
            simulate(&plan, &layout);
            assert_true(layout.arena_bytes >= least_bytes(&plan, &layout));
            assert_true(layout.arena_bytes <= least_bytes(&plan, &layout) * 1.15);
            layout_clear(&layout);
        }
        plan_clear(&plan);
        graph_clear(&graph);
    }
}

/* Convolutions, pools and up-samplings at random, each on some tensor that was made before. */
static void random_graph(struct graph *graph, uint64_t *seed)
{
    *graph = network_start(3);
    int full[32] = {graph->input}, count = 1;
    for (int i = 0; i < 12; i++) {
        int from = full[random_next(seed) % (unsigned)count];
        int channels = 1 + (int)(random_next(seed) % 40);
        int value = network_conv(graph, "conv", from, channels, 3, seed);
        if (random_next(seed) % 3 == 0) {
            int like = value;
            value = network_pool(graph, "pool", value);
            value = network_node(graph, GRAPH_UPSAMPLE, "up", &value, 1, channels);
            value = network_pair(graph, GRAPH_PAD, "pad", value, like, channels);
        }
        full[count++] = value;
    }
    int last = network_pair(graph, GRAPH_CONCAT, "concat", full[count - 1], full[count / 2],
                            graph->values[full[count - 1]].channels +
                                graph->values[full[count / 2]].channels);
    graph->output = network_conv(graph, "out", last, 2, 3, seed);
}

static void random_graphs_are_laid_out_well(void **state)
{
    (void)state;
    unet_error error;
    uint64_t seed = 77;
    double saved = 0, wasted = 0;
    for (int round = 0; round < 60; round++) {
        struct graph graph;
        struct plan plan;
        struct layout layout;
        random_graph(&graph, &seed);
        assert_ok(graph_optimize(&graph, &error), &error);
        assert_ok(plan_create(&graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, &error), &error);
        int height = 2 + (int)(random_next(&seed) % 300),
            width = 2 + (int)(random_next(&seed) % 300);
        assert_ok(layout_create(&plan, 1, height, width, 1, &layout, &error), &error);
        simulate(&plan, &layout);
        assert_true(layout.arena_bytes >= least_bytes(&plan, &layout));
        wasted += (double)layout.arena_bytes / (double)least_bytes(&plan, &layout) - 1;
        saved += 1 - (double)layout.arena_bytes / (double)all_bytes(&plan, &layout);
        layout_clear(&layout);
        plan_clear(&plan);
        graph_clear(&graph);
    }
    assert_true(saved / 60 > 0.2); /* memory really is shared */
    assert_true(wasted / 60 < 0.1);
}

/* ---------------------------------------------------------------- offsets and sizes */

/* One up-sampling of `low` sides, padded to the sides of a tensor beside it. */
static void check_offsets(int height, int width, int crop, int offset_y, int offset_x)
{
    unet_error error;
    uint64_t seed = 2;
    struct plan plan;
    struct layout layout;
    struct graph graph = network_start(3);
    int low = network_pool(&graph, "pool", graph.input);
    if (crop) /* a 1×1 with padding grows the low tensor, so that its double is too large */
        low = network_conv(&graph, "grow", low, 3, 1, &seed);
    graph.nodes[graph.node_count - 1].padding += crop;
    int up = network_node(&graph, GRAPH_UPSAMPLE, "up", &low, 1, 3);
    up = network_pair(&graph, GRAPH_PAD, "pad", up, graph.input, 3);
    graph.output = network_conv(&graph, "out", up, 2, 3, &seed);
    assert_ok(graph_optimize(&graph, &error), &error);
    assert_ok(plan_create(&graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, &error), &error);
    assert_ok(layout_create(&plan, 1, height, width, 1, &layout, &error), &error);
    for (int i = 0; i < plan.step_count; i++) {
        const struct kernel_args *args = &layout.steps[i].args;
        if (plan.steps[i].desc.op != KERNEL_UPSAMPLE)
            continue;
        assert_int_equal(args->out.height, height);
        assert_int_equal(args->out.width, width);
        assert_int_equal(args->offset_y, offset_y);
        assert_int_equal(args->offset_x, offset_x);
    }
    layout_clear(&layout);
    plan_clear(&plan);
    graph_clear(&graph);
}

/* The same where a convolution reads it up-sampled: `low` is not padded in memory. */
static void check_fused_offsets(int height, int width, int crop, int offset_y, int offset_x)
{
    unet_error error;
    uint64_t seed = 2;
    struct plan plan;
    struct layout layout;
    struct graph graph = network_start(3);
    int low = network_pool(&graph, "pool", graph.input);
    low = network_conv(&graph, "grow", low, 7, 1, &seed);
    graph.nodes[graph.node_count - 1].padding += crop;
    int up = network_node(&graph, GRAPH_UPSAMPLE, "up", &low, 1, 7);
    up = network_pair(&graph, GRAPH_PAD, "pad", up, graph.input, 7);
    up = network_pair(&graph, GRAPH_CONCAT, "concat", graph.input, up, 10);
    graph.output = network_conv(&graph, "out", up, 2, 3, &seed);
    assert_ok(graph_optimize(&graph, &error), &error);
    assert_ok(graph_fuse_upsample(&graph, &error), &error);
    assert_ok(plan_create(&graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, &error), &error);
    assert_ok(layout_create(&plan, 1, height, width, 1, &layout, &error), &error);
    const struct plan_step *step = &plan.steps[plan.step_count - 2];
    const struct kernel_args *args = &layout.steps[plan.step_count - 2].args;
    assert_int_equal(step->desc.upsampled, 1);
    assert_int_equal(args->out.height, height);
    assert_int_equal(args->sources[0].width, width);
    assert_int_equal(args->sources[1].height, height / 2 + 2 * crop);
    assert_int_equal(args->sources[1].width, width / 2 + 2 * crop);
    assert_int_equal(args->offset_y, offset_y);
    assert_int_equal(args->offset_x, offset_x);
    layout_clear(&layout);
    plan_clear(&plan);
    graph_clear(&graph);
}

static void padding_goes_half_before(void **state)
{
    (void)state;
    check_offsets(8, 10, 0, 0, 0);
    check_offsets(9, 11, 0, 0, 0); /* one row too few: it goes below */
    check_offsets(8, 10, 1, -2, -2);
    check_offsets(9, 11, 1, -2, -2); /* floor(−3 / 2) */
    check_fused_offsets(8, 10, 0, 0, 0);
    check_fused_offsets(9, 11, 0, 0, 0);
    check_fused_offsets(8, 10, 1, -2, -2);
    check_fused_offsets(9, 11, 1, -2, -2);
}

static void refuses_impossible_sizes(void **state)
{
    (void)state;
    unet_error error;
    struct graph graph;
    struct plan plan;
    struct layout layout;
    network_optimized(&graph, false, 1);
    assert_ok(plan_create(&graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, &error), &error);
    assert_error(layout_create(&plan, 1, 0, 5, 1, &layout, &error), UNET_ERROR_USAGE, &error,
                 "height 0");
    assert_error(layout_create(&plan, 1, 5, -1, 1, &layout, &error), UNET_ERROR_USAGE, &error,
                 "width -1");
    assert_error(layout_create(&plan, 1, 5, UNET_MAX_SIDE + 1, 1, &layout, &error),
                 UNET_ERROR_USAGE, &error, "width 32769");
    assert_error(layout_create(&plan, 1, 1, 40, 1, &layout, &error), UNET_ERROR_USAGE, &error,
                 "conv1");
    plan_clear(&plan);
    graph_clear(&graph);
}

static unet_status lay_out(const struct graph *graph, int height, int width, unet_error *error)
{
    struct plan plan;
    struct layout layout;
    assert_ok(plan_create(graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, error), error);
    unet_status status = layout_create(&plan, 1, height, width, 1, &layout, error);
    if (status == UNET_OK)
        layout_clear(&layout);
    plan_clear(&plan);
    return status;
}

static void refuses_outputs_of_another_size(void **state)
{
    (void)state;
    unet_error error;
    uint64_t seed = 2;
    struct graph graph = network_start(3);
    graph.output = network_conv(&graph, "shrink", graph.input, 3, 3, &seed);
    graph.nodes[0].padding = 0;
    assert_error(lay_out(&graph, 9, 12, &error), UNET_ERROR_MODEL, &error, "12×9 into 10×7");
    graph_clear(&graph);
}

/* Without padding only even sides come back as they were. */
static void names_a_size_that_fits(void **state)
{
    (void)state;
    unet_error error;
    uint64_t seed = 2;
    struct graph graph = network_start(3);
    int wide = network_conv(&graph, "wide", graph.input, 3, 3, &seed);
    int low = network_pool(&graph, "pool2", network_pool(&graph, "pool1", wide));
    int up = network_node(&graph, GRAPH_UPSAMPLE, "up1", &low, 1, 3);
    up = network_node(&graph, GRAPH_UPSAMPLE, "up2", &up, 1, 3);
    int both = network_pair(&graph, GRAPH_CONCAT, "concat", wide, up, 6);
    graph.output = network_conv(&graph, "out", both, 2, 3, &seed);
    assert_ok(graph_optimize(&graph, &error), &error);
    assert_error(lay_out(&graph, 18, 21, &error), UNET_ERROR_USAGE, &error,
                 "21×18 does not fit this network: width and height must be multiples of 4; pad it "
                 "to 24×20");
    assert_ok(lay_out(&graph, 20, 24, &error), &error);
    graph_clear(&graph);
}

static void binding_adds_the_arena(void **state)
{
    (void)state;
    unet_error error;
    struct graph graph;
    struct plan plan;
    struct layout layout;
    network_optimized(&graph, false, 1);
    assert_ok(plan_create(&graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, &error), &error);
    assert_ok(layout_create(&plan, 1, 20, 30, 1, &layout, &error), &error);
    char *arena = memory_alloc_aligned(layout.arena_bytes), packed;
    layout_bind(&plan, &layout, arena, NULL, &packed);
    const struct layout_step *last = &layout.steps[plan.step_count - 1];
    assert_ptr_equal(last->args.sources[1].data, arena + last->source_offset[1]);
    assert_ptr_equal(layout.steps[1].args.pooled.data, arena + layout.steps[1].pooled_offset);
    assert_ptr_equal(last->args.packed, &packed + plan.steps[plan.step_count - 1].packed_offset);
    assert_null(last->args.out.data);            /* only its head is wanted … */
    assert_int_equal(last->args.out.height, 20); /* … but it has a size */
    memory_free_aligned(arena);
    layout_clear(&layout);
    plan_clear(&plan);
    graph_clear(&graph);
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    unet_error error;
    struct graph graph;
    struct plan plan;
    struct layout layout;
    unet_status status = UNET_ERROR_MEMORY;
    network_optimized(&graph, false, 1);
    assert_ok(plan_create(&graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, &error), &error);
    int failures = 0;
    for (; status != UNET_OK; failures++) {
        memory_fail_after(failures);
        status = layout_create(&plan, 1, 20, 30, 1, &layout, &error);
        memory_fail_after(-1);
        if (status != UNET_OK)
            assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
    }
    assert_true(failures > 3);
    layout_clear(&layout);
    plan_clear(&plan);
    graph_clear(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_overwritten_while_it_lives),
        cmocka_unit_test(random_graphs_are_laid_out_well),
        cmocka_unit_test(padding_goes_half_before),
        cmocka_unit_test(refuses_impossible_sizes),
        cmocka_unit_test(refuses_outputs_of_another_size),
        cmocka_unit_test(names_a_size_that_fits),
        cmocka_unit_test(binding_adds_the_arena),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
