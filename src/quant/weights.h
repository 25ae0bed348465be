/* Weights as whole numbers −127…127 times a step for each output channel. */
#ifndef UNET_QUANT_WEIGHTS_H
#define UNET_QUANT_WEIGHTS_H

#include "base/memory.h"

#define QUANT_WEIGHT_LEVELS 127

/* The step for these weights, which share it: least Σ importance · (w − ŵ)², where ŵ is w rounded
 * and clipped. `importance` is what an error of each weight costs. Above 0 even where all weights
 * are 0. */
float quant_weight_step(const float *weights, const float *importance, size_t count);

/* A convolution's weights, which lie in either order: those of output o and input i are the `taps`
 * floats from o · output_stride + i · input_stride on. */
struct quant_filters {
    const float *weights;
    int outputs, inputs, taps;
    size_t output_stride, input_stride;
};

/* A step for each output. `importance`: of each input channel, the mean square of what its weights
 * are multiplied by; NULL: all equal. */
unet_status quant_weight_steps(const struct quant_filters *filters, const float *importance,
                               float *steps, unet_error *error);

#endif
