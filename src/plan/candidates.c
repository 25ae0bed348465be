#include "plan/candidates.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------- who can run it */

/* Each reason once, with the first kernel that gives it. */
static void add_reason(struct candidates *found, const char *kernel, const char *reason)
{
    if (strstr(found->reasons, reason) != NULL)
        return;
    size_t used = strlen(found->reasons), room = sizeof found->reasons - used;
    snprintf(found->reasons + used, room, "%s%s: %s", used > 0 ? "; " : "", kernel, reason);
}

void candidates_find(const struct plan *plan, const struct plan_step *step, const struct log *log,
                     struct candidates *found)
{
    *found = (struct candidates){0};
    const struct kernel_target *target = &plan->target;
    for (const struct kernel *const *list = target_kernels(target); *list != NULL; list++) {
        if ((*list)->op != step->desc.op || found->count == CANDIDATES_MOST)
            continue;
        char text[128];
        const char *reason = target_kernel_refusal(target, *list, text, sizeof text);
        bool machine = reason != NULL;
        if (!machine)
            reason = target_refusal(target, *list, &step->desc, text, sizeof text);
        if (reason == NULL) {
            found->kernels[found->count++] = *list;
            continue;
        }
        log_line(log, LOG_DETAIL, "%s: not %s: %s", plan_step_name(plan, step), (*list)->name,
                 reason);
        if (!machine) /* those of the machine are many, and never the whole story: plain C is there
                       */
            add_reason(found, (*list)->name, reason);
    }
}

unet_status candidates_check(const struct plan *plan, const struct plan_step *step,
                             const struct candidates *found, unet_error *error)
{
    if (found->count > 0)
        return UNET_OK;
    return error_set(error, UNET_ERROR_DEVICE, "layer %s: no kernel runs it here: %s",
                     plan_step_name(plan, step), found->reasons);
}

/* ---------------------------------------------------------------- who may win */

/* OPERATION.METHOD.TIER: everything before the last dot. */
static bool same_method(const char *a, const char *b)
{
    const char *a_end = strrchr(a, '.'), *b_end = strrchr(b, '.');
    return a_end != NULL && b_end != NULL && a_end - a == b_end - b &&
           memcmp(a, b, (size_t)(a_end - a)) == 0;
}

/* The candidate that makes timing this one pointless; NULL: none does. */
static const struct kernel *superior_to(const struct kernel *kernel, const struct candidates *found)
{
    for (int i = 0; i < found->count; i++) {
        const struct kernel *other = found->kernels[i];
        if (other->tier <= kernel->tier)
            continue;
        if (kernel->tier == CPU_TIER_C || same_method(other->name, kernel->name))
            return other;
    }
    return NULL;
}

void candidates_reduce(const struct plan *plan, const struct plan_step *step, const struct log *log,
                       struct candidates *found)
{
    struct candidates all = *found;
    found->count = 0;
    for (int i = 0; i < all.count; i++) {
        const struct kernel *kernel = all.kernels[i], *superior = superior_to(kernel, &all);
        if (superior == NULL)
            found->kernels[found->count++] = kernel;
        else
            log_line(log, LOG_DETAIL, "%s: not timed: %s, for %s runs here",
                     plan_step_name(plan, step), kernel->name, superior->name);
    }
}

/* ---------------------------------------------------------------- who wins */

int candidates_cheapest(const int64_t *costs, int count)
{
    int64_t lowest = costs[0];
    for (int i = 1; i < count; i++)
        if (costs[i] < lowest)
            lowest = costs[i];
    int first = 0;
    while ((double)costs[first] > 1.02 * (double)lowest)
        first++;
    return first;
}

/* ---------------------------------------------------------------- a step in words */

static void append(char text[STEP_TEXT_BYTES], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void append(char text[STEP_TEXT_BYTES], const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, STEP_TEXT_BYTES - used, format, arguments);
    va_end(arguments);
}

static const char *op_text(enum kernel_op op)
{
    static const char *const names[KERNEL_OP_COUNT] = {
        [KERNEL_CONV] = "conv",         [KERNEL_CONV_TRANSPOSE] = "conv_transpose",
        [KERNEL_UPSAMPLE] = "upsample", [KERNEL_MAX_POOL] = "max_pool",
        [KERNEL_LOAD] = "load",         [KERNEL_STORE] = "store",
    };
    return names[op];
}

static int images_of(const struct kernel_args *args)
{
    return args->out.images > args->sources[0].images ? args->out.images : args->sources[0].images;
}

void step_text(const struct plan_step *step, const struct layout_step *laid,
               char text[STEP_TEXT_BYTES])
{
    const struct kernel_desc *desc = &step->desc;
    const struct kernel_args *args = &laid->args;
    text[0] = '\0';
    append(text, "%s ", op_text(desc->op));
    for (int s = 0; s < desc->source_count; s++)
        append(text, "%s%d:%dx%d%s", s > 0 ? "+" : "", desc->source_channels[s],
               args->sources[s].width, args->sources[s].height,
               s > 0 && s == desc->upsampled ? " upsampled" : "");
    append(text, " to %d:%dx%d %s to %s", desc->out_channels, args->out.width, args->out.height,
           kernel_type_name(desc->in_type), kernel_type_name(desc->out_type));
    if (desc->pool && (!desc->store_out || desc->pooled_type != desc->out_type))
        append(text, " and %s", kernel_type_name(desc->pooled_type));
    if (desc->kernel_h > 0)
        append(text, " window %dx%d stride %d padding %d", desc->kernel_w, desc->kernel_h,
               desc->stride, desc->padding);
    if (args->offset_x != 0 || args->offset_y != 0)
        append(text, " at %d,%d", args->offset_x, args->offset_y);
    append(text, "%s%s%s", desc->relu ? " relu" : "", desc->store_out ? " stored" : "",
           desc->pool ? " pooled" : "");
    if (desc->head_channels > 0)
        append(text, " head %d", desc->head_channels);
    if (desc->tf32)
        append(text, " tf32");
    if (images_of(args) > 1)
        append(text, " images %d", images_of(args));
}
