/* kernels/share.c: every number of tasks that it gives can be read back, and wastes no threads. */
#include "support/support.h"

#include <math.h>

#include "kernels/share.h"

/* What the busiest thread does, in rows × groups. */
static double longest(const struct share_limits *limits, struct share share, int threads)
{
    int rounds = divide_up(share.strips * share.parts, threads);
    return 1.0 * rounds * divide_up(limits->rows, share.strips) *
           (limits->repeat + divide_up(limits->groups, share.parts));
}

static void shares_are_within_their_limits(void **state)
{
    (void)state;
    uint64_t random = 77;
    for (int trial = 0; trial < 20000; trial++) {
        int rows = 1 + (int)(random_next(&random) % 300);
        int most = 1 + (int)(random_next(&random) % (unsigned)rows);
        struct share_limits limits = {
            .rows = rows,
            .least_strips = 1 + (int)(random_next(&random) % (unsigned)most),
            .most_strips = most,
            .groups = 1 + (int)(random_next(&random) % 20),
            .repeat = 0.1,
        };
        int threads = 1 + (int)(random_next(&random) % 64);
        int tasks = share_tasks(&limits, threads);
        struct share share = share_of(&limits, threads, tasks);
        assert_int_equal(share.strips * share.parts, tasks);
        assert_in_range(share.strips, limits.least_strips, limits.most_strips);
        assert_in_range(share.parts, 1, limits.groups);
    }
}

/* No other way to cut is better by more than what uneven threads cost. */
static void no_share_is_much_better(void **state)
{
    (void)state;
    uint64_t random = 5;
    for (int trial = 0; trial < 2000; trial++) {
        struct share_limits limits = {
            .rows = 1 + (int)(random_next(&random) % 40),
            .least_strips = 1,
            .groups = 1 + (int)(random_next(&random) % 8),
            .repeat = 0.1,
        };
        limits.most_strips = limits.rows;
        int threads = 1 + (int)(random_next(&random) % 16);
        double got =
            longest(&limits, share_of(&limits, threads, share_tasks(&limits, threads)), threads);
        for (int tasks = 1; tasks <= limits.rows * limits.groups; tasks++) {
            struct share other = share_of(&limits, threads, tasks);
            if (other.parts <= limits.groups && tasks <= 16 * threads)
                assert_true(got <= 1.03 * longest(&limits, other, threads));
        }
    }
}

/* 1,024 + … → 256 channels at 64 × 64: four groups, few strips, and yet work for sixteen threads.
 */
static void few_strips_keep_many_threads_busy(void **state)
{
    (void)state;
    const struct share_limits limits = {
        .rows = 16, .least_strips = 1, .most_strips = 7, .groups = 4, .repeat = 0.1};
    struct share share = share_of(&limits, 16, share_tasks(&limits, 16));
    assert_true(share.strips * share.parts >= 16);
    assert_true(longest(&limits, share, 16) < 1.2 * 16 * 4 / 16);
}

static int rows_of(struct strip strip)
{
    return strip.last - strip.first;
}

/* Together they are all rows, and none is longer than one before it by more than rounding. */
static void tapering_strips_cover_all_rows(void **state)
{
    (void)state;
    for (int rows = 1; rows < 3000; rows = rows * 3 / 2 + 1)
        for (int count = 1; count <= 512; count = count * 3 / 2 + 1) {
            int next = 0;
            for (int i = 0; i < count; i++) {
                struct strip strip = strip_tapering(rows, i, count);
                assert_int_equal(strip.first, next);
                assert_true(strip.last >= strip.first);
                assert_true(i == 0 ||
                            rows_of(strip) <= rows_of(strip_tapering(rows, i - 1, count)) + 1);
                next = strip.last;
            }
            assert_int_equal(next, rows);
        }
}

static void few_rows_do_not_taper(void **state)
{
    (void)state;
    struct share_limits limits = {.rows = 2000,
                                  .least_strips = 1,
                                  .most_strips = 500,
                                  .may_taper = true,
                                  .groups = 1,
                                  .repeat = 0.1};
    for (int threads = 1; threads <= 256; threads++) {
        int tasks = share_tasks(&limits, threads);
        struct share share = share_of(&limits, threads, tasks);
        assert_int_equal(share.tapers, threads > 1 && threads <= 500 / TAPERING_TASKS);
        assert_int_equal(share.strips * share.parts, tasks);
        assert_in_range(tasks, 1, share.tapers ? 500 : 500 * limits.groups);
    }
    limits.may_taper = false;
    assert_false(share_of(&limits, 2, share_tasks(&limits, 2)).tapers);
}

/* When threads that take tasks in order are done, the first of which begins `late`. */
static double done_after(const struct share_limits *limits, int threads, double late)
{
    double free[64] = {late}, done = 0;
    int tasks = share_tasks(limits, threads);
    struct share share = share_of(limits, threads, tasks);
    for (int task = 0; task < tasks; task++) {
        int first = 0;
        for (int i = 1; i < threads; i++)
            if (free[i] < free[first])
                first = i;
        free[first] += rows_of(share_strip(limits, share, task / share.parts));
        done = free[first] > done ? free[first] : done;
    }
    return done;
}

/* 256 × 256 pixels of F(6,3) on 16 threads, whatever of its half one of them is held up for. */
static void tapering_evens_out_a_late_thread(void **state)
{
    (void)state;
    struct share_limits even = {
        .rows = 155, .least_strips = 1, .most_strips = 77, .groups = 1, .repeat = 0.1};
    struct share_limits tapering = even;
    tapering.may_taper = true;
    double worst_even = 0, worst_tapering = 0;
    for (int late = 0; late <= 5; late++) {
        double ideal = (155.0 + late) / 16;
        worst_even = fmax(worst_even, done_after(&even, 16, late) / ideal);
        worst_tapering = fmax(worst_tapering, done_after(&tapering, 16, late) / ideal);
    }
    assert_true(worst_even > 1.4);
    assert_true(worst_tapering < 1.15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_within_their_limits),
        cmocka_unit_test(no_share_is_much_better),
        cmocka_unit_test(few_strips_keep_many_threads_busy),
        cmocka_unit_test(tapering_strips_cover_all_rows),
        cmocka_unit_test(few_rows_do_not_taper),
        cmocka_unit_test(tapering_evens_out_a_late_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
