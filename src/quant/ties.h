/* Which values are made of the same channels. Private to quant/. */
#ifndef UNET_QUANT_TIES_H
#define UNET_QUANT_TIES_H

#include "graph/graph.h"
#include "quant/weights.h"

/* True if the node's output is made of its inputs' channels, one by one, and a positive factor goes
 * through: relu, pools, up-sampling, pad, concatenation. */
bool quant_passes(const struct graph_node *node);
/* How many of the inputs are read, not only their size. */
int quant_read_count(const struct graph_node *node);
/* Channels of all that is read. */
int quant_read_channels(const struct graph *graph, const struct graph_node *node);
/* Where the weights of output o and input i are, and how many. */
struct quant_filters quant_filters_of(const struct graph *graph, const struct graph_node *node);

/* A flag a value: it, or what it is of one piece with, may be negative. */
void quant_find_signed(const struct graph *graph, bool *is_signed);
/* A flag a value: the graph's input, its output, a head, or of one piece with those. */
void quant_find_fixed(const struct graph *graph, bool *fixed);

#endif
