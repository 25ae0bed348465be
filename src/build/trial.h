/* A network with a choice for each of its layers, ready to run: an engine that is never
 * serialised. */
#ifndef UNET_BUILD_TRIAL_H
#define UNET_BUILD_TRIAL_H

#include "engine/engine.h"

/* Kernels that have been chosen for steps of uniform types, by the step's name and input type. */
struct kernel_book {
    struct kernel_book_entry *entries;
    int count, capacity;
};

unet_status kernel_book_add(struct kernel_book *book, const struct plan *plan, unet_error *error);
void kernel_book_clear(struct kernel_book *book);

struct trial_request {
    const struct graph *graph;           /* optimised, up-samplings not fused, all values float32 */
    const enum graph_type *types;        /* one a node: what it should read; as graph_set_types */
    const struct kernel *const *kernels; /* one a node; NULL: the book's, as where one refuses */
    const struct kernel_book *book;      /* what it does not hold runs by the order of preference */
    const struct engine_facts *facts;
    struct kernel_target target; /* outlives the trial */
    int threads;
    bool apart; /* up-sampled tensors are stored, so that the values are the graph's: on a device
                   they are in any case */
};

struct trial {
    unet_engine engine; /* graph, plan, facts and packed weights alone */
    unet_session *session;
    void *packed; /* of the host; on a device the engine's is there */
};

/* `trial` is heap memory: its plan refers to its graph. MODEL, DEVICE, MEMORY. */
unet_status trial_create(const struct trial_request *request, struct trial **trial,
                         unet_error *error);
void trial_free(struct trial **trial);

/* A copy with types set: its values' zeros fit them, and where they are float32 up-samplings are
 * fused unless they are to stay `apart`. */
unet_status trial_graph(const struct graph *from, const enum graph_type *types, bool apart,
                        struct graph *typed, unet_error *error);

/* As trial_create's, for who wants no session: a graph with its types and its plan. `graph` must
 * stay where it is as long as the plan. */
unet_status trial_plan(const struct trial_request *request, struct graph *graph, struct plan *plan,
                       unet_error *error);

/* The type that the node reads once types are set; F32 where it does not convolve. */
enum graph_type trial_node_type(const struct graph *graph, const char *name);

/* True for what reads weights: a layer. */
bool trial_is_layer(const struct graph_node *node);

#endif
