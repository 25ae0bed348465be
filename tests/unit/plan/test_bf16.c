/* Plans of bf16 values at every tier, whether it multiplies bf16 itself or not, against the scalar
 * interpreter, which rounds at the same places. */
#include <math.h>

#include "base/memory.h"
#include "graph/reference.h"
#include "plan/candidates.h"
#include "unit/engine/network.h"

#define HEIGHT 38
#define WIDTH  53
#define LOGITS (5 * (size_t)HEIGHT * WIDTH)

static void run_step(const struct plan_step *step, const struct layout_step *laid, void *scratch)
{
    for (int task = 0; task < laid->phases * laid->tasks; task++)
        step->kernel->run(step->kernel, &step->desc, &laid->args, task, laid->tasks, scratch);
}

/* A session in small. */
static void run_plan(const struct plan *plan, const float *input, float *logits)
{
    unet_error error;
    struct layout layout;
    assert_ok(layout_create(plan, 1, HEIGHT, WIDTH, 1, &layout, &error), &error);
    void *packed = memory_alloc_aligned(plan->packed_bytes);
    void *arena = memory_alloc_aligned(layout.arena_bytes);
    void *scratch = memory_alloc_aligned(layout.scratch_bytes);
    void *shared = memory_alloc_aligned(layout.shared_bytes);
    plan_pack(plan, packed);
    layout_bind(plan, &layout, arena, shared, packed);
    for (int i = 0; i < plan->step_count; i++) {
        layout.steps[i].args.planar_in = input;
        layout.steps[i].args.planar_out = logits;
        run_step(&plan->steps[i], &layout.steps[i], scratch);
    }
    memory_free_aligned(packed);
    memory_free_aligned(arena);
    memory_free_aligned(scratch);
    memory_free_aligned(shared);
    layout_clear(&layout);
}

static double mean_difference(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < LOGITS; i++)
        sum += fabs((double)a[i] - (double)b[i]);
    return sum / (double)LOGITS;
}

static float *new_logits(void)
{
    float *logits = memory_calloc(LOGITS, sizeof *logits);
    assert_non_null(logits);
    return logits;
}

/* The first kernel of each step that is not Winograd's. */
static void name_direct(const struct plan *plan, const char **names)
{
    for (int i = 0; i < plan->step_count; i++) {
        struct candidates found;
        int first = 0;
        candidates_find(plan, &plan->steps[i], NULL, &found);
        while (strstr(found.kernels[first]->name, ".winograd") != NULL)
            first++;
        names[i] = found.kernels[first]->name;
    }
}

struct nearness {
    double mean, most; /* in units of what bf16 itself makes */
};

static void check_plan(const struct plan *plan, const float *input, const float *expected,
                       double rounding, struct nearness near)
{
    float *logits = new_logits();
    run_plan(plan, input, logits);
    double mean = mean_difference(logits, expected),
           most = max_difference(logits, expected, LOGITS);
    if (!(mean < near.mean * rounding) || !(most < near.most * rounding))
        fail_msg("%s: mean %g, most %g; bf16 itself makes %g", cpu_tier_name(plan->target.tier),
                 mean, most, rounding);
    memory_free(logits);
}

/* Sums in another order can fall on the other side of a rounding: then a value is off by 2⁻⁸ of
 * itself. So direct kernels are near the interpreter, but not within float32's precision: on the
 * average far nearer than bf16 is to float32. Winograd's method rounds both of its transforms to
 * bf16 as well: each makes about as much noise as the tensors' rounding. */
static void check_tier(const struct graph *graph, enum cpu_tier tier, const float *input,
                       const float *expected, double rounding)
{
    unet_error error;
    struct plan plan, direct;
    const char *names[64];
    assert_ok(plan_create(graph, target_cpu(tier), NULL, NULL, &plan, &error), &error);
    assert_in_range(plan.step_count, 1, 64);
    name_direct(&plan, names);
    assert_ok(plan_create(graph, target_cpu(tier), names, NULL, &direct, &error), &error);
    check_plan(&direct, input, expected, rounding, (struct nearness){0.1, 4});
    check_plan(&plan, input, expected, rounding, (struct nearness){4, 40});
    plan_clear(&direct);
    plan_clear(&plan);
}

static void kernels_agree_with_the_interpreter(void **state)
{
    (void)state;
    unet_error error;
    for (int kind = 0; kind < 3; kind++) { /* bilinear, transposed, read up-sampled */
        struct graph graph;
        float *input = network_input(3 * HEIGHT * WIDTH, 5);
        float *plain = new_logits(), *expected = new_logits();
        network_optimized(&graph, kind == 1, 8);
        if (kind == 2)
            assert_ok(graph_fuse_upsample(&graph, &error), &error);
        assert_ok(graph_reference_run(&graph, input, HEIGHT, WIDTH, plain, &error), &error);
        graph_set_type(&graph, GRAPH_BF16);
        assert_ok(graph_reference_run(&graph, input, HEIGHT, WIDTH, expected, &error), &error);
        double rounding = mean_difference(plain, expected);
        assert_true(rounding > 1e-6);
        for (int tier = 0; tier <= (int)cpu_tier_detected(); tier++)
            check_tier(&graph, (enum cpu_tier)tier, input, expected, rounding);
        memory_free(input);
        memory_free(plain);
        memory_free(expected);
        graph_clear(&graph);
    }
}

static void tensors_take_half_the_memory(void **state)
{
    (void)state;
    unet_error error;
    struct graph graph;
    size_t bytes[2];
    network_optimized(&graph, true, 8);
    for (int bf16 = 0; bf16 < 2; bf16++) {
        struct plan plan;
        struct layout layout;
        graph_set_type(&graph, bf16 ? GRAPH_BF16 : GRAPH_F32);
        assert_ok(plan_create(&graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, &error), &error);
        assert_ok(layout_create(&plan, 1, 256, 256, 1, &layout, &error), &error);
        bytes[bf16] = layout.arena_bytes;
        layout_clear(&layout);
        plan_clear(&plan);
    }
    assert_true((double)bytes[1] < 0.7 * (double)bytes[0]); /* the input's tensor stays float32 */
    graph_clear(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_agree_with_the_interpreter),
        cmocka_unit_test(tensors_take_half_the_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
