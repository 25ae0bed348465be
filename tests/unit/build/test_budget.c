/* build/budget.c with made-up layers: each has a noise on each rung, their squares add up, and
 * flips are the root of the sum. What the best plan would be is found by trying all. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "build/budget.h"
#include "support/support.h"

#define LAYERS 6

struct world {
    double noise[LAYERS][BUDGET_RUNGS];
    double image_factor; /* the worst image has so many times the flips */
    double iou_factor;   /* what a flip takes off an IoU */
    int calls, fail_at;  /* 0: never */
    struct budget_layer layers[LAYERS];
    struct budget budget;
};

static unet_status judge(void *context, const int *rungs, struct budget_verdict *verdict,
                         unet_error *error)
{
    struct world *world = context;
    double sum = 0;
    if (++world->calls == world->fail_at)
        return error_set(error, UNET_ERROR_INPUT, "no more");
    for (int l = 0; l < world->budget.layer_count; l++) {
        assert_in_range(rungs[l], 0, world->layers[l].rung_count - 1);
        sum += world->noise[l][rungs[l]] * world->noise[l][rungs[l]];
    }
    double flips = sqrt(sum);
    *verdict =
        (struct budget_verdict){flips, flips * world->image_factor, 1 - flips * world->iou_factor};
    return UNET_OK;
}

/* Three rungs a layer: the last one is exact, the middle one has an eighth of the noise. */
static void set_up(struct world *world, int layers, const double *noise, const double *price)
{
    *world = (struct world){.image_factor = 1, .iou_factor = 1};
    world->budget = (struct budget){.limits = {0.003, 0.012, 0.9},
                                    .layers = world->layers,
                                    .layer_count = layers,
                                    .judge = judge,
                                    .context = world};
    for (int l = 0; l < layers; l++) {
        world->layers[l] =
            (struct budget_layer){.rung_count = 3,
                                  .milliseconds = {1, 1 + price[l], 1 + 3 * price[l]},
                                  .probe = {0, BUDGET_IF_NEEDED, 0}};
        world->noise[l][0] = noise[l];
        world->noise[l][1] = noise[l] / 8;
    }
}

static void spend(struct world *world)
{
    unet_error error;
    assert_ok(budget_spend(&world->budget, &error), &error);
    assert_int_equal(world->budget.evaluations, world->calls);
}

static const double even[LAYERS] = {1, 1, 1, 1, 1, 1};

/* ---------------------------------------------------------------- load */

static void load_is_of_the_nearest_limit(void **state)
{
    (void)state;
    struct budget_limits limits = {0.003, 0.012, 0.9};
    struct budget_verdict verdict = {0.0015, 0.003, 0.99};
    assert_true(fabs(budget_load(&limits, &verdict) - 0.5) < 1e-9);
    verdict.worst_image = 0.009;
    assert_true(fabs(budget_load(&limits, &verdict) - 0.75) < 1e-9);
    verdict.least_iou = 0.85;
    assert_true(fabs(budget_load(&limits, &verdict) - 1.5) < 1e-9);
    verdict.least_iou = NAN;
    assert_true(fabs(budget_load(&limits, &verdict) - 0.75) < 1e-9);
}

static void a_limit_of_zero_allows_nothing(void **state)
{
    (void)state;
    struct budget_limits limits = {0, 0, 0.9};
    struct budget_verdict none = {0, 0, 1}, one = {1.0 / (8 << 20), 1.0 / (1 << 20), 1};
    assert_true(budget_load(&limits, &none) <= 1);
    assert_true(budget_load(&limits, &one) > 1);
    assert_true(isfinite(budget_load(&limits, &one)));
}

/* ---------------------------------------------------------------- the search */

static void a_plan_that_holds_is_taken(void **state)
{
    (void)state;
    struct world world;
    set_up(&world, 2, (double[]){0.001, 0.002}, even);
    spend(&world);
    assert_true(world.budget.met);
    assert_int_equal(world.calls, 1);
    assert_int_equal(world.layers[0].rung + world.layers[1].rung, 0);
    assert_true(isnan(world.layers[0].saved[1])); /* for nobody asked */
}

static void what_layers_cost_is_measured_on_demand(void **state)
{
    (void)state;
    struct world world;
    set_up(&world, 2, (double[]){0.0012, 0.0016}, even);
    world.layers[0].probe[1] = world.layers[1].probe[1] = BUDGET_PROBED;
    spend(&world);
    assert_int_equal(world.calls, 3);
    assert_int_equal(world.layers[0].rung + world.layers[1].rung, 0);
    assert_true(fabs(world.layers[0].saved[1] - (0.002 - sqrt(2.56e-6 + 2.25e-8))) < 1e-12);
    assert_true(world.layers[1].saved[1] > world.layers[0].saved[1]);
}

static void the_noisiest_of_equal_price_is_bought(void **state)
{
    (void)state;
    struct world world;
    set_up(&world, 4, (double[]){0.001, 0.005, 0.001, 0.001}, even);
    spend(&world);
    assert_true(world.budget.met);
    for (int l = 0; l < 4; l++)
        assert_int_equal(world.layers[l].rung, l == 1);
    assert_true(world.budget.first.flips > 0.005);
    assert_true(world.budget.last.flips < 0.003);
}

static void the_cheapest_of_equal_noise_is_bought(void **state)
{
    (void)state;
    struct world world;
    set_up(&world, 4, (double[]){0.002, 0.002, 0.002, 0.002}, (double[]){1, 2, 0.5, 0.9});
    spend(&world);
    assert_true(world.budget.met);
    assert_int_equal(world.layers[0].rung, 0);
    assert_int_equal(world.layers[1].rung, 0);
    assert_int_equal(world.layers[2].rung, 1);
    assert_int_equal(world.layers[3].rung, 1);
}

static void what_is_not_needed_is_given_back(void **state)
{
    (void)state;
    struct world world; /* layer 0 is a bargain, but it is layer 1 that has to go, and suffices */
    set_up(&world, 2, (double[]){0.002, 0.004}, (double[]){0.1, 1});
    world.layers[0].milliseconds[1] = 1.1;
    spend(&world);
    assert_true(world.budget.met);
    assert_int_equal(world.layers[0].rung, 0);
    assert_int_equal(world.layers[1].rung, 1);
}

static void any_limit_may_bind(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct world world;
        set_up(&world, 2, (double[]){0.001, 0.002}, even);
        if (which == 0)
            world.image_factor = 7;
        else
            world.iou_factor = 60;
        spend(&world);
        assert_true(world.budget.met);
        assert_int_equal(world.layers[0].rung, 0);
        assert_int_equal(world.layers[1].rung, 1);
    }
}

static void a_budget_of_zero_makes_all_exact(void **state)
{
    (void)state;
    struct world world;
    set_up(&world, 5, (double[]){0.001, 0.002, 0.003, 0.001, 0.0001}, even);
    world.budget.limits = (struct budget_limits){0, 0, 0.9};
    spend(&world);
    assert_true(world.budget.met);
    for (int l = 0; l < 5; l++)
        assert_int_equal(world.layers[l].rung, 2);
    assert_true(world.budget.last.flips == 0);
}

static void a_layer_without_noise_stays_fast(void **state)
{
    (void)state;
    struct world world;
    set_up(&world, 3, (double[]){0.001, 0, 0.003}, even);
    world.budget.limits = (struct budget_limits){0, 0, 0.9};
    spend(&world);
    assert_true(world.budget.met);
    assert_int_equal(world.layers[1].rung, 0);
}

static void kept_layers_can_make_it_impossible(void **state)
{
    (void)state;
    struct world world;
    set_up(&world, 3, (double[]){0.001, 0.004, 0.003}, even);
    world.layers[1].rung_count = 1;
    spend(&world);
    assert_false(world.budget.met);
    assert_int_equal(world.layers[0].rung, 2);
    assert_int_equal(world.layers[1].rung, 0);
    assert_int_equal(world.layers[2].rung, 2);
    assert_true(fabs(world.budget.last.flips - 0.004) < 1e-12);
}

static void nothing_to_choose(void **state)
{
    (void)state;
    struct world world;
    set_up(&world, 1, (double[]){0.004}, even);
    world.layers[0].rung_count = 1;
    spend(&world);
    assert_false(world.budget.met);
    assert_int_equal(world.calls, 1);
    set_up(&world, 0, even, even);
    spend(&world);
    assert_true(world.budget.met);
}

/* ---------------------------------------------------------------- against the best plan there is
 */

static double price_of(const struct world *world, const int *rungs)
{
    double sum = 0;
    for (int l = 0; l < world->budget.layer_count; l++)
        sum += world->layers[l].milliseconds[rungs[l]];
    return sum;
}

static double best_price(struct world *world)
{
    int plans = 1;
    double best = INFINITY;
    for (int l = 0; l < LAYERS; l++)
        plans *= 3;
    for (int plan = 0; plan < plans; plan++) {
        int rungs[LAYERS], left = plan;
        struct budget_verdict verdict;
        for (int l = 0; l < LAYERS; l++, left /= 3)
            rungs[l] = left % 3;
        judge(world, rungs, &verdict, NULL);
        if (budget_load(&world->budget.limits, &verdict) <= 1)
            best = fmin(best, price_of(world, rungs));
    }
    return best;
}

static void comes_near_the_best_plan(void **state)
{
    (void)state;
    uint64_t seed = 5;
    double worst = 1, sum = 0;
    for (int trial = 0; trial < 40; trial++) {
        struct world world;
        double noise[LAYERS], price[LAYERS];
        int rungs[LAYERS];
        for (int l = 0; l < LAYERS; l++) {
            noise[l] = (double)random_float(&seed, 0.0003f, 0.004f);
            price[l] = (double)random_float(&seed, 0.05f, 1);
        }
        set_up(&world, LAYERS, noise, price);
        spend(&world);
        assert_true(world.budget.met);
        assert_true(world.calls <= 1 + LAYERS + 5 + 6);
        for (int l = 0; l < LAYERS; l++)
            rungs[l] = world.layers[l].rung;
        double ratio = price_of(&world, rungs) / best_price(&world);
        worst = fmax(worst, ratio);
        sum += ratio;
    }
    assert_true(worst < 1.1);
    assert_true(sum / 40 < 1.015);
}

/* ---------------------------------------------------------------- failures */

static void a_failing_judge_ends_it(void **state)
{
    (void)state;
    const double noise[] = {0.001, 0.005, 0.001, 0.003};
    struct world world;
    unet_error error;
    set_up(&world, 4, noise, even);
    spend(&world);
    int calls = world.calls;
    for (int i = 1; i <= calls; i++) {
        set_up(&world, 4, noise, even);
        world.fail_at = i;
        assert_error(budget_spend(&world.budget, &error), UNET_ERROR_INPUT, &error, "no more");
        assert_int_equal(world.calls, i);
    }
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    for (int failures = 0;; failures++) {
        struct world world;
        unet_error error;
        set_up(&world, 4, (double[]){0.001, 0.005, 0.001, 0.003}, even);
        memory_fail_after(failures);
        unet_status status = budget_spend(&world.budget, &error);
        memory_fail_after(-1);
        if (status == UNET_OK) {
            assert_true(failures > 3);
            return;
        }
        assert_int_equal(status, UNET_ERROR_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_is_of_the_nearest_limit),
        cmocka_unit_test(a_limit_of_zero_allows_nothing),
        cmocka_unit_test(a_plan_that_holds_is_taken),
        cmocka_unit_test(what_layers_cost_is_measured_on_demand),
        cmocka_unit_test(the_noisiest_of_equal_price_is_bought),
        cmocka_unit_test(the_cheapest_of_equal_noise_is_bought),
        cmocka_unit_test(what_is_not_needed_is_given_back),
        cmocka_unit_test(any_limit_may_bind),
        cmocka_unit_test(a_budget_of_zero_makes_all_exact),
        cmocka_unit_test(a_layer_without_noise_stays_fast),
        cmocka_unit_test(kept_layers_can_make_it_impossible),
        cmocka_unit_test(nothing_to_choose),
        cmocka_unit_test(comes_near_the_best_plan),
        cmocka_unit_test(a_failing_judge_ends_it),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
