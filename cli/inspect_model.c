#include "inspect.h"

#include "json.h"
#include "message.h"

#include <stdio.h>
#include <string.h>

struct checkpoint {
    const char *path;
    unet_model *model;
    unet_model_info info;
    unet_network_info network;
    bool verified;
    size_t checksums;
    unet_error unrecognized; /* why it is no known network; status UNET_OK: it is one */
};

static int64_t value_count(const unet_tensor *tensor)
{
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++)
        count *= tensor->shape[i];
    return count;
}

/* ---------------------------------------------------------------- text */

static void print_network(const struct checkpoint *checkpoint)
{
    const unet_network_info *network = &checkpoint->network;
    if (checkpoint->unrecognized.status != UNET_OK) {
        printf("network      none: %s\n", checkpoint->unrecognized.message);
        return;
    }
    printf("network      %s, width %d, %d channel%s in, %d class%s, convolutions with%s bias\n",
           network->architecture, network->width, network->in_channels,
           network->in_channels == 1 ? "" : "s", network->classes,
           network->classes == 1 ? "" : "es", network->conv_bias ? "" : "out");
}

static unet_status print_tensors(const struct checkpoint *checkpoint, unet_error *error)
{
    unet_tensor tensor;
    int widest = 6;
    for (size_t i = 0; i < checkpoint->info.tensor_count; i++) {
        unet_status status = unet_model_get_tensor(checkpoint->model, i, &tensor, error);
        if (status != UNET_OK)
            return status;
        int length = (int)strlen(tensor.name);
        widest = length > widest ? length : widest;
    }
    printf("\n%-*s  %-8s  %-16s  %12s\n", widest, "tensor", "dtype", "shape", "values");
    for (size_t i = 0; i < checkpoint->info.tensor_count; i++) {
        unet_status status = unet_model_get_tensor(checkpoint->model, i, &tensor, error);
        if (status != UNET_OK)
            return status;
        printf("%-*s  %-8s  %-16s  %12s\n", widest, tensor.name, unet_dtype_name(tensor.dtype),
               text_of_shape(tensor.shape, tensor.rank), text_of_count(value_count(&tensor)));
    }
    return UNET_OK;
}

static unet_status print_text(const struct checkpoint *checkpoint, unet_error *error)
{
    const unet_model_info *info = &checkpoint->info;
    printf("file         %s\n", checkpoint->path);
    printf("format       %s\n", info->format);
    print_network(checkpoint);
    printf("tensors      %zu\n", info->tensor_count);
    printf("parameters   %s\n", text_of_count(info->parameter_count));
    if (info->mask_value_count > 0)
        printf("mask values  %s\n", text_of_mask_values(info->mask_values, info->mask_value_count,
                                                        info->mask_value_channels));
    if (checkpoint->verified && checkpoint->checksums == 0)
        printf("verified     read whole; the file has no checksums\n");
    else if (checkpoint->verified)
        printf("verified     all %zu checksums are right\n", checkpoint->checksums);
    return print_tensors(checkpoint, error);
}

/* ---------------------------------------------------------------- JSON */

static json_t *network_json(const struct checkpoint *checkpoint)
{
    const unet_network_info *network = &checkpoint->network;
    if (checkpoint->unrecognized.status != UNET_OK)
        return json_null();
    json_t *object = json_object();
    json_put_text(object, "architecture", network->architecture);
    json_put_integer(object, "in_channels", network->in_channels);
    json_put_integer(object, "classes", network->classes);
    json_put_integer(object, "width", network->width);
    json_put_bool(object, "conv_bias", network->conv_bias);
    return object;
}

static json_t *tensor_json(const unet_tensor *tensor)
{
    json_t *object = json_object(), *shape = json_array();
    for (int i = 0; i < tensor->rank; i++)
        json_array_append_new(shape, json_integer(tensor->shape[i]));
    json_put_text(object, "name", tensor->name);
    json_put_text(object, "dtype", unet_dtype_name(tensor->dtype));
    json_put(object, "shape", shape);
    return object;
}

static unet_status fill_tensors(const struct checkpoint *checkpoint, json_t *tensors,
                                unet_error *error)
{
    unet_tensor tensor;
    unet_status status = UNET_OK;
    for (size_t i = 0; i < checkpoint->info.tensor_count && status == UNET_OK; i++) {
        status = unet_model_get_tensor(checkpoint->model, i, &tensor, error);
        if (status == UNET_OK)
            json_array_append_new(tensors, tensor_json(&tensor));
    }
    return status;
}

static unet_status print_json(const struct checkpoint *checkpoint, unet_error *error)
{
    const unet_model_info *info = &checkpoint->info;
    json_t *object = json_object(), *tensors = json_array();
    bool unknown = checkpoint->unrecognized.status != UNET_OK;
    unet_status status = fill_tensors(checkpoint, tensors, error);
    json_put_text(object, "file", checkpoint->path);
    json_put_text(object, "format", info->format);
    json_put(object, "network", network_json(checkpoint));
    json_put_text(object, "not_recognized", unknown ? checkpoint->unrecognized.message : NULL);
    json_put_integer(object, "tensor_count", (int64_t)info->tensor_count);
    json_put_integer(object, "parameter_count", info->parameter_count);
    json_put(
        object, "mask_values",
        json_of_mask_values(info->mask_values, info->mask_value_count, info->mask_value_channels));
    if (checkpoint->verified) {
        json_put_bool(object, "verified", true);
        json_put_integer(object, "checksums", (int64_t)checkpoint->checksums);
    }
    json_put(object, "tensors", tensors);
    if (status == UNET_OK)
        json_print(object);
    else
        json_decref(object);
    return status;
}

unet_status inspect_model(const char *path, bool json, bool verify, unet_error *error)
{
    struct checkpoint checkpoint = {.path = path,
                                    .info = {.size = sizeof checkpoint.info},
                                    .network = {.size = sizeof checkpoint.network}};
    unet_status status = unet_model_open(path, &checkpoint.model, error);
    if (status == UNET_OK && verify) {
        status = unet_model_verify(path, &checkpoint.checksums, error);
        checkpoint.verified = status == UNET_OK;
    }
    if (status == UNET_OK)
        status = unet_model_get_info(checkpoint.model, &checkpoint.info, error);
    if (status == UNET_OK) {
        unet_model_recognize(checkpoint.model, &checkpoint.network, &checkpoint.unrecognized);
        status = json ? print_json(&checkpoint, error) : print_text(&checkpoint, error);
    }
    unet_model_close(&checkpoint.model);
    return status;
}
