/* The scalar interpreter: the oracle that every kernel answers to. Slow and plain on purpose. */
#ifndef UNET_GRAPH_REFERENCE_H
#define UNET_GRAPH_REFERENCE_H

#include "graph/graph.h"

/* input: channels × height × width; output likewise. Products are summed in double; values of
 * another type than float32 are rounded to it when they are stored, and so are weights that meet
 * them. Runs raw and optimised graphs alike. */
unet_status graph_reference_run(const struct graph *graph, const float *input, int height,
                                int width, float *output, unet_error *error);

#endif
