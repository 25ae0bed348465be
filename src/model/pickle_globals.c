/* The allow-list: the functions that a pickle may call and the types that it may name. What
 * torch.save writes for a state_dict is all here; of what training loops keep beside it, the
 * harmless rest is recognised and dropped (opaque). */
#include "model/pickle_machine.h"

#include <string.h>

/* collections.OrderedDict(): empty, or (from Python 2) a list of pairs. */
static unet_status make_dict(struct pickle_machine *machine,
                             const struct pickle_value *const *arguments, size_t count,
                             const struct pickle_value **result, unet_error *error)
{
    struct pickle_value *dict = pickle_new(machine, PICKLE_DICT);
    if (dict == NULL)
        return pickle_no_memory(error);
    *result = dict;
    if (count == 0)
        return UNET_OK;
    if (count > 1 || arguments[0]->kind != PICKLE_LIST)
        return pickle_malformed(machine, error, "an OrderedDict is made of no list");
    for (uint32_t i = 0; i < arguments[0]->list.count; i++) {
        const struct pickle_value *pair = arguments[0]->list.items[i];
        if ((pair->kind != PICKLE_LIST && pair->kind != PICKLE_TUPLE) || pair->list.count != 2)
            return pickle_malformed(machine, error, "an OrderedDict is made of no pairs");
        TRY(pickle_append(machine, dict, pair->list.items, 2, error));
    }
    return UNET_OK;
}

/* torch.Size((…)) is a tuple. */
static unet_status make_size(struct pickle_machine *machine,
                             const struct pickle_value *const *arguments, size_t count,
                             const struct pickle_value **result, unet_error *error)
{
    if (count != 1 || arguments[0]->kind != PICKLE_TUPLE)
        return pickle_malformed(machine, error, "a torch.Size is made of no tuple");
    *result = arguments[0];
    return UNET_OK;
}

static unet_status make_opaque(struct pickle_machine *machine,
                               const struct pickle_value *const *arguments, size_t count,
                               const struct pickle_value **result, unet_error *error)
{
    (void)machine;
    (void)arguments;
    (void)count;
    (void)error;
    *result = &pickle_opaque;
    return UNET_OK;
}

#define CALL(module, name, function)                                                               \
    {                                                                                              \
        module, name, function, false, false, -1, 0                                                \
    }
#define STORAGE(name, dtype, size)                                                                 \
    {                                                                                              \
        "torch", name, NULL, true, false, dtype, size                                              \
    }
#define DTYPE(name, dtype, size)                                                                   \
    {                                                                                              \
        "torch", name, NULL, false, true, dtype, size                                              \
    }
/* A type of numbers, by the name of its storage and by that of its dtype. */
#define NUMBERS(storage, name, dtype, size) STORAGE(storage, dtype, size), DTYPE(name, dtype, size)

static const struct pickle_global globals[] = {
    CALL("torch._utils", "_rebuild_tensor_v2", pickle_rebuild_tensor),
    CALL("torch._utils", "_rebuild_tensor", pickle_rebuild_tensor), /* before 0.4 */
    CALL("torch._utils", "_rebuild_tensor_v3", pickle_rebuild_tensor_v3),
    CALL("torch._utils", "_rebuild_parameter", pickle_rebuild_parameter),
    CALL("torch._utils", "_rebuild_parameter_with_state", pickle_rebuild_parameter),
    CALL("collections", "OrderedDict", make_dict),
    CALL("torch", "Size", make_size),

    NUMBERS("FloatStorage", "float32", UNET_F32, 4),
    NUMBERS("HalfStorage", "float16", UNET_F16, 2),
    NUMBERS("BFloat16Storage", "bfloat16", UNET_BF16, 2),
    NUMBERS("DoubleStorage", "float64", UNET_F64, 8),
    NUMBERS("ByteStorage", "uint8", UNET_U8, 1),
    NUMBERS("CharStorage", "int8", UNET_I8, 1),
    NUMBERS("ShortStorage", "int16", UNET_I16, 2),
    NUMBERS("IntStorage", "int32", UNET_I32, 4),
    NUMBERS("LongStorage", "int64", UNET_I64, 8),
    NUMBERS("BoolStorage", "bool", UNET_BOOL, 1),
    NUMBERS("ComplexFloatStorage", "complex64", -1, 8),
    NUMBERS("ComplexDoubleStorage", "complex128", -1, 16),

    STORAGE("QInt8Storage", -1, 1),
    STORAGE("QUInt8Storage", -1, 1),
    STORAGE("QInt32Storage", -1, 4),
    STORAGE("UntypedStorage", -1, 1),
    {"torch.storage", "UntypedStorage", NULL, true, false, -1, 1},
    DTYPE("uint16", -1, 2),
    DTYPE("uint32", -1, 4),
    DTYPE("uint64", -1, 8),
    DTYPE("float8_e4m3fn", -1, 1),
    DTYPE("float8_e5m2", -1, 1),
    DTYPE("float8_e4m3fnuz", -1, 1),
    DTYPE("float8_e5m2fnuz", -1, 1),
    DTYPE("float8_e8m0fnu", -1, 1),

    CALL("numpy", "dtype", pickle_numpy_dtype),
    CALL("numpy._core.multiarray", "scalar", pickle_numpy_scalar),
    CALL("numpy.core.multiarray", "scalar", pickle_numpy_scalar), /* before NumPy 2 */
    CALL("_codecs", "encode", pickle_encode),                     /* bytes, in protocol 2 */

    CALL("collections", "Counter", make_opaque), /* of learning-rate schedules */
    CALL("torch", "device", make_opaque),
    CALL("__builtin__", "set", make_opaque),
    CALL("__builtin__", "frozenset", make_opaque),
    CALL("__builtin__", "complex", make_opaque),
    CALL("__builtin__", "bytearray", make_opaque),
    CALL("builtins", "set", make_opaque),
    CALL("builtins", "frozenset", make_opaque),
    CALL("builtins", "complex", make_opaque),
    CALL("builtins", "bytearray", make_opaque),
};

static bool equals(const char *text, size_t length, const char *expected)
{
    return strlen(expected) == length && memcmp(text, expected, length) == 0;
}

const struct pickle_global *pickle_find_global(const char *module, size_t module_length,
                                               const char *name, size_t name_length)
{
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++)
        if (equals(module, module_length, globals[i].module) &&
            equals(name, name_length, globals[i].name))
            return &globals[i];
    return NULL;
}

int pickle_type_dtype(const struct pickle_global *type)
{
    return type->dtype;
}

const char *pickle_type_name(const struct pickle_global *type)
{
    return type->name;
}

size_t pickle_type_size(const struct pickle_global *type)
{
    return type->size;
}
