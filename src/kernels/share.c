#include "kernels/share.h"

/* More tasks a thread gain nothing. */
#define MOST_TASKS_A_THREAD 16

/* What more tasks may cost: uneven threads cost as much. */
#define AS_GOOD 1.02

struct share share_of(const struct share_limits *limits, int tasks)
{
    int strips = at_most(tasks, limits->most_strips);
    while (tasks % strips != 0)
        strips--;
    return (struct share){.strips = strips, .parts = tasks / strips};
}

/* Rounds in which all threads are busy, times the longest task. */
static double time_of(const struct share_limits *limits, struct share share, int threads)
{
    int rounds = divide_up(share.strips * share.parts, threads);
    double rows = divide_up(limits->rows, share.strips);
    return rounds * rows * (limits->repeat + divide_up(limits->groups, share.parts));
}

int share_tasks(const struct share_limits *limits, int threads)
{
    int most = limits->most_strips * limits->groups;
    if (most / MOST_TASKS_A_THREAD >= threads)
        most = threads * MOST_TASKS_A_THREAD;
    if (most < limits->least_strips)
        most = limits->least_strips;
    int best = limits->least_strips;
    double least = time_of(limits, share_of(limits, best), threads);
    for (int tasks = best + 1; tasks <= most; tasks++) {
        struct share share = share_of(limits, tasks);
        if (share.strips < limits->least_strips || share.parts > limits->groups)
            continue;
        double time = time_of(limits, share, threads);
        if (time > AS_GOOD * least)
            continue;
        best = tasks;
        least = time < least ? time : least;
    }
    return best;
}
