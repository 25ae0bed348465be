/* Which way each layer runs, and the rungs that the search for the budget climbs. */
#ifndef UNET_BUILD_ASSIGNMENT_H
#define UNET_BUILD_ASSIGNMENT_H

#include "build/budget.h"
#include "build/keep.h"

struct rung {
    enum graph_type type;
    const struct kernel *kernel; /* NULL: as the book or the order of preference says */
    double milliseconds;
};

struct ladder {
    struct rung rungs[BUDGET_RUNGS];
    int count;
};

/* One rung a layer. */
struct assignment {
    struct rung *layers;
    enum graph_type *types;        /* a node each */
    const struct kernel **kernels; /* a node each */
    int layer_count, node_count;
};

/* The ways of a layer that are worth having, fastest first: none is left that a more precise one is
 * as fast as. `available` is one type of 8 bits at most. `kept`: GRAPH_TYPE_COUNT, or the only
 * type. */
struct ladder ladder_of(const struct layer_cost *layer, const bool available[GRAPH_TYPE_COUNT],
                        enum graph_type kept);
void ladder_describe(const struct ladder *ladder, struct budget_layer *layer);

unet_status assignment_create(const struct graph *graph, const struct layer_costs *costs,
                              struct assignment *assignment, unet_error *error);
void assignment_set(struct assignment *assignment, const struct layer_costs *costs, int layer,
                    const struct rung *rung);
/* How many layers read this type; what else they wanted, fixed ones read float32. */
int assignment_count(const struct assignment *assignment, enum graph_type type);
void assignment_clear(struct assignment *assignment);

#endif
