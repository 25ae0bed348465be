/* Weights of 8-bit products: for each output channel a step times what meets the type of the
 * inputs, whole numbers −127…127 for U8, an e4m3 up to 448 for E4M3; rounded as graph/reference.c
 * says. */
#ifndef UNET_KERNELS_BYTE_WEIGHTS_H
#define UNET_KERNELS_BYTE_WEIGHTS_H

#include "kernels/kernel.h"

/* Weights of one output channel: of each input `taps` that lie together, the next input's `stride`
 * further. */
struct weight_row {
    const float *first; /* NULL: zeros */
    size_t stride;
    int inputs, taps;
};

/* U8 or E4M3: whether weights that meet such inputs have a step an output. */
bool byte_weights_type(enum kernel_type type);

/* The step of output channel `out`, whose weights the row holds: weights->weight_step, or what
 * spreads the row's largest magnitude over the range. */
float byte_weights_step(enum kernel_type type, const struct kernel_weights *weights, int out,
                        const struct weight_row *row);

/* What the output loses on average where these weights are rounded: Σ (w − ŵ) · mean. */
double byte_weights_lost(enum kernel_type type, const struct kernel_weights *weights, float step,
                         const struct weight_row *row);

/* The byte that stands for a weight. */
uint8_t byte_weights_byte(enum kernel_type type, float weight, float step);

/* A word of four weights that meet U8: `from` is the first one's, the next lies `stride` further;
 * `count` of them, perhaps none, are there; zeros stand for the others. */
float byte_weights_word(const float *from, size_t stride, int count, float step);

#endif
