#include "kernels.h"

#include <stdio.h>
#include <string.h>

static unet_status count_kernels(int device, size_t *count, unet_error *error)
{
    unet_device_info info = {.size = sizeof info};
    unet_status status = UNET_OK;
    if (device != KERNELS_OF_CPU)
        status = unet_device_get_info(device, &info, error);
    *count = device == KERNELS_OF_CPU ? unet_kernel_count() : info.kernel_count;
    return status;
}

static unet_status get_kernel(int device, size_t index, unet_kernel_info *kernel, unet_error *error)
{
    kernel->size = sizeof *kernel;
    if (device == KERNELS_OF_CPU)
        return unet_kernel_get(index, kernel, error);
    return unet_device_get_kernel(device, index, kernel, error);
}

unet_status kernels_print(int device, unet_error *error)
{
    unet_kernel_info kernel;
    size_t count = 0, widest = 0;
    unet_status status = count_kernels(device, &count, error);
    for (size_t i = 0; i < count && status == UNET_OK; i++) {
        status = get_kernel(device, i, &kernel, error);
        if (status == UNET_OK && strlen(kernel.name) > widest)
            widest = strlen(kernel.name);
    }
    for (size_t i = 0; i < count && status == UNET_OK; i++) {
        status = get_kernel(device, i, &kernel, error);
        if (status == UNET_OK)
            printf("  %-*s  %s%s\n", (int)widest, kernel.name,
                   kernel.refused == NULL ? "runs" : "no: ",
                   kernel.refused == NULL ? "" : kernel.refused);
    }
    return status;
}

static json_t *kernel_json(const unet_kernel_info *kernel)
{
    json_t *object = json_object();
    json_put_text(object, "name", kernel->name);
    json_put_text(object, "needs", kernel->needs);
    json_put_bool(object, "runs", kernel->refused == NULL);
    json_put_text(object, "refused", kernel->refused);
    return object;
}

unet_status kernels_put_json(json_t *object, int device, unet_error *error)
{
    unet_kernel_info kernel;
    json_t *kernels = json_array();
    size_t count = 0;
    unet_status status = count_kernels(device, &count, error);
    for (size_t i = 0; i < count && status == UNET_OK; i++) {
        status = get_kernel(device, i, &kernel, error);
        if (status == UNET_OK)
            json_array_append_new(kernels, kernel_json(&kernel));
    }
    json_put(object, "kernels", kernels);
    return status;
}
