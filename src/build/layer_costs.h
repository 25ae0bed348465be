/* What each layer of a network takes in each arithmetic, on this machine. */
#ifndef UNET_BUILD_LAYER_COSTS_H
#define UNET_BUILD_LAYER_COSTS_H

#include "build/plan_build.h"
#include "build/trial.h"

/* One way to run a layer. */
struct layer_way {
    const struct kernel *kernel; /* NULL: there is no such way, or the type was not planned */
    double milliseconds; /* the layer's, with what pools or up-samples its sources on the way */
};

struct layer_cost {
    const char *name; /* the graph's */
    int node;         /* in the optimised graph */
    bool fixed;       /* it reads the network's input, or what is tied to it: float32 in any case */
    struct layer_way ways[GRAPH_TYPE_COUNT];   /* the fastest of each type */
    struct layer_way others[GRAPH_TYPE_COUNT]; /* the second fastest */
};

struct layer_costs {
    struct layer_cost *layers;
    int count;
};

/* All that convolves. Nothing is timed yet. */
unet_status layer_costs_create(const struct graph *graph, struct layer_costs *costs,
                               unet_error *error);

/* Plans the graph with all types `type`, adds the kernels to the book and fills in that way of
 * every layer. Where nothing is timed a way's time follows from its multiplications: 8 bits are
 * taken to be twice as fast as bf16, and that twice as fast as float32. */
unet_status layer_costs_plan(struct planner *planner, const struct graph *graph,
                             enum graph_type type, struct layer_costs *costs,
                             struct kernel_book *book, unet_error *error);

/* The way of a type that nobody plans, so many times slower than that of the next narrower one. */
void layer_costs_guess(struct layer_costs *costs, enum graph_type type, enum graph_type from,
                       double slower);

void layer_costs_clear(struct layer_costs *costs);

#endif
