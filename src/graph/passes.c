#include "graph/passes.h"

unet_status graph_optimize(struct graph *graph, unet_error *error)
{
    TRY(graph_fold_batch_norm(graph, error));
    TRY(graph_fuse_relu(graph, error));
    TRY(graph_fuse_pad(graph, error));
    TRY(graph_elide_concat(graph, error));
    TRY(graph_fuse_pool(graph, error));
    TRY(graph_fuse_head(graph, error));
    return graph_check(graph, error); /* folding can leave float32's range */
}
