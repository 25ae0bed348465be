#include "model/model.h"

#include <string.h>
#include <strings.h>

#include "base/options.h"

#define SHORTEST 9 /* bytes; with fewer no format can be told */

/* By falling certainty of their probes. */
static const struct model_reader *const readers[] = {
    &model_reader_pth_zip,
    &model_reader_pth_legacy,
    &model_reader_safetensors,
    &model_reader_wts,
};

static bool is_git_lfs_pointer(const struct file_map *file)
{
    static const char head[] = "version https://git-lfs.";
    return file->size >= sizeof head && memcmp(file->bytes, head, sizeof head - 1) == 0;
}

static unet_status find_reader(const struct file_map *file, const struct model_reader **reader,
                               unet_error *error)
{
    if (file->size == 0)
        return error_set(error, UNET_ERROR_MODEL, "is empty; give a .pth, .wts or .safetensors");
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        *reader = readers[i];
        if ((*reader)->probe(file))
            return UNET_OK;
    }
    if (file->size < SHORTEST)
        return error_set(error, UNET_ERROR_MODEL,
                         "has %zu bytes, so it is truncated or not a model; copy it again",
                         file->size);
    if (is_git_lfs_pointer(file))
        return error_set(error, UNET_ERROR_MODEL,
                         "is a Git LFS pointer, not a model; fetch the model with 'git lfs pull'");
    return error_set(error, UNET_ERROR_MODEL,
                     "is not a model that can be read; give a .pth, .wts or .safetensors");
}

unet_status model_read(const struct file_map *file, struct unet_model *model, unet_error *error)
{
    const struct model_reader *reader;
    TRY(find_reader(file, &reader, error));
    TRY(reader->read(file, &model->tensors, error));
    model->format = reader->format;
    if (model->tensors.count == 0)
        return error_set(error, UNET_ERROR_MODEL,
                         "holds no tensors; give a trained network's checkpoint");
    return UNET_OK;
}

unet_status unet_model_open(const char *path, unet_model **model, unet_error *error)
{
    struct file_map file;
    TRY(file_map_open(path, 0, UNET_ERROR_MODEL, &file, error));
    unet_model *made = memory_calloc(1, sizeof *made);
    unet_status status = made != NULL ? model_read(&file, made, error)
                                      : error_memory(error, sizeof *made, "a model");
    file_map_close(&file);
    if (status != UNET_OK) {
        unet_model_close(&made);
        return error_prefix(error, status, "%s", path);
    }
    *model = made;
    return UNET_OK;
}

unet_status unet_model_verify(const char *path, size_t *checksums, unet_error *error)
{
    struct file_map file;
    const struct model_reader *reader;
    TRY(file_map_open(path, 0, UNET_ERROR_MODEL, &file, error));
    *checksums = 0;
    unet_status status = find_reader(&file, &reader, error);
    if (status == UNET_OK && reader->verify != NULL)
        status = reader->verify(&file, checksums, error);
    file_map_close(&file);
    return status == UNET_OK ? UNET_OK : error_prefix(error, status, "%s", path);
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/* Batch norm's running statistics are buffers: PyTorch counts them as no parameters. By name, for
 * .wts knows no types. */
static bool is_buffer(const char *name)
{
    return ends_with(name, ".running_mean") || ends_with(name, ".running_var") ||
           ends_with(name, ".num_batches_tracked");
}

static int64_t count_parameters(const struct tensor_set *tensors)
{
    size_t total = 0;
    for (size_t i = 0; i < tensors->count; i++) {
        const unet_tensor *tensor = &tensors->items[i];
        if (!is_buffer(tensor->name))
            total += tensor->bytes / unet_dtype_size(tensor->dtype);
    }
    return (int64_t)total;
}

unet_status unet_model_get_info(const unet_model *model, unet_model_info *info, unet_error *error)
{
    const struct tensor_set *tensors = &model->tensors;
    unet_model_info full = {
        .size = sizeof full,
        .format = model->format,
        .tensor_count = tensors->count,
        .parameter_count = count_parameters(tensors),
        .mask_value_count = tensors->mask_value_count,
        .mask_value_channels = tensors->mask_value_channels,
        .mask_values = tensors->mask_values,
    };
    return options_write(info, &full, sizeof full, "unet_model_info", error);
}

unet_status unet_model_get_tensor(const unet_model *model, size_t index, unet_tensor *tensor,
                                  unet_error *error)
{
    if (index >= model->tensors.count)
        return error_set(error, UNET_ERROR_USAGE,
                         "there is no tensor %zu; the model has %zu, counted from 0", index,
                         model->tensors.count);
    *tensor = model->tensors.items[index];
    return UNET_OK;
}

unet_status unet_model_save(const unet_model *model, const char *path, unet_error *error)
{
    const char *name = strrchr(path, '/');
    const char *extension = strrchr(name != NULL ? name : path, '.');
    if (extension != NULL && strcasecmp(extension, ".wts") == 0)
        return model_write_wts(&model->tensors, path, error);
    if (extension != NULL && strcasecmp(extension, ".safetensors") == 0)
        return model_write_safetensors(&model->tensors, path, error);
    return error_set(error, UNET_ERROR_USAGE,
                     "%s: models are written as .wts or .safetensors; name the file so", path);
}

void unet_model_close(unet_model **model)
{
    if (model == NULL || *model == NULL)
        return;
    tensor_set_clear(&(*model)->tensors);
    memory_free(*model);
    *model = NULL;
}
