#include "plan/candidates.h"
#include "plan/plan.h"

#include <string.h>

#include "base/memory.h"

/* Of packed weights: a cache line of the CPU; where a GPU's allocations begin, too. */
static size_t round_up(const struct plan *plan, size_t bytes)
{
    size_t alignment = target_is_device(&plan->target) ? 256 : MEMORY_ALIGNMENT;
    return (bytes + alignment - 1) / alignment * alignment;
}

/* ---------------------------------------------------------------- nodes → descriptions */

enum kernel_type plan_kernel_type(enum graph_type type)
{
    static const enum kernel_type types[GRAPH_TYPE_COUNT] = {
        [GRAPH_F32] = KERNEL_F32, [GRAPH_F16] = KERNEL_F16,   [GRAPH_BF16] = KERNEL_BF16,
        [GRAPH_U8] = KERNEL_U8,   [GRAPH_E4M3] = KERNEL_E4M3,
    };
    return types[type];
}

static bool output_is_head(const struct graph *graph)
{
    for (int i = 0; i < graph->node_count; i++)
        if (graph->nodes[i].head != GRAPH_NONE && graph->nodes[i].head == graph->output)
            return true;
    return false;
}

int plan_step_count(const struct graph *graph)
{
    return 1 + graph->node_count + (output_is_head(graph) ? 0 : 1);
}

const char *plan_step_name(const struct plan *plan, const struct plan_step *step)
{
    if (step->node != GRAPH_NONE)
        return plan->graph->nodes[step->node].name;
    return step->desc.op == KERNEL_LOAD ? "input" : "output";
}

static bool step_reads(const struct plan_step *step, int value)
{
    for (int s = 0; s < step->desc.source_count; s++)
        if (step->sources[s] == value)
            return true;
    return false;
}

int plan_input_reader(const struct plan *plan)
{
    int reader = 0;
    for (int i = 1; i < plan->step_count; i++) {
        if (!step_reads(&plan->steps[i], plan->steps[0].out))
            continue;
        if (reader > 0)
            return 0;
        reader = i;
    }
    const struct plan_step *step = &plan->steps[reader];
    bool can = reader > 0 && step->kernel->reads_input && step->desc.source_count == 1 &&
               step->desc.source_channels[0] <= KERNEL_BLOCK;
    return can ? reader : 0;
}

static bool op_of_node(enum graph_op op, enum kernel_op *kernel_op)
{
    switch (op) {
    case GRAPH_CONV:
        *kernel_op = KERNEL_CONV;
        return true;
    case GRAPH_CONV_TRANSPOSE:
        *kernel_op = KERNEL_CONV_TRANSPOSE;
        return true;
    case GRAPH_MAX_POOL:
        *kernel_op = KERNEL_MAX_POOL;
        return true;
    case GRAPH_UPSAMPLE:
        *kernel_op = KERNEL_UPSAMPLE;
        return true;
    default:
        return false;
    }
}

static bool reads(const struct graph_node *node, int value)
{
    for (int i = 0; i < node->input_count; i++)
        if (node->inputs[i] == value)
            return true;
    return false;
}

/* A head is written to the caller's planar tensor, where no other node can read it. */
static const char *head_refusal(const struct graph *graph, const struct graph_node *node)
{
    if (node->head == GRAPH_NONE)
        return NULL;
    if (node->head != graph->output)
        return "its 1×1 head does not yield the network's output";
    for (int i = 0; i < graph->node_count; i++)
        if (reads(&graph->nodes[i], node->head))
            return "its 1×1 head is read by another layer";
    return NULL;
}

/* What the description of a kernel has no words for; NULL: it can be described. */
static const char *node_refusal(const struct graph *graph, const struct graph_node *node)
{
    enum kernel_op op;
    if (!op_of_node(node->op, &op))
        return "runs only where it can be fused into a convolution beside it";
    if (op == KERNEL_CONV && node->input_count > KERNEL_MAX_SOURCES)
        return "reads more than 4 tensors";
    if (op != KERNEL_CONV && node->relu)
        return "no ReLU can be fused into it";
    if (op != KERNEL_CONV && (node->pooled != GRAPH_NONE || node->head != GRAPH_NONE))
        return "no pooling and no head can be fused into it";
    if (op != KERNEL_CONV && node->output == GRAPH_NONE)
        return "nobody reads its output";
    if ((op == KERNEL_MAX_POOL || op == KERNEL_CONV_TRANSPOSE) &&
        (node->kernel_h != 2 || node->kernel_w != 2 || node->stride != 2 || node->padding != 0))
        return "2×2 with stride 2 and no padding only";
    const char *fault = graph_type_fault(graph, node);
    return fault != NULL ? fault : head_refusal(graph, node);
}

/* F32 where there is no value: a head alone is planar. */
static enum kernel_type type_of(const struct graph *graph, int value)
{
    return value != GRAPH_NONE ? plan_kernel_type(graph->values[value].type) : KERNEL_F32;
}

static void describe_conv(const struct graph *graph, const struct graph_node *node,
                          struct kernel_desc *desc)
{
    desc->source_count = node->input_count;
    for (int i = 0; i < node->input_count; i++)
        desc->source_channels[i] = graph->values[node->inputs[i]].channels;
    desc->upsampled = node->upsampled;
    desc->out_channels = graph_node_channels(graph, node);
    desc->store_out = node->output != GRAPH_NONE;
    desc->pool = node->pooled != GRAPH_NONE;
    if (node->head != GRAPH_NONE)
        desc->head_channels = graph->values[node->head].channels;
}

static unet_status describe_node(const struct graph *graph, int index, struct plan_step *step,
                                 unet_error *error)
{
    const struct graph_node *node = &graph->nodes[index];
    const char *refusal = node_refusal(graph, node);
    if (refusal != NULL)
        return error_set(error, UNET_ERROR_DEVICE, "layer %s (%s): no kernel runs it: %s",
                         node->name, graph_op_name(node->op), refusal);
    struct kernel_desc *desc = &step->desc;
    op_of_node(node->op, &desc->op);
    if (desc->op == KERNEL_CONV) {
        describe_conv(graph, node, desc);
    } else {
        desc->source_count = 1;
        desc->source_channels[0] = graph->values[node->inputs[0]].channels;
        desc->out_channels = graph->values[node->output].channels;
        desc->store_out = true;
        step->like = node->input_count > 1 ? node->inputs[1] : GRAPH_NONE;
    }
    desc->kernel_h = node->kernel_h;
    desc->kernel_w = node->kernel_w;
    desc->stride = node->stride;
    desc->padding = node->padding;
    desc->relu = node->relu;
    desc->in_type = type_of(graph, node->inputs[0]);
    desc->out_type = type_of(graph, node->output);
    desc->pooled_type = type_of(graph, node->pooled);
    desc->tf32 = graph->tf32 && desc->in_type == KERNEL_F32;
    for (int i = 0; i < desc->source_count; i++)
        step->sources[i] = node->inputs[i];
    step->node = index;
    step->out = node->output;
    step->pooled = node->pooled;
    step->head = node->head != GRAPH_NONE;
    return UNET_OK;
}

static void describe_transfer(const struct graph *graph, enum kernel_op op, int value,
                              struct plan_step *step)
{
    int channels = graph->values[value].channels;
    step->desc = (struct kernel_desc){.op = op,
                                      .source_count = 1,
                                      .source_channels = {channels},
                                      .out_channels = channels,
                                      .store_out = op == KERNEL_LOAD};
    if (op == KERNEL_LOAD) {
        step->out = value;
        step->desc.out_type = type_of(graph, value);
    } else {
        step->sources[0] = value;
        step->desc.in_type = type_of(graph, value);
    }
}

static unet_status describe_steps(const struct graph *graph, struct plan *plan, unet_error *error)
{
    for (int i = 0; i < plan->step_count; i++) {
        struct plan_step *step = &plan->steps[i];
        step->node = step->out = step->pooled = step->like = GRAPH_NONE;
        for (int s = 0; s < KERNEL_MAX_SOURCES; s++)
            step->sources[s] = GRAPH_NONE;
    }
    describe_transfer(graph, KERNEL_LOAD, graph->input, &plan->steps[0]);
    for (int i = 0; i < graph->node_count; i++)
        TRY(describe_node(graph, i, &plan->steps[1 + i], error));
    if (plan->step_count > 1 + graph->node_count)
        describe_transfer(graph, KERNEL_STORE, graph->output, &plan->steps[plan->step_count - 1]);
    return UNET_OK;
}

/* ---------------------------------------------------------------- descriptions → kernels */

static unet_status choose(const struct plan *plan, struct plan_step *step, const struct log *log,
                          unet_error *error)
{
    struct candidates found;
    candidates_find(plan, step, log, &found);
    TRY(candidates_check(plan, step, &found, error));
    step->kernel = found.kernels[0];
    log_line(log, LOG_DETAIL, "%s: %s", plan_step_name(plan, step), step->kernel->name);
    return UNET_OK;
}

static unet_status take_named(const struct plan *plan, struct plan_step *step, const char *name,
                              unet_error *error)
{
    char text[128];
    const struct kernel *kernel = target_kernel_find(&plan->target, name);
    const char *reason = "this libunet has none of that name";
    if (kernel != NULL)
        reason = kernel->op != step->desc.op
                     ? "it runs another operation"
                     : target_refusal(&plan->target, kernel, &step->desc, text, sizeof text);
    if (reason != NULL)
        return error_set(error, UNET_ERROR_MODEL, "layer %s: kernel %s cannot be used: %s",
                         plan_step_name(plan, step), name, reason);
    step->kernel = kernel;
    return UNET_OK;
}

static unet_status place_packed(struct plan *plan, struct plan_step *step, unet_error *error)
{
    step->packed_offset = plan->packed_bytes;
    step->packed_bytes = step->kernel->packed_bytes(step->kernel, &step->desc);
    size_t end;
    if (__builtin_add_overflow(step->packed_offset, step->packed_bytes, &end) || end > SIZE_MAX / 2)
        return error_set(error, UNET_ERROR_MODEL, "layer %s: its weights are too large",
                         plan_step_name(plan, step));
    plan->packed_bytes = round_up(plan, end);
    return UNET_OK;
}

static unet_status choose_kernels(struct plan *plan, const char *const *names,
                                  const struct log *log, unet_error *error)
{
    for (int i = 0; i < plan->step_count; i++) {
        struct plan_step *step = &plan->steps[i];
        if (names != NULL)
            TRY(take_named(plan, step, names[i], error));
        else
            TRY(choose(plan, step, log, error));
        TRY(place_packed(plan, step, error));
    }
    return UNET_OK;
}

unet_status plan_create(const struct graph *graph, struct kernel_target target,
                        const char *const *names, const struct log *log, struct plan *plan,
                        unet_error *error)
{
    struct plan made = {.graph = graph, .target = target, .step_count = plan_step_count(graph)};
    made.steps = memory_calloc((size_t)made.step_count, sizeof *made.steps);
    if (made.steps == NULL)
        return error_memory(error, (size_t)made.step_count * sizeof *made.steps, "a plan");
    unet_status status;
    TRY_GOTO(describe_steps(graph, &made, error), failed);
    TRY_GOTO(choose_kernels(&made, names, log, error), failed);
    *plan = made;
    return UNET_OK;
failed:
    plan_clear(&made);
    return status;
}

void plan_clear(struct plan *plan)
{
    memory_free(plan->steps);
    *plan = (struct plan){0};
}

/* ---------------------------------------------------------------- weights */

struct kernel_weights plan_step_weights(const struct plan *plan, const struct plan_step *step)
{
    if (step->node == GRAPH_NONE)
        return (struct kernel_weights){0};
    const struct graph_node *node = &plan->graph->nodes[step->node];
    return (struct kernel_weights){.weight = node->weight.data,
                                   .bias = node->bias.data,
                                   .head_weight = node->head_weight.data,
                                   .head_bias = node->head_bias.data,
                                   .weight_step = node->weight_step.data,
                                   .mean = node->mean.data};
}

void plan_pack(const struct plan *plan, void *packed)
{
    for (int i = 0; i < plan->step_count; i++) {
        const struct plan_step *step = &plan->steps[i];
        char *into = (char *)packed + step->packed_offset;
        struct kernel_weights weights = plan_step_weights(plan, step);
        if (step->packed_bytes > 0)
            step->kernel->pack(step->kernel, &step->desc, &weights, into);
        memset(into + step->packed_bytes, 0,
               round_up(plan, step->packed_bytes) - step->packed_bytes);
    }
}
