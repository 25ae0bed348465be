/* .wts: the entry count, then for each entry its name, its number of values and each value as the
 * eight hexadecimal digits of its big-endian float32; any white space between. */
#include <inttypes.h>
#include <string.h>

#include "model/model.h"

#define DIGITS 8
/* A value takes a space and its digits; this bounds what a false count can make us allocate. */
#define VALUE_BYTES (DIGITS + 1)
#define MAX_NAME    1024
#define PROBE_BYTES 64

struct cursor {
    const uint8_t *bytes;
    size_t size, at;
};

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_space(struct cursor *cursor)
{
    while (cursor->at < cursor->size && is_space(cursor->bytes[cursor->at]))
        cursor->at++;
}

/* Where the word at the cursor ends. */
static size_t word_end(const struct cursor *cursor)
{
    size_t end = cursor->at;
    while (end < cursor->size && !is_space(cursor->bytes[end]))
        end++;
    return end;
}

/* True if the first word is a number: cheap, and no other format begins so. */
static bool probe(const struct file_map *file)
{
    struct cursor cursor = {.bytes = file->bytes, .size = file->size};
    if (cursor.size > PROBE_BYTES)
        cursor.size = PROBE_BYTES;
    skip_space(&cursor);
    size_t end = word_end(&cursor);
    for (size_t i = cursor.at; i < end; i++)
        if (cursor.bytes[i] < '0' || cursor.bytes[i] > '9')
            return false;
    return end > cursor.at;
}

/* ---------------------------------------------------------------- words */

/* Lines are counted only when a message needs the number. */
static size_t line_number(const struct cursor *cursor)
{
    size_t line = 1;
    for (size_t i = 0; i < cursor->at; i++)
        line += cursor->bytes[i] == '\n';
    return line;
}

static unet_status unexpected(const struct cursor *cursor, const char *expected, const char *where,
                              unet_error *error)
{
    const char *separator = where[0] != '\0' ? " of " : "";
    size_t length = word_end(cursor) - cursor->at;
    if (length == 0)
        return error_set(error, UNET_ERROR_MODEL,
                         "ends in line %zu where %s%s%s is due; the file is truncated, copy or "
                         "convert it again",
                         line_number(cursor), expected, separator, where);
    return error_set(error, UNET_ERROR_MODEL,
                     "line %zu: '%.*s' is not %s%s%s; the file is damaged, copy or convert it "
                     "again",
                     line_number(cursor), (int)(length < 40 ? length : 40),
                     (const char *)cursor->bytes + cursor->at, expected, separator, where);
}

static unet_status read_count(struct cursor *cursor, const char *expected, const char *where,
                              uint64_t *count, unet_error *error)
{
    skip_space(cursor);
    size_t end = word_end(cursor);
    *count = 0;
    if (end == cursor->at)
        return unexpected(cursor, expected, where, error);
    for (size_t i = cursor->at; i < end; i++) {
        uint64_t digit = (uint64_t)cursor->bytes[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(*count, 10, count) ||
            __builtin_add_overflow(*count, digit, count))
            return unexpected(cursor, expected, where, error);
    }
    cursor->at = end;
    return UNET_OK;
}

static unet_status read_name(struct cursor *cursor, char *name, unet_error *error)
{
    skip_space(cursor);
    size_t length = word_end(cursor) - cursor->at;
    const uint8_t *bytes = cursor->bytes + cursor->at;
    if (length == 0 || length >= MAX_NAME || memchr(bytes, '\0', length) != NULL)
        return unexpected(cursor, "the name", "an entry", error);
    memcpy(name, bytes, length);
    name[length] = '\0';
    cursor->at += length;
    return UNET_OK;
}

/* ---------------------------------------------------------------- values */

/* The value of a digit; −1, whose sign bit survives any OR, for another character. */
static const int8_t *digit_table(void)
{
#define ROW     -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1
#define LETTERS -1, 10, 11, 12, 13, 14, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1
    static const int8_t table[256] = {
        ROW, ROW, ROW, 0,       1,   2,       3,   4,   5,   6,   7,   8,   9,   -1,  -1,  -1,
        -1,  -1,  -1,  LETTERS, ROW, LETTERS, ROW, ROW, ROW, ROW, ROW, ROW, ROW, ROW, ROW,
    };
#undef ROW
#undef LETTERS
    return table;
}

static bool read_value(struct cursor *cursor, const int8_t *digits, float *value)
{
    skip_space(cursor);
    if (cursor->size - cursor->at < DIGITS)
        return false;
    const uint8_t *text = cursor->bytes + cursor->at;
    uint32_t bits = 0;
    int seen = 0;
    for (int i = 0; i < DIGITS; i++) {
        int digit = digits[text[i]];
        seen |= digit;
        bits = bits << 4 | ((uint32_t)digit & 15);
    }
    if (seen < 0 || (cursor->size - cursor->at > DIGITS && !is_space(text[DIGITS])))
        return false;
    cursor->at += DIGITS;
    memcpy(value, &bits, sizeof *value);
    return true;
}

static unet_status read_tensor(struct cursor *cursor, struct tensor_set *tensors, unet_error *error)
{
    char name[MAX_NAME];
    uint64_t count;
    TRY(read_name(cursor, name, error));
    TRY(read_count(cursor, "the number of values", name, &count, error));
    if (count > (cursor->size - cursor->at + DIGITS) / VALUE_BYTES) /* the last may be cut off */
        return error_set(error, UNET_ERROR_MODEL,
                         "line %zu: %s is said to have %" PRIu64 " values, more than the file can "
                         "hold; it is truncated, copy or convert it again",
                         line_number(cursor), name, count);
    size_t bytes = (size_t)count * sizeof(float);
    float *values = arena_alloc(&tensors->arena, bytes);
    if (values == NULL)
        return error_memory(error, bytes, "a tensor");
    const int8_t *digits = digit_table();
    for (uint64_t i = 0; i < count; i++)
        if (!read_value(cursor, digits, &values[i]))
            return unexpected(cursor, "a value of eight hexadecimal digits", name, error);
    unet_tensor tensor = {.name = name,
                          .dtype = UNET_F32,
                          .rank = 1,
                          .shape = {(int64_t)count},
                          .data = values,
                          .bytes = bytes};
    return tensor_set_add(tensors, &tensor, error);
}

static unet_status read_wts(const struct file_map *file, struct tensor_set *tensors,
                            unet_error *error)
{
    struct cursor cursor = {.bytes = file->bytes, .size = file->size};
    uint64_t count;
    TRY(read_count(&cursor, "the number of entries", "", &count, error));
    for (uint64_t i = 0; i < count; i++)
        TRY(read_tensor(&cursor, tensors, error));
    skip_space(&cursor);
    if (cursor.at < cursor.size)
        return error_set(error, UNET_ERROR_MODEL,
                         "line %zu: more follows after the last entry: line 1 counts %" PRIu64
                         "; convert the model again",
                         line_number(&cursor), count);
    return UNET_OK;
}

const struct model_reader model_reader_wts = {.format = "wts", .probe = probe, .read = read_wts};
