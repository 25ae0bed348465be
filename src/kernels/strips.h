/* Rows shared out among tasks, and results that lie somewhere inside a larger tensor. */
#ifndef UNET_KERNELS_STRIPS_H
#define UNET_KERNELS_STRIPS_H

#include "kernels/kernel.h"

#include <stddef.h>

/* Tasks a thread: enough that threads finish together where one is held up. */
#define STRIPS_A_THREAD 16

struct strip {
    int first, last; /* rows [first, last) */
};

static inline int strip_count(int rows, int threads)
{
    return threads < rows / STRIPS_A_THREAD ? threads * STRIPS_A_THREAD : rows;
}

static inline struct strip strip_rows(int rows, int index, int count)
{
    return (struct strip){
        .first = (int)((int64_t)rows * index / count),
        .last = (int)((int64_t)rows * (index + 1) / count),
    };
}

/* The same in strips whose rows fall from twice the mean to next to none: handed out in order, the
 * long ones keep what they read in the caches, and the short ones at the end even out what threads
 * were held up by. After T. H. Tzen and L. M. Ni, "Trapezoid Self-Scheduling", IEEE Transactions on
 * Parallel and Distributed Systems 4(1), 1993. */
static inline struct strip strip_tapering(int rows, int index, int count)
{
    int64_t all = (int64_t)count * count, left = count - index;
    return (struct strip){
        .first = (int)(rows * (all - left * left) / all),
        .last = (int)(rows * (all - (left - 1) * (left - 1)) / all),
    };
}

static inline struct strip strip_part(int rows, int index, int count, bool tapers)
{
    return tapers ? strip_tapering(rows, index, count) : strip_rows(rows, index, count);
}

/* A result of height × width at (y, x) of a larger tensor, or partly outside it. */
struct placed {
    int y, x, height, width;
};

/* In these rows and blocks of `out`: zeroes all that lies outside the result, the border too. */
void zero_around(const struct blocked *out, struct placed result, struct strip rows,
                 int first_block, int last_block);

#endif
