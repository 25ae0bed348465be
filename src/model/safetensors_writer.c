/* The header keeps the checkpoint's order. The values lie by falling size of their dtype, so that
 * each is aligned: readers that view them in place (safetensors' own does) need that. */
#include "model/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "model/mask_values.h"
#include "model/model.h"

#define LARGEST_VALUE 8

static unet_status no_memory(unet_error *error)
{
    return error_set(error, UNET_ERROR_MEMORY, "out of memory for a .safetensors header");
}

/* Where each tensor's values begin, behind the header. */
static void place(const struct tensor_set *tensors, uint64_t *begins)
{
    uint64_t end = 0;
    for (size_t size = LARGEST_VALUE; size > 0; size /= 2)
        for (size_t i = 0; i < tensors->count; i++) {
            if (unet_dtype_size(tensors->items[i].dtype) != size)
                continue;
            begins[i] = end;
            end += tensors->items[i].bytes;
        }
}

static json_t *describe(const unet_tensor *tensor, uint64_t begin)
{
    json_t *shape = json_array();
    for (int i = 0; i < tensor->rank; i++)
        json_array_append_new(shape, json_integer(tensor->shape[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", safetensors_dtype_name(tensor->dtype),
                     "shape", shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)(begin + tensor->bytes));
}

static unet_status add_metadata(json_t *header, const struct tensor_set *tensors, unet_error *error)
{
    if (tensors->mask_value_count == 0)
        return UNET_OK;
    char *text = mask_values_to_json(tensors);
    json_t *metadata = text != NULL ? json_pack("{s:s}", SAFETENSORS_MASK_VALUES, text) : NULL;
    free(text);
    return json_object_set_new(header, SAFETENSORS_METADATA, metadata) == 0 ? UNET_OK
                                                                            : no_memory(error);
}

/* The names become keys: they must be UTF-8, and not the format's own. */
static unet_status check_name(const char *name, const char *path, unet_error *error)
{
    json_t *text = json_string(name);
    bool good = text != NULL && strcmp(name, SAFETENSORS_METADATA) != 0;
    json_decref(text);
    if (good)
        return UNET_OK;
    return error_set(error, UNET_ERROR_OUTPUT,
                     "%s: a .safetensors cannot hold the name '%s', which is reserved or not "
                     "UTF-8; write a .wts",
                     path, name);
}

static unet_status fill_header(json_t *header, const struct tensor_set *tensors,
                               const uint64_t *begins, const char *path, unet_error *error)
{
    TRY(add_metadata(header, tensors, error));
    for (size_t i = 0; i < tensors->count; i++) {
        const unet_tensor *tensor = &tensors->items[i];
        TRY(check_name(tensor->name, path, error));
        if (json_object_set_new(header, tensor->name, describe(tensor, begins[i])) != 0)
            return no_memory(error);
    }
    return UNET_OK;
}

static unet_status write_header(struct file_writer *writer, const char *text, unet_error *error)
{
    static const char padding[LARGEST_VALUE] = "        ";
    size_t length = strlen(text), pad = (LARGEST_VALUE - length % LARGEST_VALUE) % LARGEST_VALUE;
    uint64_t total = length + pad;
    uint8_t prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)(total >> (8 * i));
    TRY(file_writer_write(writer, prefix, sizeof prefix, error));
    TRY(file_writer_write(writer, text, length, error));
    return file_writer_write(writer, padding, pad, error);
}

static unet_status write_values(struct file_writer *writer, const struct tensor_set *tensors,
                                unet_error *error)
{
    for (size_t size = LARGEST_VALUE; size > 0; size /= 2)
        for (size_t i = 0; i < tensors->count; i++) {
            const unet_tensor *tensor = &tensors->items[i];
            if (unet_dtype_size(tensor->dtype) == size)
                TRY(file_writer_write(writer, tensor->data, tensor->bytes, error));
        }
    return UNET_OK;
}

static unet_status write_file(const char *text, const struct tensor_set *tensors, const char *path,
                              unet_error *error)
{
    struct file_writer writer;
    TRY(file_writer_open(&writer, path, false, error));
    unet_status status;
    TRY_GOTO(write_header(&writer, text, error), done);
    TRY_GOTO(write_values(&writer, tensors, error), done);
    TRY_GOTO(file_writer_commit(&writer, error), done);
done:
    file_writer_close(&writer);
    return status;
}

unet_status model_write_safetensors(const struct tensor_set *tensors, const char *path,
                                    unet_error *error)
{
    unet_status status = UNET_OK;
    char *text = NULL;
    json_t *header = json_object();
    uint64_t *begins = memory_alloc_array(tensors->count, sizeof *begins);
    if (header == NULL || begins == NULL) {
        status = no_memory(error);
        goto done;
    }
    place(tensors, begins);
    TRY_GOTO(fill_header(header, tensors, begins, path, error), done);
    text = json_dumps(header, JSON_COMPACT);
    status = text != NULL ? write_file(text, tensors, path, error) : no_memory(error);
done:
    free(text);
    json_decref(header);
    memory_free(begins);
    return status;
}
