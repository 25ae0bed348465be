#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/memory.h"

/* How long a thread that waits for others looks before it sleeps: longer than the last tasks of a
 * step take, for being woken takes tens of µs; not much longer, for on a busy machine it keeps from
 * working whom it waits for. With more threads than processors it would do so always. */
#define PATIENCE_SECONDS 100e-6
/* Looks between two at the clock. */
#define LOOKS 64

/* What many threads write at the same moment lies in a cache line of its own: who takes a task must
 * not wait for those that look whether a run begins. */
#define LINE _Alignas(MEMORY_ALIGNMENT)

struct thread_pool {
    int threads;     /* with the caller */
    int started;     /* workers that exist */
    double patience; /* seconds */
    pthread_t *handles;
    struct worker *workers;
    pthread_mutex_t mutex;
    pthread_cond_t wake, done;
    int tasks;
    void (*run)(void *context, int task, int thread);
    void *context;
    LINE atomic_uint generation; /* rises by one a run */
    atomic_bool stop;
    LINE atomic_int next; /* the task to hand out */
    LINE atomic_int busy; /* workers that have not finished this run */
};

struct worker {
    struct thread_pool *pool;
    int thread;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void work(struct thread_pool *pool, int thread)
{
    for (;;) {
        int task = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (task >= pool->tasks)
            return;
        pool->run(pool->context, task, thread);
    }
}

struct wait {
    int looks;
    double end;
};

/* False once patience is over. */
static bool keep_looking(const struct thread_pool *pool, struct wait *wait)
{
    relax();
    if (++wait->looks % LOOKS != 0)
        return true;
    double now = clock_seconds();
    if (wait->looks == LOOKS)
        wait->end = now + pool->patience;
    return now < wait->end;
}

static unsigned await_generation(struct thread_pool *pool, unsigned seen)
{
    unsigned now;
    struct wait wait = {0};
    while ((now = atomic_load_explicit(&pool->generation, memory_order_acquire)) == seen &&
           keep_looking(pool, &wait))
        ;
    if (now != seen)
        return now;
    pthread_mutex_lock(&pool->mutex);
    while ((now = atomic_load(&pool->generation)) == seen)
        pthread_cond_wait(&pool->wake, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
    return now;
}

static void finish_one(struct thread_pool *pool)
{
    if (atomic_fetch_sub(&pool->busy, 1) > 1)
        return;
    pthread_mutex_lock(&pool->mutex); /* so that the signal cannot fall between test and wait */
    pthread_cond_signal(&pool->done);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct thread_pool *pool = worker->pool;
    unsigned seen = 0;
    for (;;) {
        seen = await_generation(pool, seen);
        if (atomic_load(&pool->stop))
            return NULL;
        work(pool, worker->thread);
        finish_one(pool);
    }
}

/* Worker i belongs on the i-th CPU of the mask. Only a pool that fills the mask is pinned: smaller
 * ones may stand side by side, and would all crowd onto the first CPUs. */
static void pin(const struct thread_pool *pool, pthread_t handle, int thread)
{
    cpu_set_t mask, one;
    if (sched_getaffinity(0, sizeof mask, &mask) != 0 || CPU_COUNT(&mask) != pool->threads)
        return;
    for (int cpu = 0, index = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &mask) || index++ != thread)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        pthread_setaffinity_np(handle, sizeof one, &one); /* without it the pool is only slower */
        return;
    }
}

static unet_status start_workers(struct thread_pool *pool, unet_error *error)
{
    for (int i = 1; i < pool->threads; i++) {
        struct worker *worker = &pool->workers[i - 1];
        *worker = (struct worker){.pool = pool, .thread = i};
        if (pthread_create(&pool->handles[i - 1], NULL, worker_main, worker) != 0)
            return error_set(error, UNET_ERROR_MEMORY,
                             "thread %d of %d cannot be started; ask for fewer threads", i + 1,
                             pool->threads);
        pool->started++;
        pin(pool, pool->handles[i - 1], i);
    }
    return UNET_OK;
}

unet_status thread_count_check(int threads, unet_error *error)
{
    if (threads >= 0 && threads <= THREADS_MOST)
        return UNET_OK;
    return error_set(error, UNET_ERROR_USAGE, "%d threads: give 1 to %d, or 0 for all", threads,
                     THREADS_MOST);
}

unet_status thread_pool_create(int threads, struct thread_pool **out, unet_error *error)
{
    struct thread_pool *pool = memory_alloc_aligned(sizeof *pool);
    if (pool == NULL)
        return error_memory(error, sizeof *pool, "a thread pool");
    memset(pool, 0, sizeof *pool);
    pool->threads = threads > 0 ? threads : 1;
    pool->patience = pool->threads <= cpu_usable_threads() ? PATIENCE_SECONDS : 0;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->handles = memory_calloc((size_t)pool->threads, sizeof *pool->handles);
    pool->workers = memory_calloc((size_t)pool->threads, sizeof *pool->workers);
    unet_status status = UNET_OK;
    if (pool->handles == NULL || pool->workers == NULL)
        status = error_memory(error, (size_t)pool->threads * sizeof *pool->workers, "threads");
    if (status == UNET_OK)
        status = start_workers(pool, error);
    if (status != UNET_OK) {
        thread_pool_free(&pool);
        return status;
    }
    *out = pool;
    return UNET_OK;
}

static void start_generation(struct thread_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

static void await_workers(struct thread_pool *pool)
{
    struct wait wait = {0};
    while (atomic_load_explicit(&pool->busy, memory_order_acquire) != 0 &&
           keep_looking(pool, &wait))
        ;
    pthread_mutex_lock(&pool->mutex); /* also waits until the last worker has let go of it */
    while (atomic_load(&pool->busy) != 0)
        pthread_cond_wait(&pool->done, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

void thread_pool_run(struct thread_pool *pool, int tasks,
                     void (*run)(void *context, int task, int thread), void *context)
{
    if (pool->threads == 1 || tasks <= 1) {
        for (int task = 0; task < tasks; task++)
            run(context, task, 0);
        return;
    }
    pool->run = run;
    pool->context = context;
    pool->tasks = tasks;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store(&pool->busy, pool->threads - 1);
    start_generation(pool);
    work(pool, 0);
    await_workers(pool);
}

int thread_pool_size(const struct thread_pool *pool)
{
    return pool->threads;
}

void thread_pool_free(struct thread_pool **address)
{
    struct thread_pool *pool = address != NULL ? *address : NULL;
    if (pool == NULL)
        return;
    *address = NULL;
    atomic_store(&pool->stop, true);
    start_generation(pool);
    for (int i = 0; i < pool->started; i++)
        pthread_join(pool->handles[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->mutex);
    memory_free(pool->handles);
    memory_free(pool->workers);
    memory_free_aligned(pool);
}
