/* The public interface's questions about devices. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "kernels/target.h"

/* Opening a device takes long, and who asks for one kernel asks for all: so those that were asked
 * about stay open. */
#define MOST_ASKED 16

static pthread_mutex_t asked_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kernel_target asked[MOST_ASKED];

unet_status unet_device_count(int *count, unet_error *error)
{
    const struct device_backend *backend;
    if (count == NULL)
        return error_set(error, UNET_ERROR_USAGE, "unet_device_count needs a place for the count");
    TRY(device_backend_load(&backend, error));
    return backend->count(count, error);
}

static unet_status find_target(int device, const struct kernel_target **target, unet_error *error)
{
    unet_status status = UNET_OK;
    if (device < 0 || device >= MOST_ASKED)
        return error_set(error, UNET_ERROR_USAGE, "device %d: give one from 0 to %d", device,
                         MOST_ASKED - 1);
    pthread_mutex_lock(&asked_lock);
    if (!target_is_device(&asked[device]))
        status = target_open(device, &asked[device], error);
    pthread_mutex_unlock(&asked_lock);
    if (status == UNET_OK)
        *target = &asked[device];
    return status;
}

static size_t count_kernels(const struct kernel_target *target)
{
    size_t count = 0;
    while (target_kernels(target)[count] != NULL)
        count++;
    return count;
}

unet_status unet_device_get_info(int device, unet_device_info *info, unet_error *error)
{
    const struct kernel_target *target;
    if (info == NULL)
        return error_set(error, UNET_ERROR_USAGE, "unet_device_get_info needs info");
    TRY(find_target(device, &target, error));
    const struct device_facts *facts = target->backend->facts(target->device);
    unet_device_info known = {.multiprocessors = facts->multiprocessors,
                              .memory_bytes = facts->memory_bytes,
                              .l2_bytes = facts->l2_bytes,
                              .kernel_count = count_kernels(target)};
    target_device(target, known.id);
    target_precisions(target, known.precisions);
    snprintf(known.name, sizeof known.name, "%s", facts->name);
    snprintf(known.architecture, sizeof known.architecture, "%s", facts->architecture);
    snprintf(known.driver, sizeof known.driver, "%s", facts->driver);
    snprintf(known.runtime, sizeof known.runtime, "%s", facts->runtime);
    snprintf(known.libraries, sizeof known.libraries, "%s", facts->libraries);
    return options_write(info, &known, sizeof known, "unet_device_info", error);
}

static void say_needs(const struct kernel *kernel, char *needs, size_t bytes)
{
    needs[0] = '\0';
    if (kernel->compute_least > 0 && kernel->compute_most == kernel->compute_least)
        snprintf(needs, bytes, "sm_%d", kernel->compute_least);
    else if (kernel->compute_least > 0 && kernel->compute_most > 0)
        snprintf(needs, bytes, "sm_%d to sm_%d", kernel->compute_least, kernel->compute_most);
    else if (kernel->compute_least > 0)
        snprintf(needs, bytes, "sm_%d or later", kernel->compute_least);
}

unet_status unet_device_get_kernel(int device, size_t index, unet_kernel_info *info,
                                   unet_error *error)
{
    static _Thread_local char needs[64], refused[192];
    const struct kernel_target *target;
    if (info == NULL)
        return error_set(error, UNET_ERROR_USAGE, "unet_device_get_kernel needs info");
    TRY(find_target(device, &target, error));
    size_t count = count_kernels(target);
    if (index >= count)
        return error_set(error, UNET_ERROR_USAGE, "there is no kernel %zu: the device has %zu",
                         index, count);
    const struct kernel *kernel = target_kernels(target)[index];
    say_needs(kernel, needs, sizeof needs);
    const unet_kernel_info known = {
        .size = sizeof known,
        .name = kernel->name,
        .needs = needs,
        .refused = target_kernel_refusal(target, kernel, refused, sizeof refused),
    };
    return options_write(info, &known, sizeof known, "unet_kernel_info", error);
}
