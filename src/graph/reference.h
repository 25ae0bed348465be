/* The scalar interpreter: the oracle that every kernel answers to. Slow and plain on purpose. */
#ifndef UNET_GRAPH_REFERENCE_H
#define UNET_GRAPH_REFERENCE_H

#include "graph/graph.h"

/* input: channels × height × width; output likewise. Products are summed in double. Runs raw and
 * optimised graphs alike. */
unet_status graph_reference_run(const struct graph *graph, const float *input, int height,
                                int width, float *output, unet_error *error);

#endif
