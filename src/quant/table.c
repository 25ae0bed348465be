#include "quant/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

#define HEAD_START "TRT-"
#define VERSION    "7000"
#define CALIBRATOR "EntropyCalibration2"
#define MOST_BYTES ((size_t)64 << 20)
#define MOST_NAME  1000

/* ---------------------------------------------------------------- entries */

static struct quant_entry *find(const struct quant_table *table, const char *name, size_t length)
{
    size_t at;
    return name_index_find(&table->index, name, length, &at) ? &table->entries[at] : NULL;
}

bool quant_table_find(const struct quant_table *table, const char *name, float *value)
{
    const struct quant_entry *entry = find(table, name, strlen(name));
    if (entry != NULL)
        *value = entry->value;
    return entry != NULL;
}

static unet_status append(struct quant_table *table, const char *name, size_t length, float value,
                          int line, unet_error *error)
{
    if (table->count == table->capacity) {
        int capacity = table->capacity == 0 ? 256 : 2 * table->capacity;
        size_t bytes = (size_t)capacity * sizeof *table->entries;
        struct quant_entry *grown = memory_realloc(table->entries, bytes);
        if (grown == NULL)
            return error_memory(error, bytes, "a calibration table");
        table->entries = grown;
        table->capacity = capacity;
    }
    char *copy = arena_strndup(&table->arena, name, length);
    if (copy == NULL || !name_index_add(&table->index, copy, length, (size_t)table->count))
        return error_memory(error, length, "a calibration table");
    table->entries[table->count++] = (struct quant_entry){copy, value, line};
    return UNET_OK;
}

static bool is_name(const char *name, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return false;
    return length > 0 && length <= MOST_NAME;
}

unet_status quant_table_put(struct quant_table *table, const char *name, float value,
                            unet_error *error)
{
    size_t length = strlen(name);
    struct quant_entry *known = find(table, name, length);
    if (!is_name(name, length) || !isfinite(value))
        return error_set(error, UNET_ERROR_MODEL,
                         "%s: %g cannot stand in a calibration table under this name", name,
                         (double)value);
    if (known == NULL)
        return append(table, name, length, value, 0, error);
    known->value = value;
    return UNET_OK;
}

void quant_table_clear(struct quant_table *table)
{
    if (table == NULL)
        return;
    name_index_clear(&table->index);
    arena_clear(&table->arena);
    memory_free(table->entries);
    *table = (struct quant_table){0};
}

/* ---------------------------------------------------------------- reading */

static bool read_hex(const char *digits, size_t count, uint32_t *bits)
{
    *bits = 0;
    for (size_t i = 0; i < count; i++) {
        char c = digits[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return false;
        *bits = *bits << 4 | (uint32_t)digit;
    }
    return count > 0 && count <= 8;
}

/* The last ':', for names may hold others. */
static const char *find_colon(const char *line, const char *end)
{
    const char *at = end;
    while (at > line && *at != ':')
        at--;
    return at > line ? at : NULL;
}

/* What is wrong with the line; NULL: nothing. */
static const char *split_line(const char *line, const char *end, size_t *length, float *value)
{
    const char *colon = find_colon(line, end - 1);
    if (colon == NULL)
        return "it is not 'tensor: scale'";
    const char *digits = colon + 1;
    while (digits < end && *digits == ' ')
        digits++;
    uint32_t bits;
    if (!read_hex(digits, (size_t)(end - digits), &bits))
        return "its scale is not up to eight hexadecimal digits";
    memcpy(value, &bits, sizeof bits);
    *length = (size_t)(colon - line);
    if (!is_name(line, *length))
        return "its name is empty, too long or no text";
    bool own = *length >= strlen(QUANT_TABLE_OWN) &&
               memcmp(line, QUANT_TABLE_OWN, strlen(QUANT_TABLE_OWN)) == 0;
    if (!isfinite(*value))
        return "its scale is not finite";
    if (!own && !(*value > 0))
        return "its scale is not above 0";
    return !own && !isfinite(*value * 127) ? "its scale is beyond float32's range" : NULL;
}

static unet_status read_line(struct quant_table *table, const char *line, const char *end,
                             int number, unet_error *error)
{
    size_t length = 0;
    float value = 0;
    const char *problem = split_line(line, end, &length, &value);
    if (problem != NULL)
        return error_set(error, UNET_ERROR_MODEL,
                         "line %d is broken: %s ('%.*s'); delete the file and calibrate again",
                         number, problem, end - line < 80 ? (int)(end - line) : 80, line);
    const struct quant_entry *known = find(table, line, length);
    if (known != NULL)
        return error_set(error, UNET_ERROR_MODEL,
                         "line %d speaks of %s, as line %d does; delete one of them", number,
                         known->name, known->line);
    return append(table, line, length, value, number, error);
}

/* "TRT-VERSION-CALIBRATOR" */
static unet_status read_head(struct quant_table *table, const char *line, const char *end,
                             unet_error *error)
{
    size_t start = strlen(HEAD_START), length = (size_t)(end - line);
    const char *dash = NULL;
    if (length > start && memcmp(line, HEAD_START, start) == 0)
        dash = memchr(line + start, '-', length - start);
    if (dash == NULL || !is_name(dash + 1, (size_t)(end - dash - 1)))
        return error_set(error, UNET_ERROR_MODEL,
                         "is no calibration table: its first line is not "
                         "'" HEAD_START "VERSION-" CALIBRATOR "'; name another file");
    table->calibrator = arena_strndup(&table->arena, dash + 1, (size_t)(end - dash - 1));
    if (table->calibrator == NULL)
        return error_memory(error, (size_t)(end - dash), "a calibration table");
    return UNET_OK;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

unet_status quant_table_parse(struct quant_table *table, const char *text, size_t bytes,
                              unet_error *error)
{
    const char *end = text + bytes, *line = text;
    for (int number = 1; number == 1 || line < end; number++) {
        const char *stop = bytes > 0 ? memchr(line, '\n', (size_t)(end - line)) : NULL;
        const char *next = stop != NULL ? stop + 1 : end, *last = stop != NULL ? stop : end;
        while (last > line && is_blank(last[-1]))
            last--;
        if (number == 1)
            TRY(read_head(table, line, last, error));
        else if (last > line)
            TRY(read_line(table, line, last, number, error));
        line = next;
    }
    return UNET_OK;
}

unet_status quant_table_read(struct quant_table *table, const char *path, unet_error *error)
{
    struct file_map map;
    TRY(file_map_read(path, MOST_BYTES, UNET_ERROR_MODEL, &map, error));
    unet_status status = quant_table_parse(table, (const char *)map.bytes, map.size, error);
    file_map_close(&map);
    return status == UNET_ERROR_MODEL ? error_prefix(error, status, "%s", path) : status;
}

/* ---------------------------------------------------------------- writing */

static unet_status write_entries(struct file_writer *writer, const struct quant_table *table,
                                 unet_error *error)
{
    const char *calibrator = table->calibrator != NULL ? table->calibrator : CALIBRATOR;
    TRY(file_writer_write(writer, HEAD_START VERSION "-", strlen(HEAD_START VERSION "-"), error));
    TRY(file_writer_write(writer, calibrator, strlen(calibrator), error));
    TRY(file_writer_write(writer, "\n", 1, error));
    for (int i = 0; i < table->count; i++) {
        const struct quant_entry *entry = &table->entries[i];
        uint32_t bits;
        char tail[16];
        memcpy(&bits, &entry->value, sizeof bits);
        int length = snprintf(tail, sizeof tail, ": %08x\n", (unsigned)bits);
        TRY(file_writer_write(writer, entry->name, strlen(entry->name), error));
        TRY(file_writer_write(writer, tail, (size_t)length, error));
    }
    return file_writer_commit(writer, error);
}

unet_status quant_table_write(const struct quant_table *table, const char *path, unet_error *error)
{
    struct file_writer writer;
    TRY(file_writer_open(&writer, path, false, error));
    unet_status status = write_entries(&writer, table, error);
    file_writer_close(&writer);
    return status;
}
