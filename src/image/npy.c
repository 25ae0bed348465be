/* .npy arrays in and out. */
#include "image/npy.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/tensor.h"

#include <string.h>

#define MOST_BYTES ((size_t)8 << 30)

/* `size` bytes the other way round. */
static void copy_value(uint8_t *to, const uint8_t *from, size_t size, bool swapped)
{
    for (size_t i = 0; swapped && i < size; i++)
        to[i] = from[size - 1 - i];
    if (!swapped)
        memcpy(to, from, size);
}

/* Copies in row-major order from a file whose first index runs fastest. */
static void copy_fortran(const struct npy_header *header, const uint8_t *from, size_t size,
                         int64_t count, uint8_t *to)
{
    int64_t index[UNET_MAX_RANK] = {0}, steps[UNET_MAX_RANK];
    int64_t step = 1, offset = 0;
    for (int axis = 0; axis < header->rank; axis++) {
        steps[axis] = step;
        step *= header->shape[axis];
    }
    for (int64_t i = 0; i < count; i++) {
        copy_value(to + (size_t)i * size, from + (size_t)offset * size, size, header->swapped);
        for (int axis = header->rank - 1; axis >= 0; axis--) {
            offset += steps[axis];
            if (++index[axis] < header->shape[axis])
                break;
            offset -= steps[axis] * header->shape[axis];
            index[axis] = 0;
        }
    }
}

static void copy_values(const struct npy_header *header, const uint8_t *from, size_t size,
                        int64_t count, uint8_t *to)
{
    if (header->fortran && header->rank > 1) {
        copy_fortran(header, from, size, count, to);
    } else if (header->swapped) {
        for (size_t i = 0; i < (size_t)count; i++)
            copy_value(to + i * size, from + i * size, size, true);
    } else {
        memcpy(to, from, (size_t)count * size);
    }
}

static unet_status check_length(const struct npy_header *header, size_t held, int64_t *count,
                                unet_error *error)
{
    size_t size = unet_dtype_size(header->dtype), wanted;
    if (!tensor_count(header->shape, header->rank, count) ||
        __builtin_mul_overflow((size_t)*count, size, &wanted))
        return error_set(error, UNET_ERROR_INPUT, "damaged .npy: its shape is impossible");
    if (held != wanted)
        return error_set(error, UNET_ERROR_INPUT,
                         "damaged or incomplete .npy: %zu bytes of data where its header promises "
                         "%zu: write it anew",
                         held, wanted);
    return UNET_OK;
}

unet_status npy_decode(const uint8_t *bytes, size_t size, unet_array *array, unet_error *error)
{
    struct npy_header header;
    int64_t count;
    TRY(npy_parse_header(bytes, size, &header, error));
    TRY(check_length(&header, size - header.data_offset, &count, error));
    size_t value_size = unet_dtype_size(header.dtype);
    uint8_t *data = memory_alloc_array((size_t)count, value_size);
    if (data == NULL)
        return error_memory(error, (size_t)count * value_size, "an array");
    copy_values(&header, bytes + header.data_offset, value_size, count, data);
    *array = (unet_array){.dtype = header.dtype, .rank = header.rank, .data = data};
    memcpy(array->shape, header.shape, sizeof header.shape);
    return UNET_OK;
}

unet_status unet_array_load(const char *path, unet_array *array, unet_error *error)
{
    struct file_map map;
    TRY(file_map_read(path, MOST_BYTES, UNET_ERROR_INPUT, &map, error));
    unet_status status = npy_decode(map.bytes, map.size, array, error);
    file_map_close(&map);
    return status == UNET_OK ? UNET_OK : error_prefix(error, status, "%s", path);
}

static unet_status check_array(const unet_array *array, int64_t *count, unet_error *error)
{
    if (array == NULL || array->data == NULL || array->rank < 0 || array->rank > UNET_MAX_RANK ||
        !tensor_count(array->shape, array->rank, count))
        return error_set(error, UNET_ERROR_USAGE,
                         "an array without data or with an impossible shape: fill it first");
    return UNET_OK;
}

static unet_status write_array(struct file_writer *writer, const unet_array *array, int64_t count,
                               unet_error *error)
{
    char header[NPY_HEADER_MAX];
    size_t length = npy_write_header(array->dtype, array->rank, array->shape, header);
    if (length == 0)
        return error_set(error, UNET_ERROR_USAGE, "%s: .npy has no %s: convert it to float32",
                         writer->path, unet_dtype_name(array->dtype));
    TRY(file_writer_write(writer, header, length, error));
    TRY(file_writer_write(writer, array->data, (size_t)count * unet_dtype_size(array->dtype),
                          error));
    return file_writer_commit(writer, error);
}

unet_status unet_array_save(const char *path, const unet_array *array, unet_error *error)
{
    int64_t count;
    struct file_writer writer;
    TRY(check_array(array, &count, error));
    TRY(file_writer_open(&writer, path, true, error));
    unet_status status = write_array(&writer, array, count, error);
    file_writer_close(&writer);
    return status;
}

void unet_array_clear(unet_array *array)
{
    if (array == NULL)
        return;
    memory_free(array->data);
    *array = (unet_array){0};
}
