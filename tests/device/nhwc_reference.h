/* Every operation on NHWC tensors in scalars: sums in double, rounded once where a tensor is
 * stored. What a device's kernels are held to; the back end in plain C runs nothing else. */
#ifndef UNET_TESTS_NHWC_REFERENCE_H
#define UNET_TESTS_NHWC_REFERENCE_H

#include "kernels/kernel.h"

/* NULL if it is done here, else why not. */
const char *nhwc_reference_refusal(const struct kernel_desc *desc);

/* Does it. Weights are row-major, as in struct kernel_weights, and are rounded to the type of what
 * they meet; `args` are as a kernel gets them (packed and scratch are not read). */
void nhwc_reference(const struct kernel_desc *desc, const struct kernel_args *args,
                    const struct kernel_weights *weights);

/* One element of a tensor, and the rounding to a type. */
double nhwc_get(const struct blocked *tensor, int image, int y, int x, int channel);
double nhwc_round(enum kernel_type type, double value);

#endif
