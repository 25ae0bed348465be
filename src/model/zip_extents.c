/* Record layouts: PKWARE's APPNOTE.TXT, 4.3.7 to 4.3.16 and 4.5.3. */
#include "model/zip_extents.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define END_BYTES     22
#define LOCATOR_BYTES 20
#define MAX_COMMENT   65535
#define IN_ZIP64      0xffffffffu /* the true value is in a 64-bit record */
#define DESCRIPTOR    0x0008      /* sizes follow the data; the local header may have none */

static const uint8_t end_signature[] = {'P', 'K', 5, 6}, locator_signature[] = {'P', 'K', 6, 7},
                     end64_signature[] = {'P', 'K', 6, 6}, central_signature[] = {'P', 'K', 1, 2},
                     local_signature[] = {'P', 'K', 3, 4};

struct central {
    const uint8_t *name;
    uint16_t name_length, method;
    uint32_t stored;
    uint64_t header;
};

static unet_status damaged(unet_error *error, const char *what)
{
    return error_set(error, UNET_ERROR_MODEL, "is a damaged zip archive: %s; copy or save it again",
                     what);
}

static bool has_signature(struct byte_reader *reader, const uint8_t *signature)
{
    const uint8_t *bytes;
    return read_bytes(reader, 4, &bytes) && memcmp(bytes, signature, 4) == 0;
}

static bool skip(struct byte_reader *reader, size_t count)
{
    const uint8_t *bytes;
    return read_bytes(reader, count, &bytes);
}

/* A reader that stands at `position`; at the end if that is beyond it. */
static struct byte_reader reader_at(const struct file_map *file, uint64_t position)
{
    size_t at = position < file->size ? (size_t)position : file->size;
    return (struct byte_reader){.bytes = file->bytes, .size = file->size, .position = at};
}

/* ---------------------------------------------------------------- the directory */

/* The end record is last but for a comment that reaches to the end of the file. */
static bool find_end(const struct file_map *file, size_t *position)
{
    for (size_t tail = END_BYTES; tail <= END_BYTES + MAX_COMMENT && tail <= file->size; tail++) {
        const uint8_t *record = file->bytes + file->size - tail;
        size_t comment = record[20] | (size_t)record[21] << 8;
        if (memcmp(record, end_signature, 4) == 0 && comment == tail - END_BYTES) {
            *position = file->size - tail;
            return true;
        }
    }
    return false;
}

static bool read_end64(const struct file_map *file, size_t end, uint64_t *directory)
{
    if (end < LOCATOR_BYTES)
        return false;
    struct byte_reader locator = reader_at(file, end - LOCATOR_BYTES);
    uint64_t position;
    if (!has_signature(&locator, locator_signature) || !skip(&locator, 4) ||
        !read_u64(&locator, &position))
        return false;
    struct byte_reader record = reader_at(file, position);
    return has_signature(&record, end64_signature) && skip(&record, 44) &&
           read_u64(&record, directory);
}

static bool find_directory(const struct file_map *file, uint64_t *directory)
{
    size_t end;
    if (!find_end(file, &end))
        return false;
    struct byte_reader reader = reader_at(file, end + 16);
    uint32_t offset;
    if (!read_u32(&reader, &offset))
        return false;
    *directory = offset;
    return offset != IN_ZIP64 || read_end64(file, end, directory);
}

/* The local header's offset where the 32-bit field has no room: the zip64 field holds those of
 * (size, stored size, offset) whose own fields are full, in this order. */
static bool read_header64(const uint8_t *extra, size_t length, size_t before, uint64_t *header)
{
    struct byte_reader fields = {.bytes = extra, .size = length};
    uint16_t id, size;
    while (read_u16(&fields, &id) && read_u16(&fields, &size)) {
        const uint8_t *content;
        if (!read_bytes(&fields, size, &content))
            return false;
        struct byte_reader field = {.bytes = content, .size = size};
        if (id == 1)
            return skip(&field, 8 * before) && read_u64(&field, header);
    }
    return false;
}

static bool read_central(struct byte_reader *reader, struct central *entry)
{
    uint16_t extra_length, comment_length;
    uint32_t size, header;
    const uint8_t *extra;
    if (!has_signature(reader, central_signature) || !skip(reader, 6) ||
        !read_u16(reader, &entry->method) || !skip(reader, 8) ||
        !read_u32(reader, &entry->stored) || !read_u32(reader, &size) ||
        !read_u16(reader, &entry->name_length) || !read_u16(reader, &extra_length) ||
        !read_u16(reader, &comment_length) || !skip(reader, 8) || !read_u32(reader, &header) ||
        !read_bytes(reader, entry->name_length, &entry->name) ||
        !read_bytes(reader, extra_length, &extra) || !skip(reader, comment_length))
        return false;
    entry->header = header;
    size_t before = (size_t)(size == IN_ZIP64) + (size_t)(entry->stored == IN_ZIP64);
    return header != IN_ZIP64 || read_header64(extra, extra_length, before, &entry->header);
}

/* ---------------------------------------------------------------- the entries */

struct local {
    const uint8_t *name;
    uint16_t flags, method, name_length;
    uint32_t stored;
    uint64_t data;
};

static bool read_local(const struct file_map *file, uint64_t header, struct local *local)
{
    struct byte_reader reader = reader_at(file, header);
    uint16_t extra_length;
    bool whole = has_signature(&reader, local_signature) && skip(&reader, 2) &&
                 read_u16(&reader, &local->flags) && read_u16(&reader, &local->method) &&
                 skip(&reader, 8) && read_u32(&reader, &local->stored) && skip(&reader, 4) &&
                 read_u16(&reader, &local->name_length) && read_u16(&reader, &extra_length) &&
                 read_bytes(&reader, local->name_length, &local->name) &&
                 skip(&reader, extra_length);
    local->data = reader.position;
    return whole;
}

/* NULL, or how the local header contradicts the directory. */
static const char *contradiction(const struct central *entry, const struct local *local,
                                 uint64_t stored_size)
{
    bool told =
        local->stored != IN_ZIP64 && ((local->flags & DESCRIPTOR) == 0 || local->stored != 0);
    if (local->name_length != entry->name_length ||
        memcmp(local->name, entry->name, entry->name_length) != 0)
        return "an entry's name differs from the directory's";
    if (local->method != entry->method || (told && local->stored != stored_size))
        return "an entry's size or method differs from the directory's";
    return NULL;
}

static int by_header(const void *a, const void *b)
{
    uint64_t left = ((const struct zip_extent *)a)->header;
    uint64_t right = ((const struct zip_extent *)b)->header;
    return (left > right) - (left < right);
}

static unet_status check_apart(const struct zip_extent *extents, size_t count, unet_error *error)
{
    struct zip_extent *sorted = memory_alloc_array(count, sizeof *sorted);
    if (sorted == NULL)
        return error_memory(error, count * sizeof *sorted, "a zip directory");
    bool apart = true;
    if (count > 0) {
        memcpy(sorted, extents, count * sizeof *sorted);
        qsort(sorted, count, sizeof *sorted, by_header);
    }
    for (size_t i = 1; i < count; i++)
        apart = apart && sorted[i - 1].end <= sorted[i].header;
    memory_free(sorted);
    return apart ? UNET_OK : damaged(error, "its entries overlap");
}

unet_status zip_find_extents(const struct file_map *file, const uint64_t *stored_sizes,
                             size_t count, struct zip_extent *extents, unet_error *error)
{
    uint64_t directory;
    const char *wrong = NULL;
    if (!find_directory(file, &directory))
        return damaged(error, "its directory cannot be found");
    struct byte_reader reader = reader_at(file, directory);
    for (size_t i = 0; i < count; i++) {
        struct central entry;
        struct local local;
        if (!read_central(&reader, &entry))
            return damaged(error, "its directory ends early");
        if (!read_local(file, entry.header, &local))
            return damaged(error, "its directory points to where no entry is");
        if (local.data > directory || stored_sizes[i] > directory - local.data)
            return damaged(error, "an entry's size reaches beyond the entries");
        extents[i] = (struct zip_extent){
            .header = entry.header, .data = local.data, .end = local.data + stored_sizes[i]};
        if (wrong == NULL)
            wrong = contradiction(&entry, &local, stored_sizes[i]);
    }
    TRY(check_apart(extents, count, error)); /* the better message where both are wrong */
    return wrong == NULL ? UNET_OK : damaged(error, wrong);
}
