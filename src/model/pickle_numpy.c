/* NumPy's scalars, which training loops keep beside a network (a best score, an epoch): a call of
 * scalar(dtype, bytes), where dtype is a call of numpy.dtype whose state is set by BUILD. Plain
 * numbers alone are taken; numpy/core/src/multiarray/descriptor.c writes that state. */
#include "model/pickle_machine.h"

#include <string.h>

struct pickle_number_type {
    const char *code;
    enum pickle_kind kind;
    size_t size;
    bool is_signed;
};

static const struct pickle_number_type number_types[] = {
    {"f2", PICKLE_FLOAT, 2, true}, {"f4", PICKLE_FLOAT, 4, true}, {"f8", PICKLE_FLOAT, 8, true},
    {"i1", PICKLE_INT, 1, true},   {"i2", PICKLE_INT, 2, true},   {"i4", PICKLE_INT, 4, true},
    {"i8", PICKLE_INT, 8, true},   {"u1", PICKLE_INT, 1, false},  {"u2", PICKLE_INT, 2, false},
    {"u4", PICKLE_INT, 4, false},  {"u8", PICKLE_INT, 8, false},  {"b1", PICKLE_BOOL, 1, false},
};

#define TYPE_COUNT (sizeof number_types / sizeof number_types[0])

static unet_status refuse(const struct pickle_machine *machine, const char *function,
                          unet_error *error)
{
    return error_set(error, UNET_ERROR_MODEL,
                     "its pickle calls %s (before byte %zu) for other than a plain little-endian "
                     "number; nothing was executed: save model.state_dict() alone with torch.save",
                     function, machine->reader->position - machine->start);
}

static bool is_integer(const struct pickle_value *value, int64_t expected)
{
    return value->kind == PICKLE_INT && value->integer == expected;
}

/* numpy.dtype(code, False, True); older ones say 0, 1. */
unet_status pickle_numpy_dtype(struct pickle_machine *machine,
                               const struct pickle_value *const *arguments, size_t count,
                               const struct pickle_value **result, unet_error *error)
{
    bool plain = count == 3 && (arguments[1] == &pickle_false || is_integer(arguments[1], 0)) &&
                 (arguments[2] == &pickle_true || is_integer(arguments[2], 1));
    for (size_t i = 0; plain && i < TYPE_COUNT; i++) {
        if (!pickle_is_string(arguments[0], number_types[i].code))
            continue;
        struct pickle_value *made = pickle_new(machine, PICKLE_NUMBER_TYPE);
        if (made == NULL)
            return pickle_no_memory(error);
        made->number_type = &number_types[i];
        *result = made;
        return UNET_OK;
    }
    return refuse(machine, "numpy.dtype", error);
}

/* (3, byte order, subarray, names, fields, item size, alignment, flags): all but the order are what
 * a plain number has. */
unet_status pickle_numpy_state(const struct pickle_machine *machine,
                               const struct pickle_value *state, unet_error *error)
{
    if (state->kind != PICKLE_TUPLE || state->list.count != 8)
        return refuse(machine, "numpy.dtype", error);
    const struct pickle_value *const *items = state->list.items;
    bool plain = is_integer(items[0], 3) &&
                 (pickle_is_string(items[1], "<") || pickle_is_string(items[1], "|")) &&
                 is_integer(items[5], -1) && is_integer(items[6], -1) && is_integer(items[7], 0);
    for (int i = 2; i <= 4; i++)
        plain = plain && items[i]->kind == PICKLE_NONE;
    return plain ? UNET_OK : refuse(machine, "numpy.dtype", error);
}

static double read_real(const uint8_t *bytes, size_t size)
{
    const unet_tensor half = {.dtype = UNET_F16, .data = bytes, .bytes = 2};
    float single;
    double real;
    if (size == sizeof real) {
        memcpy(&real, bytes, sizeof real);
        return real;
    }
    if (size == sizeof single)
        memcpy(&single, bytes, sizeof single);
    else
        tensor_to_float(&half, 0, 1, &single);
    return single;
}

static uint64_t read_integer(const uint8_t *bytes, const struct pickle_number_type *type)
{
    bool negative = type->is_signed && bytes[type->size - 1] >= 0x80;
    uint64_t bits = negative ? UINT64_MAX : 0;
    for (size_t i = type->size; i-- > 0;)
        bits = bits << 8 | bytes[i];
    return bits;
}

static struct pickle_value read_scalar(const struct pickle_value *held,
                                       const struct pickle_number_type *type)
{
    const uint8_t *bytes = (const uint8_t *)held->text.bytes;
    struct pickle_value value = {.kind = type->kind};
    if (type->kind == PICKLE_FLOAT) {
        value.real = read_real(bytes, type->size);
        return value;
    }
    uint64_t bits = read_integer(bytes, type);
    if (!type->is_signed && bits > INT64_MAX)
        return *held; /* as the machine keeps all integers that are too long */
    value.integer = (int64_t)bits;
    return value;
}

unet_status pickle_numpy_scalar(struct pickle_machine *machine,
                                const struct pickle_value *const *arguments, size_t count,
                                const struct pickle_value **result, unet_error *error)
{
    if (count != 2 || arguments[0]->kind != PICKLE_NUMBER_TYPE ||
        arguments[1]->kind != PICKLE_BYTES ||
        arguments[1]->text.length != arguments[0]->number_type->size)
        return refuse(machine, "numpy.core.multiarray.scalar", error);
    const struct pickle_number_type *type = arguments[0]->number_type;
    if (type->kind == PICKLE_BOOL) {
        *result = arguments[1]->text.bytes[0] != 0 ? &pickle_true : &pickle_false;
        return UNET_OK;
    }
    struct pickle_value *made = pickle_new(machine, type->kind);
    if (made == NULL)
        return pickle_no_memory(error);
    *made = read_scalar(arguments[1], type);
    *result = made;
    return UNET_OK;
}

/* UTF-8 of characters below 256 → their bytes; 0 where others are in it. */
static size_t decode_latin1(const char *text, size_t length, char *bytes)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned lead = (unsigned char)text[i];
        if (lead >= 0x80) {
            if ((lead & 0xfe) != 0xc2 || ++i == length || ((unsigned char)text[i] & 0xc0) != 0x80)
                return 0;
            lead = (lead & 3) << 6 | ((unsigned char)text[i] & 0x3f);
        }
        bytes[count++] = (char)lead;
    }
    return count;
}

/* _codecs.encode(text, 'latin1') is how protocol 2 writes bytes. Those of a number are kept; longer
 * ones are of no use, and a text that is encoded again and again would take memory. */
unet_status pickle_encode(struct pickle_machine *machine,
                          const struct pickle_value *const *arguments, size_t count,
                          const struct pickle_value **result, unet_error *error)
{
    *result = &pickle_opaque;
    if (count != 2 || arguments[0]->kind != PICKLE_STRING || arguments[0]->text.length > 16 ||
        !pickle_is_string(arguments[1], "latin1"))
        return UNET_OK;
    char bytes[16];
    size_t length = decode_latin1(arguments[0]->text.bytes, arguments[0]->text.length, bytes);
    if (length == 0)
        return UNET_OK;
    struct pickle_value *made = pickle_new(machine, PICKLE_BYTES);
    char *kept = arena_strndup(machine->arena, bytes, length);
    if (made == NULL || kept == NULL)
        return pickle_no_memory(error);
    made->text.bytes = kept;
    made->text.length = length;
    *result = made;
    return UNET_OK;
}
