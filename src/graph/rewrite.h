/* What the passes share. Private to graph/. */
#ifndef UNET_GRAPH_REWRITE_H
#define UNET_GRAPH_REWRITE_H

#include "graph/graph.h"

/* How many inputs read the value; the graph's output counts as one more. Graphs are small: a scan
 * costs less than keeping an index true through every rewrite. */
int graph_count_readers(const struct graph *graph, int value);
/* The node that writes the value; GRAPH_NONE for the graph's input. */
int graph_find_writer(const struct graph *graph, int value);
/* The node whose `output` is read as input 0 by `reader` and by nothing else; GRAPH_NONE. */
int graph_sole_source(const struct graph *graph, const struct graph_node *reader);
/* The others move up; values stay. */
void graph_remove_node(struct graph *graph, int index);

#endif
