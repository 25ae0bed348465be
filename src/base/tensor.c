#include "base/tensor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
    size_t size;
    const char *name;
} dtypes[] = {
    [UNET_F32] = {4, "float32"}, [UNET_F16] = {2, "float16"}, [UNET_BF16] = {2, "bfloat16"},
    [UNET_F64] = {8, "float64"}, [UNET_U8] = {1, "uint8"},    [UNET_I8] = {1, "int8"},
    [UNET_I16] = {2, "int16"},   [UNET_I32] = {4, "int32"},   [UNET_I64] = {8, "int64"},
    [UNET_BOOL] = {1, "bool"},
};

static bool is_dtype(unet_dtype dtype)
{
    return (size_t)dtype < sizeof dtypes / sizeof dtypes[0];
}

size_t unet_dtype_size(unet_dtype dtype)
{
    return is_dtype(dtype) ? dtypes[dtype].size : 0;
}

const char *unet_dtype_name(unet_dtype dtype)
{
    return is_dtype(dtype) ? dtypes[dtype].name : "unknown";
}

/* ---------------------------------------------------------------- sets */

static bool reserve_item(struct tensor_set *set)
{
    if (set->count < set->capacity)
        return true;
    size_t capacity = set->capacity == 0 ? 128 : set->capacity * 2;
    unet_tensor *items = memory_realloc(set->items, capacity * sizeof *items);
    if (items == NULL)
        return false;
    set->items = items;
    set->capacity = capacity;
    return true;
}

unet_status tensor_set_add(struct tensor_set *set, const unet_tensor *tensor, unet_error *error)
{
    size_t length = strlen(tensor->name), found;
    if (name_index_find(&set->names, tensor->name, length, &found))
        return error_set(error, UNET_ERROR_MODEL,
                         "holds a duplicate of '%s'; names must differ, so write the file anew",
                         tensor->name);
    char *name = arena_strndup(&set->arena, tensor->name, length);
    if (name == NULL || !reserve_item(set) ||
        !name_index_add(&set->names, name, length, set->count))
        return error_memory(error, sizeof *tensor + length, "a tensor's name");
    set->items[set->count] = *tensor;
    set->items[set->count].name = name;
    set->count++;
    return UNET_OK;
}

const unet_tensor *tensor_set_find(const struct tensor_set *set, const char *name)
{
    size_t at;
    return name_index_find(&set->names, name, strlen(name), &at) ? &set->items[at] : NULL;
}

void tensor_set_clear(struct tensor_set *set)
{
    name_index_clear(&set->names);
    memory_free(set->items);
    arena_clear(&set->arena);
    *set = (struct tensor_set){0};
}

/* ---------------------------------------------------------------- shapes */

bool tensor_count(const int64_t *shape, int rank, int64_t *count)
{
    int64_t product = 1;
    bool empty = false;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0)
            return false;
        if (shape[i] == 0)
            empty = true;
        else if (__builtin_mul_overflow(product, shape[i], &product))
            return false;
    }
    *count = empty ? 0 : product;
    return true;
}

char *tensor_shape_text(const int64_t *shape, int rank, char *text, size_t bytes)
{
    snprintf(text, bytes, "%s", rank == 0 ? "scalar" : "");
    size_t used = 0;
    for (int i = 0; i < rank && used < bytes; i++) {
        int wrote = snprintf(text + used, bytes - used, "%s%" PRId64, i > 0 ? "×" : "", shape[i]);
        used += (size_t)wrote;
    }
    return text;
}

/* ---------------------------------------------------------------- values */

static float float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float float_from_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half >> 15) << 31;
    uint32_t exponent = (half >> 10) & 31, mantissa = half & 1023;
    if (exponent == 0) { /* zero or subnormal: mantissa × 2⁻²⁴, exact in float32 */
        float magnitude = (float)mantissa * 0x1p-24f;
        return sign != 0 ? -magnitude : magnitude;
    }
    if (exponent == 31)
        return float_from_bits(sign | 0x7f800000u | mantissa << 13);
    return float_from_bits(sign | (exponent + 127 - 15) << 23 | mantissa << 13);
}

#define CONVERT(type, expression)                                                                  \
    for (size_t i = 0; i < n; i++) {                                                               \
        type value;                                                                                \
        memcpy(&value, from + i * sizeof value, sizeof value);                                     \
        out[i] = (expression);                                                                     \
    }                                                                                              \
    break

void tensor_to_float(const unet_tensor *tensor, size_t first, size_t n, float *out)
{
    const uint8_t *from = (const uint8_t *)tensor->data + first * unet_dtype_size(tensor->dtype);
    switch (tensor->dtype) {
    case UNET_F32:
        memcpy(out, from, n * sizeof *out);
        break;
    case UNET_F16:
        CONVERT(uint16_t, float_from_half(value));
    case UNET_BF16:
        CONVERT(uint16_t, float_from_bits((uint32_t)value << 16));
    case UNET_F64:
        CONVERT(double, (float)value);
    case UNET_U8:
        CONVERT(uint8_t, (float)value);
    case UNET_I8:
        CONVERT(int8_t, (float)value);
    case UNET_I16:
        CONVERT(int16_t, (float)value);
    case UNET_I32:
        CONVERT(int32_t, (float)value);
    case UNET_I64:
        CONVERT(int64_t, (float)(double)value);
    case UNET_BOOL:
        CONVERT(uint8_t, value != 0 ? 1.0f : 0.0f);
    }
}
