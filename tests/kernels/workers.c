/* Work shared out to processes: signals, unmapped pages and a crash are a process's own affair. */
#include "driver.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_WORKERS 256

struct share {
    atomic_int next;
    struct work_place places[MOST_WORKERS];
};

void *shared_new(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return need(memory == MAP_FAILED ? NULL : memory);
}

int processors(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count < 1 ? 1 : count > MOST_WORKERS ? MOST_WORKERS : count;
}

static void take_items(struct share *share, struct work_place *place, int count,
                       void (*work)(void *context, int item, struct work_place *place),
                       void *context)
{
    for (;;) {
        int item = atomic_fetch_add(&share->next, 1);
        if (item >= count)
            break;
        *place = (struct work_place){.item = item};
        work(context, item, place);
    }
    *place = (struct work_place){.item = -1};
}

/* False, and a line that says at what, if it did not end as it should. */
static bool ended_well(pid_t worker, const struct work_place *place)
{
    int status = 0;
    if (waitpid(worker, &status, 0) == worker && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    printf("FAILED: a worker ended by %s %d", WIFSIGNALED(status) ? "signal" : "exit status",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    if (place->item >= 0)
        printf(", at case %d%s%s", place->item, place->name != NULL ? " of " : "",
               place->name != NULL ? place->name : "");
    printf("\n");
    return false;
}

int work_through(int count, int workers,
                 void (*work)(void *context, int item, struct work_place *place), void *context)
{
    struct share *share = shared_new(sizeof *share);
    pid_t ids[MOST_WORKERS];
    int lost = 0;
    workers = workers > MOST_WORKERS ? MOST_WORKERS : workers;
    fflush(stdout); /* or each worker would write it too */
    for (int i = 0; i < workers && workers > 1; i++) {
        share->places[i].item = -1;
        ids[i] = fork();
        if (ids[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL); /* no orphans where ctest ends a test */
            take_items(share, &share->places[i], count, work, context);
            exit(0);
        }
        if (ids[i] < 0) {
            perror("kernel-tests: fork");
            workers = i;
        }
    }
    if (workers <= 1)
        take_items(share, &share->places[0], count, work, context);
    for (int i = 0; i < workers && workers > 1; i++)
        lost += !ended_well(ids[i], &share->places[i]);
    munmap(share, sizeof *share);
    return lost;
}
