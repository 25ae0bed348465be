/* libFuzzer: both .pth readers, and the pickle machine alone, which checksums of a zip archive keep
 * a fuzzer away from. */
#include "model/model.h"
#include "model/state_dict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any storage that fits has the input's own bytes. */
static unet_status locate(void *context, struct pickle_storage *storage, unet_error *error)
{
    const struct file_map *file = context;
    size_t bytes;
    if (__builtin_mul_overflow((size_t)storage->count, pickle_type_size(storage->type), &bytes) ||
        bytes > file->size)
        return error_set(error, UNET_ERROR_MODEL, "its storage is larger than the input");
    storage->data = file->bytes;
    return UNET_OK;
}

static void read_pickle(struct file_map *file, struct tensor_set *tensors)
{
    struct byte_reader reader = {.bytes = file->bytes, .size = file->size};
    struct arena arena = {0};
    struct pickle_storages storages = {0};
    struct storage_source source = {.locate = locate, .context = file};
    const struct pickle_value *root;
    unet_error error;
    if (pickle_load(&reader, &arena, &storages, &root, &error) == UNET_OK)
        state_dict_extract(root, &source, file->size, tensors, &error);
    pickle_storages_clear(&storages);
    arena_clear(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct file_map file = {.bytes = data, .size = size};
    struct tensor_set tensors = {0};
    unet_error error;
    if (model_reader_pth_zip.probe(&file)) {
        model_reader_pth_zip.read(&file, &tensors, &error);
    } else {
        if (model_reader_pth_legacy.probe(&file))
            model_reader_pth_legacy.read(&file, &tensors, &error);
        tensor_set_clear(&tensors);
        read_pickle(&file, &tensors);
    }
    tensor_set_clear(&tensors);
    return 0;
}
