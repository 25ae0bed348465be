/* Rewrites a float graph so that what it stores runs from 0 to 255: see docs/int8.md. */
#ifndef UNET_QUANT_RESCALE_H
#define UNET_QUANT_RESCALE_H

#include "quant/ranges.h"

/* Multiplies each channel that a convolution stores by 255 / its range (127 / where it may be
 * negative) and divides the columns of weights that read it by the same: the function stays. All
 * channels that are of one piece (a convolution's output and pooled output, what pools,
 * up-samplings, pads and concatenations make of them) have one factor; the graph's input, its
 * output, heads, and all that only such nodes part from them keep theirs.
 *
 * Types play no part, for float32 and bf16 do not mind factors: rescale once, then try types by
 * graph_set_types, and call quant_shift after each time. Every convolution whose sources were all
 * rescaled, so that they could be bytes, is given its weight_step and, where means are known, mean.
 *
 * For optimised graphs, before graph_fuse_upsample or after, and for any other. MODEL: a value has
 * no range, or weights and ranges leave float32's; names it. After a failure the graph is of no
 * use. */
unet_status quant_rescale(struct graph *graph, const struct quant_ranges *ranges,
                          unet_error *error);

/* Makes the values' `zero` fit their types: 128 for bytes that may be negative, 0 for all others.
 * Whoever writes a value then adds 128, its readers' biases subtract it, and means follow. MODEL
 * where that cannot be: an activation of its own or a transposed convolution reads such bytes, or
 * of one layer's stored results only one is bytes; names the layer and leaves the graph as it
 * was. */
unet_status quant_shift(struct graph *graph, unet_error *error);

#endif
