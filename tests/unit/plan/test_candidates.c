/* plan/candidates.c: who can run a step, who may win, who wins, and a step in words. */
#include "unit/engine/network.h"

#include <stdio.h>

#include "plan/candidates.h"

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

static struct plan planned(struct graph *graph, enum cpu_tier tier)
{
    unet_error error;
    struct plan plan;
    network_optimized(graph, false, 1);
    assert_ok(plan_create(graph, target_cpu(tier), NULL, NULL, &plan, &error), &error);
    return plan;
}

static void the_cheapest_wins(void **state)
{
    (void)state;
    assert_int_equal(candidates_cheapest((const int64_t[]){7}, 1), 0);
    assert_int_equal(candidates_cheapest((const int64_t[]){500, 400, 300}, 3), 2);
    assert_int_equal(candidates_cheapest((const int64_t[]){500, 300, 400}, 3), 1);
    assert_int_equal(candidates_cheapest((const int64_t[]){1, INT64_MAX}, 2), 0);
    assert_int_equal(candidates_cheapest((const int64_t[]){INT64_MAX, 1}, 2), 1);
}

static void a_tie_goes_to_the_first(void **state)
{
    (void)state;
    assert_int_equal(candidates_cheapest((const int64_t[]){100, 100}, 2), 0);
    assert_int_equal(candidates_cheapest((const int64_t[]){1020, 1000, 1010}, 3), 0);
    assert_int_equal(candidates_cheapest((const int64_t[]){1021, 1000, 999}, 3), 1);
    assert_int_equal(candidates_cheapest((const int64_t[]){2000, 1015, 1000}, 3), 1);
}

/* Against the list itself: all of the operation that say nothing against it, in its order. */
static void finds_all_that_run(void **state)
{
    (void)state;
    struct graph graph;
    for (int tier = 0; tier <= (int)cpu_tier_detected(); tier++) {
        struct plan plan = planned(&graph, (enum cpu_tier)tier);
        for (int i = 0; i < plan.step_count; i++) {
            const struct plan_step *step = &plan.steps[i];
            struct candidates found;
            char text[128];
            int seen = 0;
            candidates_find(&plan, step, NULL, &found);
            for (const struct kernel *const *list = kernel_list(); *list != NULL; list++)
                if ((*list)->op == step->desc.op &&
                    target_refusal(&plan.target, *list, &step->desc, text, sizeof text) == NULL)
                    assert_ptr_equal(found.kernels[seen++], *list);
            assert_int_equal(found.count, seen);
            assert_ptr_equal(found.kernels[0], step->kernel);
            assert_ok(candidates_check(&plan, step, &found, NULL), NULL);
        }
        plan_clear(&plan);
        graph_clear(&graph);
    }
}

static void tells_reasons_where_none_runs(void **state)
{
    (void)state;
    unet_error error;
    struct graph graph;
    struct candidates found;
    struct notes notes = {0};
    const struct log log = {.function = note, .user = &notes};
    struct plan plan = planned(&graph, CPU_TIER_C);
    struct plan_step step = plan.steps[1];
    step.desc.source_count = 0; /* nothing to read: no kernel does that */
    candidates_find(&plan, &step, &log, &found);
    assert_int_equal(found.count, 0);
    unet_status status = candidates_check(&plan, &step, &found, &error);
    assert_error(status, UNET_ERROR_DEVICE, &error, "conv1");
    assert_error(status, UNET_ERROR_DEVICE, &error, "1 to 4 sources only");
    assert_non_null(strstr(notes.text, "conv1: not conv3x3.direct.avx512: needs avx512"));
    assert_non_null(strstr(notes.text, "conv1: not conv3x3.direct.c: "));
    plan_clear(&plan);
    graph_clear(&graph);
}

static struct candidates candidates_of(const char *const *names)
{
    struct candidates all = {0};
    for (; *names != NULL; names++) {
        all.kernels[all.count] = kernel_find(*names);
        assert_non_null(all.kernels[all.count++]);
    }
    return all;
}

static void reduces(const char *const *names, const char *const *wanted)
{
    struct graph graph;
    struct notes notes = {0};
    const struct log log = {.function = note, .user = &notes};
    struct plan plan = planned(&graph, CPU_TIER_C);
    struct candidates found = candidates_of(names), left = candidates_of(wanted);
    candidates_reduce(&plan, &plan.steps[1], &log, &found);
    assert_int_equal(found.count, left.count);
    for (int i = 0; i < left.count; i++)
        assert_ptr_equal(found.kernels[i], left.kernels[i]);
    for (; *names != NULL; names++) {
        char line[128];
        bool kept = false;
        for (int i = 0; i < left.count; i++)
            kept |= strcmp(left.kernels[i]->name, *names) == 0;
        snprintf(line, sizeof line, "conv1: not timed: %s,", *names);
        assert_int_equal(strstr(notes.text, line) == NULL, kept);
    }
    plan_clear(&plan);
    graph_clear(&graph);
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void only_those_are_timed_that_may_win(void **state)
{
    (void)state;
    /* Each method in its highest tier. */
    reduces(NAMES("conv3x3.winograd4.avx512", "conv3x3.direct.avx512", "conv3x3.winograd4.avx2",
                  "conv3x3.direct.avx2", "conv3x3.winograd4.c", "conv3x3.direct.c",
                  "conv.direct.c"),
            NAMES("conv3x3.winograd4.avx512", "conv3x3.direct.avx512"));
    /* A method that has no higher tier may win; plain C may not. */
    reduces(NAMES("conv3x3.winograd4.avx512", "conv3x3.direct.avx2", "conv.direct.c"),
            NAMES("conv3x3.winograd4.avx512", "conv3x3.direct.avx2"));
    /* Where there is nothing but plain C, all of it is timed. */
    reduces(NAMES("conv3x3.winograd4.c", "conv3x3.direct.c", "conv.direct.c"),
            NAMES("conv3x3.winograd4.c", "conv3x3.direct.c", "conv.direct.c"));
    reduces(NAMES("conv.direct.c"), NAMES("conv.direct.c"));
}

/* Whatever a kernel's time depends on is in the text. */
static void texts_tell_steps_apart(void **state)
{
    (void)state;
    unet_error error;
    struct graph graph;
    struct layout layout;
    struct plan plan = planned(&graph, CPU_TIER_C);
    char text[STEP_TEXT_BYTES], other[STEP_TEXT_BYTES];
    assert_ok(layout_create(&plan, 1, 40, 48, 1, &layout, &error), &error);
    step_text(&plan.steps[1], &layout.steps[1], text);
    assert_string_equal(
        text, "conv 3:48x40 to 20:48x40 f32 to f32 window 3x3 stride 1 padding 1 relu stored "
              "pooled");
    step_text(&plan.steps[4], &layout.steps[4], text);
    assert_string_equal(
        text, "conv 20:48x40+37:48x40 to 9:48x40 f32 to f32 window 3x3 stride 1 padding 1 "
              "relu head 5");
    step_text(&plan.steps[3], &layout.steps[3], text);
    assert_string_equal(text, "upsample 37:24x20 to 37:48x40 f32 to f32 stored");
    layout_clear(&layout);
    assert_ok(layout_create(&plan, 1, 41, 51, 1, &layout, &error), &error);
    step_text(&plan.steps[3], &layout.steps[3], other);
    assert_string_not_equal(text, other);
    struct plan_step up = plan.steps[4];
    step_text(&up, &layout.steps[4], text);
    up.desc.upsampled = 1;
    step_text(&up, &layout.steps[4], other);
    assert_string_not_equal(text, other);
    struct plan_step step = plan.steps[1];
    step_text(&step, &layout.steps[1], text);
    step.desc.pool = false;
    step_text(&step, &layout.steps[1], other);
    assert_string_not_equal(text, other);
    layout_clear(&layout);
    plan_clear(&plan);
    graph_clear(&graph);
}

/* The longest that can be is not cut: cut texts would be one for two steps. */
static void texts_have_room(void **state)
{
    (void)state;
    const int most = 65536, side = 32768;
    char text[STEP_TEXT_BYTES];
    struct plan_step step = {.desc = {.op = KERNEL_CONV_TRANSPOSE,
                                      .source_count = KERNEL_MAX_SOURCES,
                                      .out_channels = most,
                                      .kernel_h = most,
                                      .kernel_w = most,
                                      .stride = most,
                                      .padding = most,
                                      .relu = true,
                                      .store_out = true,
                                      .pool = true,
                                      .head_channels = most}};
    struct layout_step laid = {
        .args = {.out = {.width = side, .height = side}, .offset_x = -side, .offset_y = -side}};
    for (int s = 0; s < KERNEL_MAX_SOURCES; s++) {
        step.desc.source_channels[s] = most;
        laid.args.sources[s].width = laid.args.sources[s].height = side;
    }
    step_text(&step, &laid, text);
    assert_true(strlen(text) < sizeof text - 64);
    assert_string_equal(text + strlen(text) - strlen("pooled head 65536"), "pooled head 65536");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cheapest_wins),
        cmocka_unit_test(a_tie_goes_to_the_first),
        cmocka_unit_test(finds_all_that_run),
        cmocka_unit_test(tells_reasons_where_none_runs),
        cmocka_unit_test(only_those_are_timed_that_may_win),
        cmocka_unit_test(texts_tell_steps_apart),
        cmocka_unit_test(texts_have_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
