/* Parses and writes the header: a magic, a version, a length, and a Python dict of three keys. The
 * parser knows just the grammar that such a dict can have. */
#include "image/npy.h"

#include <stdio.h>
#include <string.h>

#define MAGIC       "\x93NUMPY"
#define MAGIC_BYTES 6

/* numpy aligns the data to this. */
#define ALIGNMENT 64

/* A header is a line of less than 200 characters; files have been seen that lie. */
#define MAX_HEADER 65536

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NATIVE '<'
#define OTHER  '>'
#else
#define NATIVE '>'
#define OTHER  '<'
#endif

static const struct {
    const char *code;
    unet_dtype dtype;
} codes[] = {
    {"f4", UNET_F32}, {"f2", UNET_F16}, {"f8", UNET_F64}, {"u1", UNET_U8},   {"i1", UNET_I8},
    {"i2", UNET_I16}, {"i4", UNET_I32}, {"i8", UNET_I64}, {"b1", UNET_BOOL},
};

#define CODE_COUNT (sizeof codes / sizeof codes[0])

/* ---------------------------------------------------------------- parsing */

struct parser {
    const char *at, *end;
};

static void skip_blanks(struct parser *parser)
{
    while (parser->at < parser->end && (*parser->at == ' ' || *parser->at == '\n'))
        parser->at++;
}

static bool take(struct parser *parser, char wanted)
{
    skip_blanks(parser);
    if (parser->at == parser->end || *parser->at != wanted)
        return false;
    parser->at++;
    return true;
}

static bool take_word(struct parser *parser, const char *word)
{
    size_t length = strlen(word);
    skip_blanks(parser);
    if ((size_t)(parser->end - parser->at) < length || memcmp(parser->at, word, length) != 0)
        return false;
    parser->at += length;
    return true;
}

/* A string in either quotes, without escapes. */
static bool take_string(struct parser *parser, char *text, size_t bytes)
{
    char quote = take(parser, '\'') ? '\'' : '"';
    if (quote == '"' && !take(parser, '"'))
        return false;
    size_t length = 0;
    while (parser->at < parser->end && *parser->at != quote) {
        if (length + 1 == bytes || *parser->at == '\\')
            return false;
        text[length++] = *parser->at++;
    }
    text[length] = '\0';
    return take(parser, quote);
}

static bool take_integer(struct parser *parser, int64_t *value)
{
    skip_blanks(parser);
    const char *start = parser->at;
    *value = 0;
    for (; parser->at < parser->end && *parser->at >= '0' && *parser->at <= '9'; parser->at++) {
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, *parser->at - '0', value))
            return false;
    }
    bool any = parser->at > start;
    if (any && parser->at < parser->end && *parser->at == 'L')
        parser->at++; /* Python 2 wrote long integers so */
    return any;
}

static unet_status parse_shape(struct parser *parser, struct npy_header *header, unet_error *error)
{
    bool open = take(parser, '('), comma = true;
    header->rank = 0;
    while (open && !take(parser, ')')) {
        if (header->rank == UNET_MAX_RANK)
            return error_set(error, UNET_ERROR_INPUT,
                             "the array has more than %d dimensions: reshape it", UNET_MAX_RANK);
        open = comma && take_integer(parser, &header->shape[header->rank]);
        comma = take(parser, ',');
        header->rank++;
    }
    /* (5) is no tuple but a number in brackets. */
    if (!open || (header->rank == 1 && !comma))
        return error_set(error, UNET_ERROR_INPUT, "damaged .npy: the shape in its header");
    return UNET_OK;
}

static unet_status parse_descr(struct parser *parser, struct npy_header *header, unet_error *error)
{
    char text[16];
    if (!take_string(parser, text, sizeof text))
        return error_set(error, UNET_ERROR_INPUT,
                         "the array has no plain number type: save it as float32 or uint8");
    bool ordered = strlen(text) == 3 && strchr("<>|=", text[0]) != NULL;
    for (size_t i = 0; ordered && i < CODE_COUNT; i++) {
        bool single = codes[i].code[1] == '1'; /* one byte has no order */
        if (strcmp(text + 1, codes[i].code) != 0 || (text[0] == '|' && !single))
            continue;
        header->dtype = codes[i].dtype;
        header->swapped = text[0] == OTHER && !single;
        return UNET_OK;
    }
    return error_set(error, UNET_ERROR_INPUT,
                     "arrays of type '%s' are not read: save it as float32 or uint8", text);
}

static unet_status parse_order(struct parser *parser, struct npy_header *header, unet_error *error)
{
    header->fortran = take_word(parser, "True");
    if (!header->fortran && !take_word(parser, "False"))
        return error_set(error, UNET_ERROR_INPUT, "damaged .npy: the order in its header");
    return UNET_OK;
}

/* The three keys, in any order, each once. */
static unet_status parse_dict(struct parser *parser, struct npy_header *header, unet_error *error)
{
    static const struct {
        const char *key;
        unet_status (*parse)(struct parser *, struct npy_header *, unet_error *);
    } entries[] = {{"descr", parse_descr}, {"fortran_order", parse_order}, {"shape", parse_shape}};
    unsigned seen = 0;
    bool ok = take(parser, '{');
    while (ok && !take(parser, '}')) {
        char key[16];
        ok = take_string(parser, key, sizeof key) && take(parser, ':');
        size_t entry = 0;
        while (ok && entry < 3 && strcmp(key, entries[entry].key) != 0)
            entry++;
        if (!ok || entry == 3 || (seen & 1u << entry))
            break;
        seen |= 1u << entry;
        TRY(entries[entry].parse(parser, header, error));
        bool comma = take(parser, ',');
        ok = comma || (parser->at < parser->end && *parser->at == '}');
    }
    skip_blanks(parser);
    if (!ok || seen != 7 || parser->at != parser->end)
        return error_set(error, UNET_ERROR_INPUT,
                         "damaged .npy: its header is not the three entries that numpy writes");
    return UNET_OK;
}

unet_status npy_parse_header(const uint8_t *bytes, size_t size, struct npy_header *header,
                             unet_error *error)
{
    if (size < MAGIC_BYTES + 2 || memcmp(bytes, MAGIC, MAGIC_BYTES) != 0)
        return error_set(error, UNET_ERROR_INPUT,
                         "not a .npy array: save one with numpy.save and give its path");
    int version = bytes[MAGIC_BYTES];
    if (version < 1 || version > 3)
        return error_set(error, UNET_ERROR_INPUT,
                         ".npy of version %d, where 1 to 3 are read: save it with numpy.save",
                         version);
    size_t length_bytes = version == 1 ? 2 : 4, start = MAGIC_BYTES + 2 + length_bytes;
    size_t length = 0;
    for (size_t i = 0; i < length_bytes && start <= size; i++)
        length |= (size_t)bytes[MAGIC_BYTES + 2 + i] << (8 * i);
    if (start > size || length > MAX_HEADER || length > size - start)
        return error_set(error, UNET_ERROR_INPUT, "damaged .npy: its header is cut short");
    struct parser parser = {.at = (const char *)bytes + start,
                            .end = (const char *)bytes + start + length};
    *header = (struct npy_header){.data_offset = start + length};
    return parse_dict(&parser, header, error);
}

/* ---------------------------------------------------------------- writing */

static const char *code_of(unet_dtype dtype)
{
    for (size_t i = 0; i < CODE_COUNT; i++) {
        if (codes[i].dtype == dtype)
            return codes[i].code;
    }
    return NULL;
}

static void append_shape(int rank, const int64_t *shape, char *text, size_t bytes)
{
    size_t used = strlen(text);
    for (int i = 0; i < rank; i++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%lld", i > 0 ? ", " : "",
                                 (long long)shape[i]);
    snprintf(text + used, bytes - used, "%s), }", rank == 1 ? "," : "");
}

size_t npy_write_header(unet_dtype dtype, int rank, const int64_t *shape, char text[NPY_HEADER_MAX])
{
    const char *code = code_of(dtype);
    if (code == NULL)
        return 0;
    char dict[NPY_HEADER_MAX - ALIGNMENT];
    snprintf(dict, sizeof dict, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
             code[1] == '1' ? '|' : NATIVE, code);
    append_shape(rank, shape, dict, sizeof dict);
    size_t fixed = MAGIC_BYTES + 4, used = strlen(dict);
    size_t total = (fixed + used + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    memcpy(text, MAGIC "\x01\x00", MAGIC_BYTES + 2);
    text[MAGIC_BYTES + 2] = (char)((total - fixed) & 0xff);
    text[MAGIC_BYTES + 3] = (char)((total - fixed) >> 8);
    memcpy(text + fixed, dict, used);
    memset(text + fixed + used, ' ', total - fixed - used);
    text[total - 1] = '\n';
    return total;
}
