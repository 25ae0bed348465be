/* The weights of a bicubic resize along one axis. */
#ifndef UNET_IMAGE_RESAMPLE_H
#define UNET_IMAGE_RESAMPLE_H

#include "base/error.h"

/* Fraction bits of the fixed-point weights: with 8 bits of pixel and two of headroom for weights
 * outside [0, 1] they fill 32. */
#define RESAMPLE_PRECISION 22

/* Output i is the sum of weights[i × stride + tap] × input[first[i] + tap] over count[i] taps. */
struct resample_axis {
    int out_size, stride;
    int *first, *count;
    double *weights;
    int32_t *fixed; /* the weights in fixed point */
};

unet_status resample_axis_make(int in_size, int out_size, struct resample_axis *axis,
                               unet_error *error);
void resample_axis_clear(struct resample_axis *axis);

#endif
