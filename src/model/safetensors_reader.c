#include "model/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "model/mask_values.h"
#include "model/model.h"

/* About 100 bytes a tensor are usual. JSON values take many times their text in memory, so a
 * hostile header must not be large. */
#define MAX_HEADER ((uint64_t)16 << 20)

struct range {
    uint64_t begin, end;
};

struct safetensors {
    const uint8_t *data; /* behind the header */
    uint64_t size;
    json_t *header;
    struct range *ranges;
    size_t range_count;
    struct tensor_set *tensors;
};

/* '[' begins no good header, but is worth a better message than "not a model". */
static bool probe(const struct file_map *file)
{
    static const uint8_t high_bytes[4] = {0}; /* of a header's length */
    return file->size >= 9 &&
           (file->bytes[8] == '{' ||
            (file->bytes[8] == '[' && memcmp(file->bytes + 4, high_bytes, 4) == 0));
}

static unet_status wrong(unet_error *error, const char *what)
{
    return error_set(error, UNET_ERROR_MODEL, "%s; the file is damaged, copy or save it again",
                     what);
}

/* ---------------------------------------------------------------- header */

static unet_status open_header(struct safetensors *file, const struct file_map *map,
                               unet_error *error)
{
    struct byte_reader reader = {.bytes = map->bytes, .size = map->size};
    uint64_t length;
    const uint8_t *text;
    if (!read_u64(&reader, &length) || length > map->size - reader.position)
        return error_set(error, UNET_ERROR_MODEL,
                         "its header ends beyond the file: it is truncated or no .safetensors, "
                         "copy or save it again");
    if (length > MAX_HEADER)
        return wrong(error, "its header has more than 16 MiB");
    read_bytes(&reader, (size_t)length, &text);
    json_error_t reason;
    file->header = json_loadb((const char *)text, (size_t)length, JSON_REJECT_DUPLICATES, &reason);
    if (file->header == NULL && json_error_code(&reason) == json_error_out_of_memory)
        return error_memory(error, (size_t)length, "a header");
    if (!json_is_object(file->header))
        return error_set(error, UNET_ERROR_MODEL,
                         "its header is no JSON object (%s at byte %d); copy or save it again",
                         file->header == NULL ? reason.text : "another value",
                         file->header == NULL ? reason.position + 8 : 8);
    file->data = map->bytes + reader.position;
    file->size = map->size - reader.position;
    return UNET_OK;
}

static bool read_size(const json_t *number, uint64_t *size)
{
    if (!json_is_integer(number) || json_integer_value(number) < 0)
        return false;
    *size = (uint64_t)json_integer_value(number);
    return true;
}

static unet_status read_dtype(const json_t *entry, unet_dtype *dtype, unet_error *error)
{
    const char *name = json_string_value(json_object_get(entry, "dtype"));
    if (name == NULL)
        return wrong(error, "its dtype is missing");
    if (!safetensors_dtype_from_name(name, dtype))
        return error_set(error, UNET_ERROR_MODEL,
                         "its dtype %.20s is not supported; convert it to F32 and save it again",
                         name);
    return UNET_OK;
}

static unet_status read_shape(const json_t *entry, unet_tensor *tensor, unet_error *error)
{
    const json_t *shape = json_object_get(entry, "shape");
    size_t rank = json_array_size(shape); /* 0 if it is no array */
    if (!json_is_array(shape) || rank > UNET_MAX_RANK)
        return wrong(error, "its shape is no array of at most 8 sides");
    for (size_t i = 0; i < rank; i++) {
        uint64_t side;
        if (!read_size(json_array_get(shape, i), &side))
            return wrong(error, "a side of its shape is no count");
        tensor->shape[i] = (int64_t)side;
    }
    tensor->rank = (int)rank;
    return UNET_OK;
}

static unet_status read_range(const struct safetensors *file, const json_t *entry,
                              struct range *range, unet_error *error)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    if (json_array_size(offsets) != 2 || !read_size(json_array_get(offsets, 0), &range->begin) ||
        !read_size(json_array_get(offsets, 1), &range->end) || range->begin > range->end)
        return wrong(error, "its data_offsets are no pair of rising counts");
    if (range->end > file->size)
        return error_set(error, UNET_ERROR_MODEL,
                         "its data_offsets end beyond the file, which is truncated; copy or save "
                         "it again");
    return UNET_OK;
}

/* ---------------------------------------------------------------- tensors */

static unet_status read_tensor(struct safetensors *file, const char *name, const json_t *entry,
                               unet_error *error)
{
    unet_tensor tensor = {.name = name};
    struct range range;
    int64_t count;
    uint64_t bytes;
    TRY(read_dtype(entry, &tensor.dtype, error));
    TRY(read_shape(entry, &tensor, error));
    TRY(read_range(file, entry, &range, error));
    if (!tensor_count(tensor.shape, tensor.rank, &count) ||
        __builtin_mul_overflow((uint64_t)count, unet_dtype_size(tensor.dtype), &bytes) ||
        bytes != range.end - range.begin)
        return wrong(error, "its shape does not fit its data_offsets");
    tensor.bytes = (size_t)bytes;
    uint8_t *data = arena_alloc(&file->tensors->arena, tensor.bytes);
    if (data == NULL)
        return error_memory(error, tensor.bytes, "a tensor");
    memcpy(data, file->data + range.begin, tensor.bytes);
    tensor.data = data;
    file->ranges[file->range_count++] = range;
    return tensor_set_add(file->tensors, &tensor, error);
}

static int by_begin(const void *a, const void *b)
{
    const struct range *left = a, *right = b;
    if (left->begin != right->begin)
        return left->begin < right->begin ? -1 : 1;
    return (left->end > right->end) - (left->end < right->end);
}

/* Tensors must lie one after another and fill the file: anything else hides bytes. */
static unet_status check_ranges(struct safetensors *file, unet_error *error)
{
    uint64_t end = 0;
    if (file->range_count > 0)
        qsort(file->ranges, file->range_count, sizeof *file->ranges, by_begin);
    for (size_t i = 0; i < file->range_count; i++) {
        if (file->ranges[i].begin != end)
            return wrong(error, file->ranges[i].begin < end
                                    ? "its tensors overlap"
                                    : "no data_offsets cover some of its bytes");
        end = file->ranges[i].end;
    }
    return end == file->size ? UNET_OK : wrong(error, "no data_offsets cover its last bytes");
}

/* Values are copied as they are checked, so overlaps must not multiply them: what all tensors
 * together take is compared with the file first. */
static unet_status check_total(const struct safetensors *file, unet_error *error)
{
    uint64_t total = 0;
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry)
    {
        struct range range;
        if (strcmp(name, SAFETENSORS_METADATA) == 0)
            continue;
        unet_status status = read_range(file, entry, &range, error);
        if (status != UNET_OK)
            return error_prefix(error, status, "tensor '%s'", name);
        total += range.end - range.begin;
        if (total > file->size)
            return wrong(error, "its tensors overlap");
    }
    return UNET_OK;
}

static unet_status read_tensors(struct safetensors *file, unet_error *error)
{
    size_t count = json_object_size(file->header);
    file->ranges = memory_alloc_array(count, sizeof *file->ranges);
    if (file->ranges == NULL)
        return error_memory(error, count * sizeof *file->ranges, "a header");
    TRY(check_total(file, error));
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry)
    { /* in the order of the text */
        if (strcmp(name, SAFETENSORS_METADATA) == 0)
            continue;
        unet_status status = read_tensor(file, name, entry, error);
        if (status != UNET_OK)
            return error_prefix(error, status, "tensor '%s'", name);
    }
    return check_ranges(file, error);
}

static unet_status read_metadata(const struct safetensors *file, unet_error *error)
{
    const json_t *metadata = json_object_get(file->header, SAFETENSORS_METADATA);
    const char *text = json_string_value(json_object_get(metadata, SAFETENSORS_MASK_VALUES));
    return text != NULL ? mask_values_from_json(text, file->tensors, error) : UNET_OK;
}

static unet_status read_safetensors(const struct file_map *map, struct tensor_set *tensors,
                                    unet_error *error)
{
    struct safetensors file = {.tensors = tensors};
    unet_status status;
    TRY_GOTO(open_header(&file, map, error), done);
    TRY_GOTO(read_tensors(&file, error), done);
    TRY_GOTO(read_metadata(&file, error), done);
done:
    json_decref(file.header);
    memory_free(file.ranges);
    return status;
}

const struct model_reader model_reader_safetensors = {
    .format = "safetensors", .probe = probe, .read = read_safetensors};
