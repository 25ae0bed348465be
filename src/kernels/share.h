/* A convolution's work shared out among threads: strips of rows, or of Winograd's tiles, × parts of
 * the groups of output channels. Strips cost nothing; each part prepares the strip's input again
 * for itself. */
#ifndef UNET_KERNELS_SHARE_H
#define UNET_KERNELS_SHARE_H

#include "kernels/strips.h"

/* The fewest tasks a thread where their sizes taper: fewer leave threads waiting, more do what a
 * task begins with too often. */
#define TAPERING_TASKS 4

struct share_limits {
    int rows;                      /* of the smallest unit that a strip may have */
    int least_strips, most_strips; /* within 1 and `rows` */
    bool may_taper;                /* in the mean as long as those of `most_strips` */
    int groups;                    /* 1 where a task needs all of them */
    double repeat;                 /* what a part does again, as a share of one group's work */
};

struct share {
    int strips, parts;
    bool tapers;
};

static inline int at_most(int value, int most)
{
    return value < most ? value : most;
}

static inline int divide_up(int value, int by)
{
    return (value + by - 1) / by;
}

/* As many tapering strips as there may be for each thread, where those are enough. Else the number
 * of even tasks with which so many threads are done first, if a task's time is its share of rows
 * and groups; the larger number where several are as good, for threads are held up now and then. */
int share_tasks(const struct share_limits *limits, int threads);

/* What so many tasks of so many threads are: as many strips as can be. */
struct share share_of(const struct share_limits *limits, int threads, int tasks);

/* The rows of one of them. */
struct strip share_strip(const struct share_limits *limits, struct share share, int index);

#endif
