/* How far a tensor's or a channel's values reach: from histograms to ranges. */
#ifndef UNET_QUANT_RANGE_H
#define UNET_QUANT_RANGE_H

#include "base/error.h"

#define QUANT_BINS          2048
#define QUANT_LEVELS        255 /* steps from 0 to the range, of what is never negative */
#define QUANT_SIGNED_LEVELS 127 /* of what may be */

/* Of magnitudes: bin i counts those in [i, i + 1) · bin. */
struct quant_histogram {
    const uint32_t *counts; /* QUANT_BINS */
    float bin;              /* a power of two; 0: nothing was counted */
};

/* The histograms of several channels as one. Zero-initialise it. */
struct quant_merged {
    double counts[QUANT_BINS]; /* a thousand images of a wide layer are beyond 32 bits */
    float bin;
};

enum quant_method { QUANT_ENTROPY, QUANT_MSE, QUANT_PERCENTILE, QUANT_MINMAX, QUANT_METHOD_COUNT };

/* "entropy", … */
const char *quant_method_name(enum quant_method method);

void quant_merge(struct quant_merged *into, const struct quant_histogram *from);

/* The largest magnitude that is worth a level; what is beyond is clipped. `levels` are the steps
 * from 0 to it. 0 where nothing but zeros was
 * counted. An exact zero stays exact in any range, so zeros have no say: of bin 0 only as many
 * count as of bin 1, what is more is taken for zeros.
 *
 *   minmax      all of it;
 *   percentile  all but 1 of 10,000;
 *   mse         least mean of the squared errors of rounding and clipping;
 *   entropy     least Kullback-Leibler divergence of the quantised distribution from the clipped
 *               one, as TensorRT's second entropy calibrator.
 *
 * Entropy takes some 10 ms, the others microseconds: it is for tensors, they do for channels. */
float quant_range(enum quant_method method, const struct quant_histogram *histogram, int levels);
float quant_range_merged(enum quant_method method, const struct quant_merged *histogram,
                         int levels);

#endif
