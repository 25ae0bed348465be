/* Graph + kernels → what runs, and where its tensors lie. No clock, no files.
 *
 * Two parts with two lives. The CHOICE (struct plan) knows no size: a kernel a node, its packed
 * weights. The LAYOUT (struct layout) places every tensor of one input size in one arena. */
#ifndef UNET_PLAN_PLAN_H
#define UNET_PLAN_PLAN_H

#include "base/log.h"
#include "graph/graph.h"
#include "kernels/target.h"

struct plan_step {
    int node; /* in the graph; GRAPH_NONE for load and store */
    const struct kernel *kernel;
    struct kernel_desc desc;
    int sources[KERNEL_MAX_SOURCES], out, pooled; /* values; GRAPH_NONE where not there */
    int like;  /* the value whose size the result is padded to; GRAPH_NONE: none */
    bool head; /* writes the graph's output, planar */
    size_t packed_offset, packed_bytes; /* in the packed weights, 64-byte aligned; a GPU's 256 */
};

struct plan {
    const struct graph *graph; /* must outlive the plan */
    struct kernel_target target;
    struct plan_step *steps; /* load, the nodes, and store where the output is not a head's */
    int step_count;
    size_t packed_bytes;
};

/* What kernels call a graph's type. */
enum kernel_type plan_kernel_type(enum graph_type type);

/* Steps that a plan of this graph has: an engine file records a kernel for each. */
int plan_step_count(const struct graph *graph);

/* The step's name: its node's, "input" for load, "output" for store. */
const char *plan_step_name(const struct plan *plan, const struct plan_step *step);

/* The step that can read the caller's input itself, so that load, step 0, need not run; 0: none. It
 * is the only one that reads what load writes. */
int plan_input_reader(const struct plan *plan);

/* Picks for each node the first kernel of the target's list that runs it; refusals go to the log as
 * details. `names` (may be NULL): for each step the kernel to take, as an engine recorded
 * them; MODEL if one is unknown or refuses. DEVICE if no kernel runs a node: names node and
 * reasons. */
unet_status plan_create(const struct graph *graph, struct kernel_target target,
                        const char *const *names, const struct log *log, struct plan *plan,
                        unet_error *error);
void plan_clear(struct plan *plan);

/* The step's constants in the graph, for its kernel to pack; none for load and store. */
struct kernel_weights plan_step_weights(const struct plan *plan, const struct plan_step *step);

/* Writes the packed weights of all steps: plan->packed_bytes bytes, 64-byte aligned. The bytes
 * depend on the graph's constants and the kernels' names alone (gaps are zero). */
void plan_pack(const struct plan *plan, void *packed);

/* On a device: of all images of the batch; `tasks` means nothing there. */
struct layout_step {
    struct kernel_args args; /* data pointers are NULL until bound */
    size_t source_offset[KERNEL_MAX_SOURCES], out_offset, pooled_offset; /* bytes, of pixel (0,0) */
    int phases, tasks; /* as struct kernel_share */
    double macs;       /* multiply-adds, for profiles */
    double bytes;      /* read and written once, packed weights included */
};

struct layout {
    int batch, height, width, threads;
    struct layout_step *steps; /* one a plan step */
    int step_count;
    size_t arena_bytes;   /* all tensors */
    size_t scratch_bytes; /* a thread; on a device in all */
    size_t shared_bytes;  /* of all threads; on a device none */
};

/* `batch` images at once, which are 1 on the CPU. Tensors that are never alive together share
 * memory (first-fit by size, largest first). USAGE if the size is too small or too large or does
 * not fit this network (names one that does); MODEL if none does; MEMORY. */
unet_status layout_create(const struct plan *plan, int batch, int height, int width, int threads,
                          struct layout *layout, unet_error *error);
void layout_clear(struct layout *layout);

/* Turns offsets into pointers. `packed` may be NULL: then no step has weights. */
void layout_bind(const struct plan *plan, struct layout *layout, void *arena, void *shared,
                 const void *packed);

#endif
