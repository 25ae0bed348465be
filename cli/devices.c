#include "devices.h"

#include "kernels.h"
#include "message.h"

#include <stdio.h>

/* How many there are; `why`: why none is. */
static int count_devices(unet_error *why)
{
    int count = 0;
    *why = (unet_error){UNET_OK, "the driver sees none"};
    return unet_device_count(&count, why) == UNET_OK ? count : 0;
}

/* ---------------------------------------------------------------- text */

static unet_status print_device(int device, unet_error *error)
{
    unet_device_info info = {.size = sizeof info};
    unet_status status = unet_device_get_info(device, &info, error);
    if (status != UNET_OK)
        return status;
    printf("device     %s: %s, %s, %d multiprocessors, %s\n", info.id, info.name, info.architecture,
           info.multiprocessors, text_of_bytes(info.memory_bytes));
    printf("driver     %s, runtime %s%s%s\n", info.driver, info.runtime,
           info.libraries[0] != '\0' ? ", " : "", info.libraries);
    printf("runs       %s\n", info.precisions);
    printf("kernels of %s\n", info.id);
    return kernels_print(device, error);
}

unet_status devices_print(unet_error *error)
{
    unet_error why;
    unet_status status = UNET_OK;
    int count = count_devices(&why);
    if (count == 0)
        printf("device     none: %s\n", why.message);
    for (int i = 0; i < count && status == UNET_OK; i++)
        status = print_device(i, error);
    return status;
}

/* ---------------------------------------------------------------- JSON */

static unet_status append_device(json_t *devices, int device, unet_error *error)
{
    unet_device_info info = {.size = sizeof info};
    unet_status status = unet_device_get_info(device, &info, error);
    if (status != UNET_OK)
        return status;
    json_t *object = json_object();
    json_put_text(object, "id", info.id);
    json_put_text(object, "name", info.name);
    json_put_text(object, "architecture", info.architecture);
    json_put_text(object, "driver", info.driver);
    json_put_text(object, "runtime", info.runtime);
    json_put_text(object, "libraries", info.libraries);
    json_put_text(object, "precisions", info.precisions);
    json_put_integer(object, "multiprocessors", info.multiprocessors);
    json_put_integer(object, "memory_bytes", (int64_t)info.memory_bytes);
    json_put_integer(object, "l2_bytes", (int64_t)info.l2_bytes);
    status = kernels_put_json(object, device, error);
    json_array_append_new(devices, object);
    return status;
}

unet_status devices_put_json(json_t *object, unet_error *error)
{
    unet_error why;
    unet_status status = UNET_OK;
    json_t *devices = json_array();
    int count = count_devices(&why);
    for (int i = 0; i < count && status == UNET_OK; i++)
        status = append_device(devices, i, error);
    json_put(object, "devices", devices);
    json_put_text(object, "no_device", count == 0 ? why.message : NULL);
    return status;
}
