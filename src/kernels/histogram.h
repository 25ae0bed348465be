/* How large the values of float32 tensors are, BLOCKED or NHWC, channel by channel, over any number
 * of them in a fixed amount of memory.
 *
 * A channel has 2,048 bins of equal width over [0, 2ⁿ), n being the least that its largest
 * magnitude so far allows: as it grows, pairs of bins merge. Widths are powers of two and so bins
 * nest: what is counted does not depend on the order in which values come. */
#ifndef UNET_KERNELS_HISTOGRAM_H
#define UNET_KERNELS_HISTOGRAM_H

#include "kernels/kernel.h"

#define HISTOGRAM_BINS 2048
/* Between the counts of two channels: at a distance of 8 KiB the bins of all 16 channels would
 * fight over one set of the cache. */
#define HISTOGRAM_STRIDE (HISTOGRAM_BINS + KERNEL_BLOCK)

/* Of the channels of one block. All zero: nothing has been counted. */
struct histogram {
    uint32_t counts[KERNEL_BLOCK][HISTOGRAM_STRIDE]; /* of magnitudes; see `scaled_down` */
    float per_bin[KERNEL_BLOCK]; /* bins in a magnitude of 1; 0: the channel was always zero */
    float max[KERNEL_BLOCK];     /* the largest magnitude */
    double sum[KERNEL_BLOCK];    /* of the values with their signs */
    uint64_t pixels;             /* that `sum` is over */
    uint64_t held;               /* no channel's counts sum up to more */
    uint64_t special;            /* NaNs and infinities; each was taken for 0 */
};

/* Adds one block of a float32 tensor, its border left out; of an NHWC one, in the host's memory, 16
 * of the channels of all images. Blocks are independent of each other, so they are what to share
 * out among threads. */
void histogram_add(struct histogram *histogram, const struct blocked *tensor, int block);

/* The same for sum, pixels and special alone: a few times faster. */
void histogram_add_sums(struct histogram *histogram, const struct blocked *tensor, int block);

/* One of `count` equal parts of the rows, for threads that have too few blocks to share; what they
 * counted each for itself is merged. Only sums depend on that, in their last digits. */
struct histogram_part {
    int index, count;
    bool sums_only;
};
void histogram_add_part(struct histogram *histogram, const struct blocked *tensor, int block,
                        struct histogram_part part);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* Width of a channel's bins; 0 where it was always zero. */
float histogram_bin(const struct histogram *histogram, int channel);

/* Mean of a channel's values; 0 where there were none. */
double histogram_mean(const struct histogram *histogram, int channel);

#endif
