#include "kernels/share.h"

/* More tasks a thread gain nothing, even ones and tapering ones. */
#define MOST_TASKS_A_THREAD 16
#define MOST_TAPERING_TASKS 8

/* What more tasks may cost: uneven threads cost as much. */
#define AS_GOOD 1.02

/* 0: none, or too few for so many threads. */
static int tapering_strips(const struct share_limits *limits, int threads)
{
    int strips = at_most(limits->most_strips, threads * MOST_TAPERING_TASKS);
    bool enough = threads > 1 && strips >= threads * TAPERING_TASKS;
    return limits->may_taper && enough ? strips : 0;
}

static struct share even_share(const struct share_limits *limits, int tasks)
{
    int strips = at_most(tasks, limits->most_strips);
    while (tasks % strips != 0)
        strips--;
    return (struct share){.strips = strips, .parts = tasks / strips};
}

struct share share_of(const struct share_limits *limits, int threads, int tasks)
{
    if (tapering_strips(limits, threads) > 0)
        return (struct share){.strips = tasks, .parts = 1, .tapers = true};
    return even_share(limits, tasks);
}

struct strip share_strip(const struct share_limits *limits, struct share share, int index)
{
    return strip_part(limits->rows, index, share.strips, share.tapers);
}

/* Rounds in which all threads are busy, times the longest task. */
static double time_of(const struct share_limits *limits, struct share share, int threads)
{
    int rounds = divide_up(share.strips * share.parts, threads);
    double rows = divide_up(limits->rows, share.strips);
    return rounds * rows * (limits->repeat + divide_up(limits->groups, share.parts));
}

static int even_tasks(const struct share_limits *limits, int threads)
{
    int most = limits->most_strips * limits->groups;
    if (most / MOST_TASKS_A_THREAD >= threads)
        most = threads * MOST_TASKS_A_THREAD;
    if (most < limits->least_strips)
        most = limits->least_strips;
    int best = limits->least_strips;
    double least = time_of(limits, even_share(limits, best), threads);
    for (int tasks = best + 1; tasks <= most; tasks++) {
        struct share share = even_share(limits, tasks);
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

int share_tasks(const struct share_limits *limits, int threads)
{
    int tapering = tapering_strips(limits, threads);
    return tapering > 0 ? tapering : even_tasks(limits, threads);
}
