#include "model/mask_values.h"

#include <jansson.h>

static unet_status reserve(struct tensor_set *tensors, size_t count, int channels,
                           unet_error *error)
{
    tensors->mask_values = arena_alloc_array(&tensors->arena, count, (size_t)channels);
    if (tensors->mask_values == NULL)
        return error_memory(error, count * (size_t)channels, "mask_values");
    tensors->mask_value_count = count;
    tensors->mask_value_channels = channels;
    return UNET_OK;
}

static void forget(struct tensor_set *tensors)
{
    tensors->mask_values = NULL;
    tensors->mask_value_count = 0;
    tensors->mask_value_channels = 0;
}

/* ---------------------------------------------------------------- pickle */

static bool is_sequence(const struct pickle_value *value)
{
    return value->kind == PICKLE_LIST || value->kind == PICKLE_TUPLE;
}

/* NumPy's unique values of a mask with one bit a pixel are False and True. */
static bool read_number(const struct pickle_value *value, uint8_t *out)
{
    if (value->kind == PICKLE_BOOL) {
        *out = value->truth;
        return true;
    }
    if (value->kind != PICKLE_INT || value->integer < 0 || value->integer > 255)
        return false;
    *out = (uint8_t)value->integer;
    return true;
}

/* A number, or a sequence of as many numbers as there are channels. */
static bool read_class(const struct pickle_value *value, int channels, uint8_t *out)
{
    bool nested = is_sequence(value);
    if (nested ? value->list.count != (uint32_t)channels : channels != 1)
        return false;
    for (int c = 0; c < channels; c++) {
        if (!read_number(nested ? value->list.items[c] : value, &out[c]))
            return false;
    }
    return true;
}

unet_status mask_values_from_pickle(const struct pickle_value *list, struct tensor_set *tensors,
                                    unet_error *error)
{
    if (list == NULL || !is_sequence(list) || list->list.count == 0)
        return UNET_OK;
    const struct pickle_value *first = list->list.items[0];
    int channels = is_sequence(first) && first->list.count == 3 ? 3 : 1;
    TRY(reserve(tensors, list->list.count, channels, error));
    for (uint32_t i = 0; i < list->list.count; i++) {
        if (read_class(list->list.items[i], channels, tensors->mask_values + i * (size_t)channels))
            continue;
        forget(tensors);
        break;
    }
    return UNET_OK;
}

/* ---------------------------------------------------------------- JSON */

static bool read_json_class(const json_t *value, int channels, uint8_t *out)
{
    bool nested = json_is_array(value);
    if (nested ? json_array_size(value) != (size_t)channels : channels != 1)
        return false;
    for (int c = 0; c < channels; c++) {
        const json_t *number = nested ? json_array_get(value, (size_t)c) : value;
        json_int_t integer = json_is_integer(number) ? json_integer_value(number) : -1;
        if (integer < 0 || integer > 255)
            return false;
        out[c] = (uint8_t)integer;
    }
    return true;
}

static unet_status read_json(const json_t *list, struct tensor_set *tensors, unet_error *error)
{
    size_t count = json_array_size(list); /* 0 if it is no array */
    if (count == 0)
        return UNET_OK;
    int channels = json_array_size(json_array_get(list, 0)) == 3 ? 3 : 1;
    TRY(reserve(tensors, count, channels, error));
    for (size_t i = 0; i < count; i++) {
        if (read_json_class(json_array_get(list, i), channels,
                            tensors->mask_values + i * (size_t)channels))
            continue;
        forget(tensors);
        break;
    }
    return UNET_OK;
}

unet_status mask_values_from_json(const char *text, struct tensor_set *tensors, unet_error *error)
{
    json_t *list = json_loads(text, 0, NULL);
    unet_status status = read_json(list, tensors, error);
    json_decref(list);
    return status;
}

static json_t *class_to_json(const uint8_t *values, int channels)
{
    if (channels == 1)
        return json_integer(values[0]);
    json_t *triple = json_array();
    for (int c = 0; c < channels; c++)
        if (json_array_append_new(triple, json_integer(values[c])) != 0) {
            json_decref(triple);
            return NULL;
        }
    return triple;
}

char *mask_values_to_json(const struct tensor_set *tensors)
{
    char *text = NULL;
    json_t *list = json_array();
    size_t channels = (size_t)tensors->mask_value_channels;
    for (size_t i = 0; i < tensors->mask_value_count; i++)
        if (json_array_append_new(
                list, class_to_json(tensors->mask_values + i * channels, (int)channels)) != 0)
            goto done;
    text = json_dumps(list, JSON_COMPACT);
done:
    json_decref(list);
    return text;
}
