#include "build/timing_cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/file.h"

#define HEAD_COMMON "unet timing cache "
#define HEAD        HEAD_COMMON "1"
#define FIELDS      7
#define MOST_BYTES  ((size_t)16 << 20)

/* Eleven days: no kernel takes longer, and sums of such numbers stay far from any limit. */
#define MOST_DIGITS 15

/* ---------------------------------------------------------------- the table */

static int compare(const struct timing *timing, const char *key, const char *kernel)
{
    int order = strcmp(timing->key, key);
    return order != 0 ? order : strcmp(timing->kernel, kernel);
}

/* Where it is, or where it belongs. */
static int position_of(const struct timing_cache *cache, const char *key, const char *kernel)
{
    int low = 0, high = cache->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (compare(&cache->timings[middle], key, kernel) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct timing *find(const struct timing_cache *cache, const char *key, const char *kernel)
{
    int at = position_of(cache, key, kernel);
    if (at == cache->count || compare(&cache->timings[at], key, kernel) != 0)
        return NULL;
    return &cache->timings[at];
}

int64_t timing_cache_find(const struct timing_cache *cache, const char *key, const char *kernel)
{
    const struct timing *timing = find(cache, key, kernel);
    return timing != NULL ? timing->nanoseconds : 0;
}

static unet_status make_room(struct timing_cache *cache, unet_error *error)
{
    if (cache->count < cache->capacity)
        return UNET_OK;
    int capacity = cache->capacity == 0 ? 64 : 2 * cache->capacity;
    size_t bytes = (size_t)capacity * sizeof *cache->timings;
    struct timing *grown = memory_realloc(cache->timings, bytes);
    if (grown == NULL)
        return error_memory(error, bytes, "a timing cache");
    cache->timings = grown;
    cache->capacity = capacity;
    return UNET_OK;
}

/* At the end, out of order. */
static unet_status append(struct timing_cache *cache, const struct timing *timing,
                          size_t key_length, size_t kernel_length, unet_error *error)
{
    TRY(make_room(cache, error));
    struct timing *added = &cache->timings[cache->count];
    *added = *timing;
    added->key = arena_strndup(&cache->arena, timing->key, key_length);
    added->kernel = arena_strndup(&cache->arena, timing->kernel, kernel_length);
    if (added->key == NULL || added->kernel == NULL)
        return error_memory(error, key_length + kernel_length, "a timing cache");
    cache->count++;
    return UNET_OK;
}

unet_status timing_cache_put(struct timing_cache *cache, const char *key, const char *kernel,
                             int64_t nanoseconds, unet_error *error)
{
    struct timing *known = find(cache, key, kernel);
    if (known != NULL) {
        known->nanoseconds = nanoseconds;
        known->measured = true;
        return UNET_OK;
    }
    int at = position_of(cache, key, kernel);
    const struct timing timing = {key, kernel, nanoseconds, true, 0};
    TRY(append(cache, &timing, strlen(key), strlen(kernel), error));
    struct timing added = cache->timings[cache->count - 1];
    memmove(&cache->timings[at + 1], &cache->timings[at],
            (size_t)(cache->count - 1 - at) * sizeof added);
    cache->timings[at] = added;
    return UNET_OK;
}

void timing_cache_clear(struct timing_cache *cache)
{
    arena_clear(&cache->arena);
    memory_free(cache->timings);
    *cache = (struct timing_cache){0};
}

/* ---------------------------------------------------------------- reading */

/* A line's end, or NULL: every line has one, or the file was cut off. */
static const char *line_end(const char *text, const char *end)
{
    return memchr(text, '\n', (size_t)(end - text));
}

/* Printable ASCII or the bytes of UTF-8: what this file's writer writes. */
static bool is_text(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return bytes > 0;
}

static bool read_nanoseconds(const char *digits, size_t count, int64_t *value)
{
    if (count == 0 || count > MOST_DIGITS || digits[0] == '0')
        return false;
    *value = 0;
    for (size_t i = 0; i < count; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        *value = 10 * *value + (digits[i] - '0');
    }
    return true;
}

/* Returns what is wrong with the line; NULL: nothing is. */
static const char *split_line(const char *line, const char *end, const char *fields[FIELDS])
{
    int count = 0;
    fields[count++] = line;
    for (const char *at = line; at <= end; at++) {
        bool last = at == end;
        if (!last && *at != '\t')
            continue;
        if (!is_text(fields[count - 1], (size_t)(at - fields[count - 1])))
            return "a field is empty or no text";
        if (last != (count == FIELDS))
            return "it has not seven fields";
        if (!last)
            fields[count++] = at + 1;
    }
    return NULL;
}

static unet_status read_line(struct timing_cache *cache, const char *line, const char *end,
                             int number, unet_error *error)
{
    const char *fields[FIELDS];
    struct timing timing = {.line = number};
    const char *problem = split_line(line, end, fields);
    if (problem == NULL && !read_nanoseconds(fields[FIELDS - 1], (size_t)(end - fields[FIELDS - 1]),
                                             &timing.nanoseconds))
        problem = "its time is no whole number of nanoseconds above 0";
    if (problem != NULL)
        return error_set(error, UNET_ERROR_MODEL,
                         "line %d is broken: %s; delete the file, it is made anew", number,
                         problem);
    timing.key = fields[0];
    timing.kernel = fields[FIELDS - 2];
    return append(cache, &timing, (size_t)(timing.kernel - 1 - timing.key),
                  (size_t)(fields[FIELDS - 1] - 1 - timing.kernel), error);
}

static int by_key(const void *left, const void *right)
{
    const struct timing *a = left, *b = right;
    int order = compare(a, b->key, b->kernel);
    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

/* Two times for one thing: nobody could say which of them a build would follow. */
static unet_status sort_lines(struct timing_cache *cache, unet_error *error)
{
    if (cache->count > 1)
        qsort(cache->timings, (size_t)cache->count, sizeof *cache->timings, by_key);
    for (int i = 1; i < cache->count; i++) {
        const struct timing *first = &cache->timings[i - 1], *second = &cache->timings[i];
        if (compare(first, second->key, second->kernel) == 0)
            return error_set(error, UNET_ERROR_MODEL,
                             "line %d times what line %d does; delete one of them", second->line,
                             first->line);
    }
    return UNET_OK;
}

static unet_status read_head(const char *text, const char *end, unet_error *error)
{
    const size_t length = sizeof HEAD - 1, common = sizeof HEAD_COMMON - 1;
    const char *stop = line_end(text, end);
    if (stop != NULL && (size_t)(stop - text) == length && memcmp(text, HEAD, length) == 0)
        return UNET_OK;
    if (stop != NULL && (size_t)(stop - text) > common && memcmp(text, HEAD_COMMON, common) == 0)
        return error_set(error, UNET_ERROR_MODEL,
                         "is a timing cache of another version of libunet; name another file");
    return error_set(error, UNET_ERROR_MODEL,
                     "is no timing cache: its first line is not '" HEAD "'; name another file");
}

unet_status timing_cache_parse(struct timing_cache *cache, const char *text, size_t bytes,
                               unet_error *error)
{
    if (bytes == 0)
        return UNET_OK;
    const char *end = text + bytes;
    TRY(read_head(text, end, error));
    int number = 1;
    for (const char *line = line_end(text, end) + 1; line < end; number++) {
        const char *stop = line_end(line, end);
        if (stop == NULL)
            return error_set(error, UNET_ERROR_MODEL,
                             "its last line is cut off; delete the file, it is made anew");
        TRY(read_line(cache, line, stop, number + 1, error));
        line = stop + 1;
    }
    return sort_lines(cache, error);
}

unet_status timing_cache_read(struct timing_cache *cache, const char *path, unet_error *error)
{
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return UNET_OK;
    struct file_map map;
    TRY(file_map_read(path, MOST_BYTES, UNET_ERROR_MODEL, &map, error));
    unet_status status = timing_cache_parse(cache, (const char *)map.bytes, map.size, error);
    file_map_close(&map);
    return status == UNET_ERROR_MODEL ? error_prefix(error, status, "%s", path) : status;
}

/* ---------------------------------------------------------------- writing */

unet_status timing_cache_probe(const char *path, unet_error *error)
{
    struct file_writer writer;
    TRY(file_writer_open(&writer, path, false, error));
    file_writer_close(&writer);
    return UNET_OK;
}

static unet_status write_timings(struct file_writer *writer, const struct timing_cache *cache,
                                 unet_error *error)
{
    TRY(file_writer_write(writer, HEAD "\n", sizeof HEAD, error));
    for (int i = 0; i < cache->count; i++) {
        const struct timing *timing = &cache->timings[i];
        char tail[32];
        int length = snprintf(tail, sizeof tail, "\t%lld\n", (long long)timing->nanoseconds);
        TRY(file_writer_write(writer, timing->key, strlen(timing->key), error));
        TRY(file_writer_write(writer, "\t", 1, error));
        TRY(file_writer_write(writer, timing->kernel, strlen(timing->kernel), error));
        TRY(file_writer_write(writer, tail, (size_t)length, error));
    }
    return file_writer_commit(writer, error);
}

static unet_status write_file(const struct timing_cache *cache, const char *path, unet_error *error)
{
    struct file_writer writer;
    TRY(file_writer_open(&writer, path, false, error));
    unet_status status = write_timings(&writer, cache, error);
    file_writer_close(&writer);
    return status;
}

static unet_status take_measured(struct timing_cache *into, const struct timing_cache *from,
                                 int *taken, unet_error *error)
{
    for (int i = 0; i < from->count; i++) {
        const struct timing *timing = &from->timings[i];
        if (!timing->measured)
            continue;
        TRY(timing_cache_put(into, timing->key, timing->kernel, timing->nanoseconds, error));
        (*taken)++;
    }
    return UNET_OK;
}

unet_status timing_cache_save(const struct timing_cache *cache, const char *path, unet_error *error)
{
    struct timing_cache merged = {0};
    int taken = 0;
    unet_status status = timing_cache_read(&merged, path, error);
    if (status == UNET_OK)
        status = take_measured(&merged, cache, &taken, error);
    if (status == UNET_OK && taken > 0)
        status = write_file(&merged, path, error);
    timing_cache_clear(&merged);
    return status;
}

/* ---------------------------------------------------------------- keys */

/* What the reader takes for a field. */
static void clean(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

unet_status timing_machine(int threads, char text[TIMING_MACHINE_BYTES], unet_error *error)
{
    unet_machine_info machine = {.size = sizeof machine};
    TRY(unet_machine_get_info(&machine, error));
    clean(machine.cpu);
    snprintf(text, TIMING_MACHINE_BYTES, "%s\t%s%s%s\t%d\t%s\t", machine.cpu, machine.tier,
             machine.features[0] != '\0' ? " " : "", machine.features, threads, unet_version());
    return UNET_OK;
}

void timing_device(const struct kernel_target *target, char text[TIMING_MACHINE_BYTES])
{
    struct device_facts facts = *target->backend->facts(target->device);
    clean(facts.name);
    clean(facts.architecture);
    clean(facts.driver);
    clean(facts.runtime);
    clean(facts.libraries);
    snprintf(text, TIMING_MACHINE_BYTES, "%s\t%s %s driver %s runtime %s%s%s\t0\t%s\t", facts.name,
             target->backend->name, facts.architecture, facts.driver, facts.runtime,
             facts.libraries[0] != '\0' ? " " : "", facts.libraries, unet_version());
}
