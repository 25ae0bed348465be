/* base/threads.c: every task runs exactly once, on a valid thread, run after run. */
#include "support/support.h"

#include <stdatomic.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/threads.h"

enum { MOST_TASKS = 1000 };

struct count {
    atomic_int runs[MOST_TASKS];
    atomic_int wrong_thread;
    int threads;
};

static void count_task(void *context, int task, int thread)
{
    struct count *count = context;
    atomic_fetch_add(&count->runs[task], 1);
    if (thread < 0 || thread >= count->threads)
        atomic_fetch_add(&count->wrong_thread, 1);
}

static void check_run(struct thread_pool *pool, int threads, int tasks)
{
    static struct count count;
    count.threads = threads;
    for (int i = 0; i < MOST_TASKS; i++)
        atomic_store(&count.runs[i], 0);
    thread_pool_run(pool, tasks, count_task, &count);
    for (int i = 0; i < MOST_TASKS; i++)
        assert_int_equal(atomic_load(&count.runs[i]), i < tasks ? 1 : 0);
    assert_int_equal(atomic_load(&count.wrong_thread), 0);
}

static void every_task_runs_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 9; threads += 2) {
        struct thread_pool *pool;
        unet_error error;
        assert_ok(thread_pool_create(threads, &pool, &error), &error);
        assert_int_equal(thread_pool_size(pool), threads);
        for (int round = 0; round < 300; round++)
            check_run(pool, threads, round % 40);
        check_run(pool, threads, MOST_TASKS);
        usleep(2000); /* the workers fall asleep and must wake again */
        check_run(pool, threads, 17);
        thread_pool_free(&pool);
        assert_null(pool);
    }
    thread_pool_free(NULL);
}

static void lack_of_memory_is_said(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        struct thread_pool *pool = NULL;
        unet_error error = {0};
        memory_fail_after(n);
        unet_status status = thread_pool_create(3, &pool, &error);
        memory_fail_after(-1);
        if (status == UNET_OK) {
            thread_pool_free(&pool);
            assert_int_equal(n, 3);
            return;
        }
        assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
        assert_null(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once),
        cmocka_unit_test(lack_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
