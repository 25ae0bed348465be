/* libFuzzer: the .safetensors reader. */
#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct file_map file = {.bytes = data, .size = size};
    struct tensor_set tensors = {0};
    unet_error error;
    model_reader_safetensors.probe(&file);
    model_reader_safetensors.read(&file, &tensors, &error);
    tensor_set_clear(&tensors);
    return 0;
}
