/* A convolution's work shared out among threads: strips of rows, or of Winograd's tiles, × parts of
 * the groups of output channels. Strips cost nothing; each part prepares the strip's input again
 * for itself. */
#ifndef UNET_KERNELS_SHARE_H
#define UNET_KERNELS_SHARE_H

struct share_limits {
    int rows;                      /* of the smallest unit that a strip may have */
    int least_strips, most_strips; /* within 1 and `rows` */
    int groups;                    /* 1 where a task needs all of them */
    double repeat;                 /* what a part does again, as a share of one group's work */
};

struct share {
    int strips, parts;
};

static inline int at_most(int value, int most)
{
    return value < most ? value : most;
}

static inline int divide_up(int value, int by)
{
    return (value + by - 1) / by;
}

/* The number of tasks with which so many threads are done first, if a task's time is its share of
 * rows and groups; the larger number where several are as good, for threads are held up now and
 * then. */
int share_tasks(const struct share_limits *limits, int threads);

/* What so many tasks are: as many strips as can be. */
struct share share_of(const struct share_limits *limits, int tasks);

#endif
