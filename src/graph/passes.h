/* Rewrites that keep the function and shrink the work. Each works on any graph. */
#ifndef UNET_GRAPH_PASSES_H
#define UNET_GRAPH_PASSES_H

#include "graph/graph.h"

/* All of the below up to graph_fuse_head in their order, then nodes and values that nobody reads
 * are dropped. */
unet_status graph_optimize(struct graph *graph, unet_error *error);

/* conv → batch_norm: into weights and bias, in double. */
unet_status graph_fold_batch_norm(struct graph *graph, unet_error *error);
/* conv → relu. */
unet_status graph_fuse_relu(struct graph *graph, unet_error *error);
/* upsample | conv_transpose → pad: the writer pads. */
unet_status graph_fuse_pad(struct graph *graph, unet_error *error);
/* concat → conv: the convolution reads several sources; the tensor is never stored. */
unet_status graph_elide_concat(struct graph *graph, unet_error *error);
/* conv → max_pool 2×2: a second output. */
unet_status graph_fuse_pool(struct graph *graph, unet_error *error);
/* conv → 1×1 conv without activation that yields the graph's output: a head; the wide tensor is
 * never stored. */
unet_status graph_fuse_head(struct graph *graph, unet_error *error);
/* upsample like s → conv that reads s first: the convolution reads the smaller tensor, where nobody
 * else reads the up-sampled one and it is float32. One for each convolution. After graph_set_type:
 * kernels up-sample in pieces, rows between two pieces once for each, and of a bf16 tensor, half as
 * large, that costs more than storing it (docs/performance.md). No part of graph_optimize. */
unet_status graph_fuse_upsample(struct graph *graph, unet_error *error);
/* The reverse, of all: kernels of devices read what is stored. */
unet_status graph_separate_upsample(struct graph *graph, unet_error *error);
/* Stores what each node's convolution reads as wanted[node], or wider where another of its readers,
 * or one of those below, wants that: a convolution reads one type, and what is no convolution
 * writes what it reads. The input, the output, heads, and what is tied to them are float32. After
 * the other passes, none of which minds types. */
void graph_set_types(struct graph *graph, const enum graph_type *wanted);
/* All values of one type become those of another, a wider one. */
void graph_widen_type(struct graph *graph, enum graph_type from, enum graph_type to);
/* Stores all values as `type`, but for the input, the output, and what must be float32 as they
 * are. */
void graph_set_type(struct graph *graph, enum graph_type type);
/* Compacts nodes and values. */
unet_status graph_drop_dead(struct graph *graph, unet_error *error);

#endif
