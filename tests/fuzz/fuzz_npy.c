/* Any bytes as a .npy array: it is read or refused with one line, and what is read can be written
 * and read again. */
#include <unet.h>

#include <stdlib.h>
#include <string.h>

#include "image/npy.h"

static void check_header(const unet_array *array)
{
    char text[NPY_HEADER_MAX];
    struct npy_header header;
    size_t length = npy_write_header(array->dtype, array->rank, array->shape, text);
    if (length == 0 || length % 64 != 0 ||
        npy_parse_header((const uint8_t *)text, length, &header, NULL) != UNET_OK ||
        header.dtype != array->dtype || header.rank != array->rank ||
        header.data_offset != length ||
        memcmp(header.shape, array->shape, (size_t)array->rank * sizeof array->shape[0]) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unet_array array = {0};
    unet_error error = {0};
    unet_status status = npy_decode(data, size, &array, &error);
    if (status == UNET_OK) {
        size_t bytes = unet_dtype_size(array.dtype);
        for (int i = 0; i < array.rank; i++)
            bytes *= (size_t)array.shape[i];
        uint8_t sum = 0;
        for (size_t i = 0; i < bytes; i++)
            sum ^= ((const uint8_t *)array.data)[i];
        volatile uint8_t sink = sum;
        (void)sink;
        check_header(&array);
    } else if (status != UNET_ERROR_INPUT && status != UNET_ERROR_MEMORY) {
        abort();
    } else if (error.message[0] == '\0' || strchr(error.message, '\n') != NULL) {
        abort();
    }
    unet_array_clear(&array);
    return 0;
}
