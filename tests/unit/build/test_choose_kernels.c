/* build/choose_kernels.c with costs that the test makes up, and build/time_kernels.c with a
 * clock. */
#include "unit/engine/network.h"

#include <stdio.h>

#include "build/choose_kernels.h"
#include "build/time_kernels.h"

#define MACHINE "CPU\tc\t1\t0\t"

/* Gives `favourite` the time 100 and others 200, but nothing from call number `silent_from` on. */
struct fake {
    const char *favourite;
    int calls, silent_from;
    int64_t favourite_time;
};

static unet_status fake_measure(void *context, int step, const struct candidates *candidates,
                                int64_t *nanoseconds, unet_error *error)
{
    (void)step, (void)error;
    struct fake *fake = context;
    assert_true(candidates->count > 1);
    for (int i = 0; i < candidates->count; i++)
        nanoseconds[i] =
            strcmp(candidates->kernels[i]->name, fake->favourite) == 0 ? fake->favourite_time : 200;
    if (fake->calls++ >= fake->silent_from)
        nanoseconds[0] = 0;
    return UNET_OK;
}

struct notes {
    char text[16384];
};

static void note(void *user, int level, const char *line)
{
    struct notes *notes = user;
    assert_int_equal(level, LOG_DETAIL);
    strncat(notes->text, line, sizeof notes->text - strlen(notes->text) - 2);
    strcat(notes->text, "\n");
}

/* input 3 → conv "first" 20 → "twin1", "twin2", equal but for their weights → 20 */
struct bed {
    struct graph graph;
    struct plan plan;
    struct layout layout;
    struct timing_cache cache;
    struct notes notes;
    struct log log;
    struct chooser chooser;
    const char *names[8];
};

static void set_up(struct bed *bed, struct fake *fake, enum cpu_tier tier, int threads)
{
    unet_error error;
    uint64_t seed = 7;
    *bed = (struct bed){.graph = {.architecture = "test", .normalize = UNET_NORMALIZE_255}};
    struct graph *graph = &bed->graph;
    graph->input = graph_add_value(graph, "input", 3);
    int value = network_conv(graph, "first", graph->input, 20, 3, &seed);
    value = network_conv(graph, "twin1", value, 20, 3, &seed);
    graph->output = network_conv(graph, "twin2", value, 20, 3, &seed);
    assert_ok(plan_create(graph, target_cpu(tier), NULL, NULL, &bed->plan, &error), &error);
    assert_ok(layout_create(&bed->plan, 1, 24, 32, threads, &bed->layout, &error), &error);
    bed->log = (struct log){.function = note, .user = &bed->notes};
    bed->chooser = (struct chooser){.plan = &bed->plan,
                                    .layout = &bed->layout,
                                    .machine = MACHINE,
                                    .cache = &bed->cache,
                                    .measure = fake_measure,
                                    .context = fake,
                                    .log = &bed->log};
}

static void tear_down(struct bed *bed)
{
    timing_cache_clear(&bed->cache);
    layout_clear(&bed->layout);
    plan_clear(&bed->plan);
    graph_clear(&bed->graph);
}

static void choose(struct bed *bed)
{
    unet_error error;
    memset(bed->names, 0, sizeof bed->names);
    assert_ok(choose_kernels(&bed->chooser, bed->names, &error), &error);
}

static int occurrences(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

static void follows_the_times(void **state)
{
    (void)state;
    struct fake fake = {"conv.direct.c", 0, 99, 100};
    struct bed bed;
    set_up(&bed, &fake, CPU_TIER_C, 1);
    choose(&bed);
    assert_int_equal(fake.calls, 2); /* the twins are one */
    assert_int_equal(bed.chooser.measured, 2);
    assert_int_equal(bed.chooser.unmeasured, 0);
    for (int i = 1; i <= 3; i++)
        assert_string_equal(bed.names[i], "conv.direct.c");
    assert_string_equal(bed.names[0], bed.plan.steps[0].kernel->name); /* it is alone */
    unet_error error;
    struct plan timed;
    assert_ok(plan_create(&bed.graph, target_cpu(CPU_TIER_C), bed.names, NULL, &timed, &error),
              &error);
    assert_string_equal(timed.steps[2].kernel->name, "conv.direct.c");
    plan_clear(&timed);
    tear_down(&bed);
}

static void tells_all_once(void **state)
{
    (void)state;
    struct fake fake = {"conv3x3.direct.c", 0, 99, 100};
    struct bed bed;
    set_up(&bed, &fake, CPU_TIER_C, 1);
    choose(&bed);
    const char *text = bed.notes.text;
    assert_int_equal(occurrences(text, "twin1: not conv3x3.direct.avx512: needs avx512"), 1);
    assert_int_equal(occurrences(text, "twin1: conv3x3.direct.c took 0.000 ms\n"), 1);
    assert_int_equal(occurrences(text, "twin1: conv.direct.c took 0.000 ms\n"), 1);
    assert_int_equal(occurrences(text, "twin2: conv.direct.c took 0.000 ms when it was timed"), 1);
    assert_int_equal(occurrences(text, "twin1: conv3x3.direct.c\n"), 1);
    tear_down(&bed);
}

/* The choice of a build that measures is the choice of the next one, which reads. */
static void the_cache_decides_as_the_clock_did(void **state)
{
    (void)state;
    unet_error error;
    struct fake fake = {"conv.direct.c", 0, 99, 100}, never = {"none", 0, 0, 0};
    struct bed first, second;
    const char *path = temporary_path("choice.times");
    set_up(&first, &fake, CPU_TIER_C, 1);
    choose(&first);
    assert_ok(timing_cache_save(&first.cache, path, &error), &error);
    set_up(&second, &never, CPU_TIER_C, 1);
    assert_ok(timing_cache_read(&second.cache, path, &error), &error);
    choose(&second);
    assert_int_equal(never.calls, 0);
    for (int i = 0; i < first.plan.step_count; i++)
        assert_string_equal(first.names[i], second.names[i]);
    tear_down(&first);
    tear_down(&second);
}

static void another_machine_is_measured_anew(void **state)
{
    (void)state;
    struct fake fake = {"conv.direct.c", 0, 99, 100};
    struct bed bed;
    set_up(&bed, &fake, CPU_TIER_C, 1);
    choose(&bed);
    bed.chooser.machine = "Other CPU\tc\t1\t0\t";
    choose(&bed);
    assert_int_equal(fake.calls, 4);
    tear_down(&bed);
}

/* A libunet with a further candidate: all are timed again, for old and new times do not compare. */
static void a_hole_in_the_cache_is_measured_whole(void **state)
{
    (void)state;
    unet_error error;
    struct fake fake = {"conv.direct.c", 0, 99, 100};
    struct bed bed;
    char key[TIMING_MACHINE_BYTES + STEP_TEXT_BYTES], text[STEP_TEXT_BYTES];
    set_up(&bed, &fake, CPU_TIER_C, 1);
    step_text(&bed.plan.steps[2], &bed.layout.steps[2], text);
    snprintf(key, sizeof key, MACHINE "%s", text);
    assert_ok(timing_cache_put(&bed.cache, key, "conv3x3.direct.c", 1, &error), &error);
    choose(&bed);
    assert_int_equal(fake.calls, 2);
    assert_int_equal(timing_cache_find(&bed.cache, key, "conv3x3.direct.c"), 200);
    assert_string_equal(bed.names[2], "conv.direct.c");
    tear_down(&bed);
}

/* Time goes to the largest layers first. */
static void what_is_not_timed_takes_the_preferred(void **state)
{
    (void)state;
    struct fake fake = {"conv.direct.c", 0, 1, 100};
    struct bed bed;
    set_up(&bed, &fake, CPU_TIER_C, 1);
    choose(&bed);
    assert_int_equal(bed.chooser.measured, 1);
    assert_int_equal(bed.chooser.unmeasured, 1); /* the smallest; the second twin is known */
    assert_string_equal(bed.names[1], bed.plan.steps[1].kernel->name);
    for (int i = 2; i <= 3; i++)
        assert_string_equal(bed.names[i], "conv.direct.c");
    tear_down(&bed);
}

static void chosen_are(struct fake fake, const char *wanted)
{
    struct bed bed;
    set_up(&bed, &fake, CPU_TIER_C, 1);
    choose(&bed);
    for (int i = 2; i <= 3; i++)
        assert_string_equal(bed.names[i], wanted);
    tear_down(&bed);
}

/* The two direct kernels have weights of one size. */
static void a_tie_is_no_reason_to_change(void **state)
{
    (void)state;
    chosen_are((struct fake){"conv.direct.c", 0, 99, 197}, "conv3x3.direct.c");
    chosen_are((struct fake){"conv.direct.c", 0, 99, 195}, "conv.direct.c");
}

/* In a network as small as this one the weights of Winograd's method are much of its memory. */
static void memory_has_its_price(void **state)
{
    (void)state;
    chosen_are((struct fake){"conv3x3.winograd6.c", 0, 99, 195}, "conv3x3.direct.c");
    chosen_are((struct fake){"conv3x3.winograd6.c", 0, 99, 20}, "conv3x3.winograd6.c");
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    unet_error error;
    unet_status status = UNET_ERROR_MEMORY;
    for (int failures = 0; status != UNET_OK; failures++) {
        struct fake fake = {"conv.direct.c", 0, 99, 100};
        struct bed bed;
        set_up(&bed, &fake, CPU_TIER_C, 1);
        memory_fail_after(failures);
        status = choose_kernels(&bed.chooser, bed.names, &error);
        memory_fail_after(-1);
        if (status != UNET_OK)
            assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
        tear_down(&bed);
    }
}

/* ---------------------------------------------------------------- the clock */

static void tasks_are_shared_out_in_order(void **state)
{
    (void)state;
    const double even[] = {1, 1, 1, 1}, uneven[] = {1, 1, 1, 5}, falling[] = {5, 1, 1, 1};
    assert_true(makespan(even, 4, 1) == 4);
    assert_true(makespan(even, 4, 2) == 2);
    assert_true(makespan(even, 3, 2) == 2);
    assert_true(makespan(even, 4, 9) == 1);
    assert_true(makespan(uneven, 4, 2) == 6);
    assert_true(makespan(falling, 4, 2) == 5);
    assert_true(makespan(even, 0, 2) == 0);
}

/* Every kernel of every step of a whole network runs in the timer and takes some time. */
static void times_every_kernel(void **state)
{
    (void)state;
    unet_error error;
    for (int transposed = 0; transposed < 2; transposed++) {
        struct graph graph;
        struct plan plan;
        struct layout layout;
        struct kernel_timer *timer;
        network_optimized(&graph, transposed, 3);
        assert_ok(plan_create(&graph, target_cpu(cpu_tier_detected()), NULL, NULL, &plan, &error),
                  &error);
        assert_ok(layout_create(&plan, 1, 37, 50, 2, &layout, &error), &error);
        assert_ok(kernel_timer_create(&plan, &layout, &timer, &error), &error);
        for (int i = 0; i < plan.step_count; i++) {
            struct candidates all;
            int64_t times[CANDIDATES_MOST];
            candidates_find(&plan, &plan.steps[i], NULL, &all); /* not reduced: all of them */
            assert_ok(kernel_timer_measure(timer, i, &all, times, &error), &error);
            for (int k = 0; k < all.count; k++)
                assert_true(times[k] > 0 && times[k] < 10000000000);
        }
        kernel_timer_free(&timer);
        kernel_timer_free(&timer);
        layout_clear(&layout);
        plan_clear(&plan);
        graph_clear(&graph);
    }
}

/* Plain C needs several times what AVX2 does: a clock that sees this sees what matters. */
static void the_clock_tells_fast_from_slow(void **state)
{
    (void)state;
    unet_error error;
    struct bed bed;
    struct fake none = {"none", 0, 0, 0};
    struct kernel_timer *timer;
    const struct kernel *fast = kernel_find("conv3x3.direct.avx2");
    if (cpu_tier_detected() < CPU_TIER_AVX2) {
        print_message("this machine has no AVX2\n");
        skip();
    }
    set_up(&bed, &none, CPU_TIER_AVX2, 1);
    struct candidates pair = {.kernels = {kernel_find("conv.direct.c"), fast}, .count = 2};
    int64_t times[CANDIDATES_MOST];
    assert_ok(kernel_timer_create(&bed.plan, &bed.layout, &timer, &error), &error);
    assert_ok(kernel_timer_measure(timer, 2, &pair, times, &error), &error);
    print_message("conv.direct.c %.3f ms, %s %.3f ms\n", 1e-6 * (double)times[0], fast->name,
                  1e-6 * (double)times[1]);
    assert_int_equal(candidates_cheapest(times, 2), 1);
    kernel_timer_free(&timer);
    tear_down(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_times),
        cmocka_unit_test(tells_all_once),
        cmocka_unit_test(the_cache_decides_as_the_clock_did),
        cmocka_unit_test(another_machine_is_measured_anew),
        cmocka_unit_test(a_hole_in_the_cache_is_measured_whole),
        cmocka_unit_test(what_is_not_timed_takes_the_preferred),
        cmocka_unit_test(a_tie_is_no_reason_to_change),
        cmocka_unit_test(memory_has_its_price),
        cmocka_unit_test(survives_lack_of_memory),
        cmocka_unit_test(tasks_are_shared_out_in_order),
        cmocka_unit_test(times_every_kernel),
        cmocka_unit_test(the_clock_tells_fast_from_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
