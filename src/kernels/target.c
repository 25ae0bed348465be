#include "kernels/target.h"

#include <stdio.h>
#include <string.h>

struct kernel_target target_cpu(enum cpu_tier tier)
{
    return (struct kernel_target){.tier = tier};
}

/* ---------------------------------------------------------------- open and close */

static unet_status check_count(const struct device_backend *backend, int index, unet_error *error)
{
    int count = 0;
    TRY(backend->count(&count, error));
    if (index < count)
        return UNET_OK;
    if (count == 0)
        return error_set(error, UNET_ERROR_DEVICE,
                         "there is no GPU: the driver sees none; use the CPU");
    if (count == 1)
        return error_set(error, UNET_ERROR_DEVICE, "there is no device %s:%d: the only one is %s:0",
                         backend->name, index, backend->name);
    return error_set(error, UNET_ERROR_DEVICE, "there is no device %s:%d: they are %s:0 to %s:%d",
                     backend->name, index, backend->name, backend->name, count - 1);
}

unet_status target_open(int index, struct kernel_target *target, unet_error *error)
{
    struct kernel_target made = {.tier = CPU_TIER_C, .index = index};
    TRY(device_backend_load(&made.backend, error));
    TRY(check_count(made.backend, index, error));
    TRY(made.backend->open(index, &made.device, error));
    *target = made;
    return UNET_OK;
}

void target_close(struct kernel_target *target)
{
    if (target_is_device(target) && target->device != NULL)
        target->backend->close(target->device);
    *target = (struct kernel_target){0};
}

/* ---------------------------------------------------------------- kernels */

void target_name(const struct kernel_target *target, char name[TARGET_NAME_BYTES])
{
    if (target_is_device(target))
        snprintf(name, TARGET_NAME_BYTES, "%s %.9s", target->backend->name,
                 target->backend->facts(target->device)->architecture);
    else
        snprintf(name, TARGET_NAME_BYTES, "%s", cpu_tier_name(target->tier));
}

void target_device(const struct kernel_target *target, char name[DEVICE_NAME_BYTES])
{
    if (target_is_device(target))
        snprintf(name, DEVICE_NAME_BYTES, "cuda:%d", target->index);
    else
        snprintf(name, DEVICE_NAME_BYTES, "cpu");
}

const char *target_device_name(const struct kernel_target *target)
{
    return target_is_device(target) ? target->backend->facts(target->device)->name : "";
}

const struct kernel *const *target_kernels(const struct kernel_target *target)
{
    return target_is_device(target) ? target->backend->kernels : kernel_list();
}

const struct kernel *target_kernel_find(const struct kernel_target *target, const char *name)
{
    for (const struct kernel *const *list = target_kernels(target); *list != NULL; list++)
        if (strcmp((*list)->name, name) == 0)
            return *list;
    return NULL;
}

const char *target_kernel_refusal(const struct kernel_target *target, const struct kernel *kernel,
                                  char *text, size_t bytes)
{
    if (target_is_device(target))
        return target->backend->refusal(target->device, kernel, text, bytes);
    return kernel_machine_refusal(kernel, target->tier, text, bytes);
}

static bool is_gpus(enum kernel_type type)
{
    return type == KERNEL_F16 || type == KERNEL_E4M3;
}

/* The CPU's kernels know nothing of F16 and E4M3. That products may be of tf32 binds nobody. */
static bool has_gpus_type(const struct kernel_desc *desc)
{
    return is_gpus(desc->in_type) || is_gpus(desc->out_type) || is_gpus(desc->pooled_type);
}

const char *target_refusal(const struct kernel_target *target, const struct kernel *kernel,
                           const struct kernel_desc *desc, char *text, size_t bytes)
{
    const char *reason = target_kernel_refusal(target, kernel, text, bytes);
    if (reason != NULL)
        return reason;
    if (!target_is_device(target) && has_gpus_type(desc))
        return "f16 and e4m3 are of the GPU alone";
    return kernel->refuse(kernel, desc);
}

/* ---------------------------------------------------------------- types */

/* The layer that every U-Net has, as a question. */
static struct kernel_desc usual_conv(enum kernel_type type, bool tf32)
{
    return (struct kernel_desc){.op = KERNEL_CONV,
                                .in_type = type,
                                .out_type = type,
                                .source_count = 1,
                                .source_channels = {64},
                                .out_channels = 64,
                                .kernel_h = 3,
                                .kernel_w = 3,
                                .stride = 1,
                                .padding = 1,
                                .relu = true,
                                .tf32 = tf32,
                                .store_out = true};
}

/* The last reason counts, as in kernel_type_refusal. */
static const char *device_type_refusal(const struct kernel_target *target, enum kernel_type type,
                                       bool tf32, char *text, size_t bytes)
{
    const struct kernel_desc desc = usual_conv(type, tf32);
    snprintf(text, bytes, "has no kernels here");
    for (const struct kernel *const *list = target_kernels(target); *list != NULL; list++) {
        char reason[160];
        if ((*list)->op != KERNEL_CONV || (*list)->refuse(*list, &desc) != NULL)
            continue;
        const char *refusal = target_kernel_refusal(target, *list, reason, sizeof reason);
        if (refusal == NULL)
            return NULL;
        snprintf(text, bytes, "%s", refusal);
    }
    return text;
}

const char *target_type_refusal(const struct kernel_target *target, enum kernel_type type,
                                bool tf32, char *text, size_t bytes)
{
    if (target_is_device(target) && tf32 && target->backend->facts(target->device)->compute < 80)
        return "needs sm_80 or later";
    if (target_is_device(target))
        return device_type_refusal(target, type, tf32, text, bytes);
    if (is_gpus(type) || tf32)
        return "runs on a GPU alone";
    return kernel_type_refusal(type, target->tier, text, bytes);
}

void target_precisions(const struct kernel_target *target, char text[TARGET_PRECISIONS_BYTES])
{
    static const struct {
        const char *name;
        enum kernel_type type;
        bool tf32;
    } all[] = {{"fp32", KERNEL_F32, false}, {"tf32", KERNEL_F32, true},
               {"fp16", KERNEL_F16, false}, {"bf16", KERNEL_BF16, false},
               {"int8", KERNEL_U8, false},  {"fp8", KERNEL_E4M3, false}};
    enum { COUNT = sizeof all / sizeof all[0] };
    const char *names[COUNT];
    int count = 0;
    char reason[160];
    for (int i = 0; i < COUNT; i++)
        if (target_type_refusal(target, all[i].type, all[i].tf32, reason, sizeof reason) == NULL)
            names[count++] = all[i].name;
    text[0] = '\0';
    for (int i = 0; i < count; i++) {
        size_t used = strlen(text);
        const char *between = i == 0 ? "" : i == count - 1 ? " and " : ", ";
        snprintf(text + used, TARGET_PRECISIONS_BYTES - used, "%s%s", between, names[i]);
    }
}
