/* Weights of 8-bit products as each type rounds them: of U8 as kernels/byte_weights.h says, of E4M3
 * the same with what an e4m3 holds in the place of whole numbers, up to 448. */
#ifndef UNET_KERNELS_CUDA_NARROW_WEIGHTS_H
#define UNET_KERNELS_CUDA_NARROW_WEIGHTS_H

#include "kernels/byte_weights.h"

/* Whether weights that meet such inputs have a step an output. */
bool narrow_type(enum kernel_type type);

/* As byte_weights_step and byte_weights_lost. */
float narrow_step(enum kernel_type type, const struct kernel_weights *weights, int out,
                  const struct weight_row *row);
double narrow_lost(enum kernel_type type, const struct kernel_weights *weights, float step,
                   const struct weight_row *row);

/* The byte that stands for a weight. */
char narrow_byte(enum kernel_type type, float weight, float step);

#endif
