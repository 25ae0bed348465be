/* Builds a graph layer by layer from a checkpoint's tensors. Private to graph/: what the
 * recognisers share.
 *
 * The first failure sticks: it is kept in `status` and every later call does nothing, so that a
 * recogniser reads like the network's own program. Values are passed as their index. */
#ifndef UNET_GRAPH_LAYERS_H
#define UNET_GRAPH_LAYERS_H

#include "base/tensor.h"
#include "graph/graph.h"

#define LAYERS_MAX_DEPTH 8

struct layers {
    const struct tensor_set *tensors;
    struct graph *graph;
    const char *prefix; /* before every tensor's name: "module.", "" */
    bool flat;          /* a .wts: no shapes, only counts */
    bool *used;         /* a flag a tensor */
    unet_status status;
    unet_error *error;
};

/* The text lives as long as the graph; "" after a failure. */
const char *layers_name(struct layers *layers, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* "PREFIX LAYER.PART"; NULL if there is no such tensor, or after a failure. */
const unet_tensor *layers_find(struct layers *layers, const char *layer, const char *part);
/* True if some tensor's name begins with "PREFIX START". */
bool layers_begin(struct layers *layers, const char *start);
/* Values in a tensor; 0 if there is none. */
int64_t layers_count(struct layers *layers, const char *layer, const char *part);

/* The network's width is what two of a batch norm's tensors agree on: then the odd one is found to
 * be misshapen, not all others. 0 and a failure if there is none or it cannot be. */
int layers_width(struct layers *layers, const char *norm, int depth);
/* Channels that a convolution reads or writes, from its weight alone; 0 and a failure if its shape
 * cannot be right. */
int layers_in_channels(struct layers *layers, const char *conv, int out_channels, int kernel);
int layers_out_channels(struct layers *layers, const char *conv, int in_channels, int kernel);

int layers_input(struct layers *layers, int channels);
int layers_conv(struct layers *layers, int x, int out_channels, int kernel, bool bias,
                const char *name);
/* 2×2, stride 2. */
int layers_conv_transpose(struct layers *layers, int x, int out_channels, bool bias,
                          const char *name);
int layers_batch_norm(struct layers *layers, int x, const char *name);
int layers_relu(struct layers *layers, int x, const char *name);
int layers_max_pool(struct layers *layers, int x, const char *name);
int layers_upsample(struct layers *layers, int x, const char *name);
int layers_pad(struct layers *layers, int x, int like, const char *name);
int layers_concat(struct layers *layers, int a, int b, const char *name);

/* Fails if a tensor was used by no layer. */
void layers_finish(struct layers *layers);

#endif
