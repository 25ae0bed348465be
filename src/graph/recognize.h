/* Named tensors → graph: which U-Net is it? */
#ifndef UNET_GRAPH_RECOGNIZE_H
#define UNET_GRAPH_RECOGNIZE_H

#include "base/tensor.h"
#include "graph/graph.h"

struct unet_facts {
    const char *architecture;
    int in_channels, classes, width;
    bool conv_bias;
};

/* Builds the graph as the checkpoint's program would run it: one node a layer, batch norm apart,
 * pads and concatenations explicit. Names and shapes decide; .wts has no shapes (every tensor is
 * rank 1), there the counts do. The graph, which is
 * overwritten, copies the constants; after a failure it is empty. MODEL: names the first tensor
 * that is missing, superfluous or misshapen, or holds NaN or infinity, and what was expected. */
unet_status graph_recognize(const struct tensor_set *tensors, struct graph *graph,
                            struct unet_facts *facts, unet_error *error);

#endif
