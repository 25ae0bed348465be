/* Where every tensor lies. Placement is greedy: the largest tensor first, each at the lowest
 * offset where no tensor that lives at the same time lies. For the hourglass of a U-Net this finds
 * the optimum or comes close to it: the tensors of full size decide. */
#include "plan/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Far above any machine's memory, far below where sums of sizes overflow. */
#define MAX_TENSOR_BYTES ((size_t)1 << 46)

/* The largest factor between sizes that is tried for a better size. */
#define MOST_STEP 256

struct placement {
    struct blocked shape;  /* data NULL */
    size_t bytes, offset;  /* with the border */
    enum kernel_type type; /* as its writer stores it */
    int value;
    int first, last; /* steps between which it lives; first > last: it is never stored */
};

struct work {
    const struct plan *plan;
    int batch;
    struct graph_size *sizes;
    struct placement *placements; /* one a value */
    struct placement **placed;    /* by rising offset */
    int placed_count;
};

/* ---------------------------------------------------------------- lifetimes */

static void touch(struct work *work, int value, int step)
{
    if (value == GRAPH_NONE)
        return;
    struct placement *place = &work->placements[value];
    if (step < place->first)
        place->first = step;
    if (step > place->last)
        place->last = step;
}

static void write_value(struct work *work, int value, int step, enum kernel_type type)
{
    touch(work, value, step);
    if (value != GRAPH_NONE)
        work->placements[value].type = type;
}

static void find_lifetimes(struct work *work)
{
    const struct plan *plan = work->plan;
    for (int v = 0; v < plan->graph->value_count; v++) {
        work->placements[v].value = v;
        work->placements[v].first = plan->step_count;
        work->placements[v].last = -1;
    }
    for (int i = 0; i < plan->step_count; i++) {
        const struct plan_step *step = &plan->steps[i];
        write_value(work, step->out, i, step->desc.out_type);
        write_value(work, step->pooled, i, step->desc.pooled_type);
        for (int s = 0; s < step->desc.source_count; s++)
            touch(work, step->sources[s], i);
    }
}

/* The format is the target's. */
static size_t shape_tensor(const struct work *work, enum kernel_type type, int channels,
                           struct graph_size size, struct blocked *shape)
{
    if (target_is_device(&work->plan->target))
        return nhwc_init(shape, type, channels, size.height, size.width, work->batch);
    return blocked_init(shape, type, channels, size.height, size.width);
}

static unet_status shape_values(struct work *work, unet_error *error)
{
    const struct graph *graph = work->plan->graph;
    for (int v = 0; v < graph->value_count; v++) {
        struct placement *place = &work->placements[v];
        struct graph_size size = work->sizes[v];
        if (place->first > place->last)
            continue;
        double elements = 1.0 * work->batch * kernel_blocks(graph->values[v].channels) *
                          KERNEL_BLOCK * (size.height + 2.0) * (size.width + 2.0);
        if (elements * (double)kernel_type_bytes(place->type) > (double)MAX_TENSOR_BYTES)
            return error_set(
                error, UNET_ERROR_MEMORY,
                "a tensor of %d channels at %d×%d does not fit any memory; use smaller "
                "images or a scale",
                graph->values[v].channels, size.width, size.height);
        place->bytes =
            shape_tensor(work, place->type, graph->values[v].channels, size, &place->shape);
        place->shape.zero = graph->values[v].zero;
    }
    return UNET_OK;
}

/* ---------------------------------------------------------------- placement */

static int larger_first(const void *left, const void *right)
{
    const struct placement *a = *(struct placement *const *)left;
    const struct placement *b = *(struct placement *const *)right;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return (a->value > b->value) - (a->value < b->value);
}

static void place(struct work *work, struct placement *tensor)
{
    size_t offset = 0;
    for (int i = 0; i < work->placed_count; i++) {
        const struct placement *other = work->placed[i];
        size_t other_end = other->offset + other->bytes;
        if (other->last < tensor->first || tensor->last < other->first || other_end <= offset)
            continue;
        if (offset + tensor->bytes <= other->offset)
            break;
        offset = other_end;
    }
    tensor->offset = offset;
    int position = work->placed_count++;
    while (position > 0 && work->placed[position - 1]->offset > offset) {
        work->placed[position] = work->placed[position - 1];
        position--;
    }
    work->placed[position] = tensor;
}

static unet_status place_values(struct work *work, size_t *arena_bytes, unet_error *error)
{
    int count = 0;
    int values = work->plan->graph->value_count;
    struct placement **order = memory_alloc_array((size_t)values, sizeof *order);
    if (order == NULL)
        return error_memory(error, (size_t)values * sizeof *order, "a layout");
    for (int v = 0; v < values; v++)
        if (work->placements[v].first <= work->placements[v].last)
            order[count++] = &work->placements[v];
    qsort(order, (size_t)count, sizeof *order, larger_first);
    *arena_bytes = 0;
    for (int i = 0; i < count; i++) {
        place(work, order[i]);
        size_t end = order[i]->offset + order[i]->bytes;
        if (end > *arena_bytes)
            *arena_bytes = end;
    }
    memory_free(order);
    return UNET_OK;
}

/* ---------------------------------------------------------------- steps */

static int floor_half(int difference)
{
    return difference >= 0 ? difference / 2 : -((1 - difference) / 2);
}

static size_t pixel_offset(const struct work *work, const struct placement *place)
{
    bool bordered = !target_is_device(&work->plan->target);
    return place->offset + (bordered ? blocked_origin(&place->shape) : 0);
}

static double tensor_bytes(const struct blocked *t)
{
    return (double)kernel_type_bytes(t->type) * t->images * t->channels * t->height * t->width;
}

/* Twice the source, placed in the middle of like's size. */
static void place_in_like(struct kernel_args *args, const struct blocked *source,
                          const struct blocked *like)
{
    args->offset_y = floor_half(like->height - 2 * source->height);
    args->offset_x = floor_half(like->width - 2 * source->width);
}

static void lay_tensors(const struct work *work, const struct plan_step *step,
                        struct layout_step *laid)
{
    for (int s = 0; s < step->desc.source_count && step->sources[s] != GRAPH_NONE; s++) {
        const struct placement *source = &work->placements[step->sources[s]];
        laid->args.sources[s] = source->shape;
        laid->source_offset[s] = pixel_offset(work, source);
        laid->bytes += tensor_bytes(&source->shape);
    }
    if (step->out != GRAPH_NONE) {
        laid->args.out = work->placements[step->out].shape;
        laid->out_offset = pixel_offset(work, &work->placements[step->out]);
        laid->bytes += tensor_bytes(&laid->args.out);
    } else if (step->node != GRAPH_NONE) { /* kernels ask its size even where nobody wants it */
        struct graph_size size =
            graph_node_size(&work->plan->graph->nodes[step->node], work->sizes);
        shape_tensor(work, step->desc.out_type, step->desc.out_channels, size, &laid->args.out);
    }
    if (step->pooled != GRAPH_NONE) {
        laid->args.pooled = work->placements[step->pooled].shape;
        laid->pooled_offset = pixel_offset(work, &work->placements[step->pooled]);
        laid->bytes += tensor_bytes(&laid->args.pooled);
    }
    if (step->like != GRAPH_NONE)
        place_in_like(&laid->args, &laid->args.sources[0], &laid->args.out);
    if (step->desc.upsampled > 0)
        place_in_like(&laid->args, &laid->args.sources[step->desc.upsampled],
                      &laid->args.sources[0]);
}

static void lay_step(const struct work *work, const struct plan_step *step,
                     struct layout_step *laid)
{
    const struct graph *graph = work->plan->graph;
    lay_tensors(work, step, laid);
    laid->bytes += (double)step->packed_bytes;
    if (step->desc.op == KERNEL_LOAD)
        laid->bytes += tensor_bytes(&laid->args.out);
    if (step->desc.op == KERNEL_STORE)
        laid->bytes += tensor_bytes(&laid->args.sources[0]);
    if (step->head)
        laid->bytes += 4.0 * work->batch * step->desc.head_channels * laid->args.out.height *
                       laid->args.out.width;
    if (step->node != GRAPH_NONE)
        laid->macs = work->batch * graph_node_macs(graph, &graph->nodes[step->node], work->sizes);
}

static void most(size_t *bytes, size_t wanted)
{
    if (wanted > *bytes)
        *bytes = wanted;
}

static unet_status lay_steps(const struct work *work, struct layout *layout, unet_error *error)
{
    const struct plan *plan = work->plan;
    layout->step_count = plan->step_count;
    layout->steps = memory_calloc((size_t)plan->step_count, sizeof *layout->steps);
    if (layout->steps == NULL)
        return error_memory(error, (size_t)plan->step_count * sizeof *layout->steps, "a layout");
    for (int i = 0; i < plan->step_count; i++) {
        const struct plan_step *step = &plan->steps[i];
        struct layout_step *laid = &layout->steps[i];
        lay_step(work, step, laid);
        laid->args.threads = layout->threads;
        struct kernel_share share = kernel_share(step->kernel, &step->desc, &laid->args);
        laid->phases = share.phases;
        laid->args.phases = share.phases > 1 ? share.phases : 0;
        laid->tasks = share.tasks;
        most(&layout->scratch_bytes, share.scratch_bytes);
        most(&layout->shared_bytes, share.shared_bytes);
    }
    size_t alignment = MEMORY_ALIGNMENT; /* each thread's part begins at a cache line */
    layout->scratch_bytes = (layout->scratch_bytes + alignment - 1) / alignment * alignment;
    layout->shared_bytes = (layout->shared_bytes + alignment - 1) / alignment * alignment;
    return UNET_OK;
}

/* ---------------------------------------------------------------- the layout */

static unet_status allocate_work(const struct plan *plan, int batch, struct work *work,
                                 unet_error *error)
{
    size_t values = (size_t)plan->graph->value_count;
    *work = (struct work){.plan = plan, .batch = batch};
    work->sizes = memory_calloc(values, sizeof *work->sizes);
    work->placements = memory_calloc(values, sizeof *work->placements);
    work->placed = memory_calloc(values, sizeof *work->placed);
    if (work->sizes == NULL || work->placements == NULL || work->placed == NULL)
        return error_memory(error, values * sizeof *work->placements, "a layout");
    return UNET_OK;
}

static void free_work(struct work *work)
{
    memory_free(work->sizes);
    memory_free(work->placements);
    memory_free(work->placed);
}

/* The sizes of all values, and whether the output has the input's size, as the caller's logits. */
static unet_status infer(const struct work *work, int height, int width, unet_error *error)
{
    const struct graph *graph = work->plan->graph;
    TRY(graph_infer(graph, height, width, work->sizes, error));
    struct graph_size out = work->sizes[graph->output];
    if (out.height != height || out.width != width)
        return error_set(error, UNET_ERROR_MODEL,
                         "the network turns %d×%d into %d×%d; only networks that keep the size "
                         "segment images",
                         width, height, out.width, out.height);
    return UNET_OK;
}

/* Networks that halve without padding afterwards fit only some sizes: names the next that does. */
static unet_status infer_or_advise(const struct work *work, int height, int width,
                                   unet_error *error)
{
    unet_status status = infer(work, height, width, error);
    if (status != UNET_ERROR_MODEL)
        return status;
    for (int step = 2; step <= MOST_STEP; step *= 2) {
        int high = (height + step - 1) / step * step, wide = (width + step - 1) / step * step;
        if (infer(work, high, wide, NULL) == UNET_OK)
            return error_set(error, UNET_ERROR_USAGE,
                             "an input of %d×%d does not fit this network: width and height must "
                             "be multiples of %d; pad it to %d×%d, or use a scale",
                             width, height, step, wide, high);
    }
    return status;
}

static unet_status make_layout(struct work *work, struct layout *layout, unet_error *error)
{
    TRY(infer_or_advise(work, layout->height, layout->width, error));
    find_lifetimes(work);
    TRY(shape_values(work, error));
    TRY(place_values(work, &layout->arena_bytes, error));
    return lay_steps(work, layout, error);
}

static unet_status check_side(int side, const char *name, unet_error *error)
{
    if (side < 1 || side > UNET_MAX_SIDE)
        return error_set(error, UNET_ERROR_USAGE, "%s %d is not between 1 and %d", name, side,
                         UNET_MAX_SIDE);
    return UNET_OK;
}

unet_status layout_create(const struct plan *plan, int batch, int height, int width, int threads,
                          struct layout *layout, unet_error *error)
{
    TRY(check_side(height, "height", error));
    TRY(check_side(width, "width", error));
    struct layout made = {.batch = batch, .height = height, .width = width, .threads = threads};
    struct work work;
    unet_status status = allocate_work(plan, batch, &work, error);
    if (status == UNET_OK)
        status = make_layout(&work, &made, error);
    free_work(&work);
    if (status != UNET_OK) {
        layout_clear(&made);
        return status;
    }
    *layout = made;
    return UNET_OK;
}

void layout_clear(struct layout *layout)
{
    memory_free(layout->steps);
    *layout = (struct layout){0};
}

static void *pixel_at(void *arena, size_t offset)
{
    return (char *)arena + offset;
}

void layout_bind(const struct plan *plan, struct layout *layout, void *arena, void *shared,
                 const void *packed)
{
    for (int i = 0; i < layout->step_count; i++) {
        const struct plan_step *step = &plan->steps[i];
        struct layout_step *laid = &layout->steps[i];
        for (int s = 0; s < step->desc.source_count && step->sources[s] != GRAPH_NONE; s++)
            laid->args.sources[s].data = pixel_at(arena, laid->source_offset[s]);
        if (step->out != GRAPH_NONE)
            laid->args.out.data = pixel_at(arena, laid->out_offset);
        if (step->pooled != GRAPH_NONE)
            laid->args.pooled.data = pixel_at(arena, laid->pooled_offset);
        laid->args.shared = shared;
        laid->args.packed = packed != NULL ? (const char *)packed + step->packed_offset : NULL;
    }
}
