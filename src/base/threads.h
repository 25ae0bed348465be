/* A pool of threads that runs the tasks of one step at a time. */
#ifndef UNET_BASE_THREADS_H
#define UNET_BASE_THREADS_H

#include "base/error.h"

struct thread_pool;

#define THREADS_MOST 1024

/* USAGE unless a user may ask for so many: 1 to THREADS_MOST, or 0 for all. */
unet_status thread_count_check(int threads, unet_error *error);

/* `threads` counts the caller, who works too: 1 makes no thread. Each worker is pinned to a CPU of
 * the affinity mask (the caller is not: its affinity is its own). MEMORY if threads cannot be
 * made. */
unet_status thread_pool_create(int threads, struct thread_pool **pool, unet_error *error);

/* Calls run(context, task, thread) once for every task in [0, tasks), from several threads; returns
 * when all are done. `thread` in [0, threads): an index for scratch memory. Tasks are handed out in
 * rising order through an atomic counter, so uneven tasks balance. Workers spin for a tenth of a
 * millisecond before they sleep, for steps follow each other within microseconds; not where there
 * are more of them than processors. */
void thread_pool_run(struct thread_pool *pool, int tasks,
                     void (*run)(void *context, int task, int thread), void *context);

int thread_pool_size(const struct thread_pool *pool);
void thread_pool_free(struct thread_pool **pool);

#endif
