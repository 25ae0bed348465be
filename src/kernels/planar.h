/* A row of the caller's input, for whoever reads it: the load kernels and a first convolution. */
#ifndef UNET_KERNELS_PLANAR_H
#define UNET_KERNELS_PLANAR_H

#include "kernels/rows.h"

/* Row y of args' planes or pixels, whose height, width and channels are those of `to`, to row y
 * there, the border columns left alone. `ops` are of its type. */
void planar_load_row(const struct typed_row_ops *ops, const struct kernel_args *args,
                     const struct blocked *to, int y);

#endif
