/* kernels/share.c: every number of tasks that it gives can be read back, and wastes no threads. */
#include "support/support.h"

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
        struct share share = share_of(&limits, tasks);
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
        double got = longest(&limits, share_of(&limits, share_tasks(&limits, threads)), threads);
        for (int tasks = 1; tasks <= limits.rows * limits.groups; tasks++) {
            struct share other = share_of(&limits, tasks);
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
    struct share share = share_of(&limits, share_tasks(&limits, 16));
    assert_true(share.strips * share.parts >= 16);
    assert_true(longest(&limits, share, 16) < 1.2 * 16 * 4 / 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_within_their_limits),
        cmocka_unit_test(no_share_is_much_better),
        cmocka_unit_test(few_strips_keep_many_threads_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
