#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

#define DEFAULT_LIMIT ((size_t)16 << 30)
#define BUFFER_SIZE   ((size_t)256 << 10)
#define SUFFIX_BYTES  40 /* ".PID-SERIAL.part" */

/* ---------------------------------------------------------------- reading */

/* Until the end: the size that fstat gives is a hint, for pipes have none and files may change. */
static unet_status read_descriptor(int descriptor, size_t hint, size_t limit,
                                   unet_status on_failure, struct file_map *map, unet_error *error)
{
    size_t capacity = 0, size = 0;
    uint8_t *bytes = NULL;
    for (;;) {
        if (size == capacity) {
            capacity = capacity == 0 ? hint + 1 : capacity * 2;
            uint8_t *grown = memory_realloc(bytes, capacity);
            if (grown == NULL) {
                memory_free(bytes);
                return error_memory(error, capacity, "reading a file");
            }
            bytes = grown;
        }
        ssize_t got = read(descriptor, bytes + size, capacity - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 || size + (size_t)got > limit) {
            int reason = got < 0 ? errno : EFBIG;
            memory_free(bytes);
            return error_set(error, on_failure, "cannot be read: %s", strerror(reason));
        }
        if (got == 0)
            break;
        size += (size_t)got;
    }
    *map = (struct file_map){.bytes = bytes, .size = size};
    return UNET_OK;
}

static unet_status map_descriptor(int descriptor, size_t size, unet_status on_failure,
                                  struct file_map *map, unet_error *error)
{
    void *mapping = mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (mapping == MAP_FAILED && errno == ENOMEM)
        return error_memory(error, size, "mapping a file");
    if (mapping == MAP_FAILED)
        return error_set(error, on_failure, "cannot be mapped: %s", strerror(errno));
    *map = (struct file_map){.bytes = mapping, .size = size, .mapping = mapping};
    return UNET_OK;
}

static unet_status take_descriptor(int descriptor, bool may_map, size_t limit,
                                   unet_status on_failure, struct file_map *map, unet_error *error)
{
    struct stat about;
    if (fstat(descriptor, &about) != 0)
        return error_set(error, on_failure, "cannot be read: %s", strerror(errno));
    if (S_ISDIR(about.st_mode))
        return error_set(error, on_failure, "is a folder; name a file in it");
    bool regular = S_ISREG(about.st_mode) && about.st_size > 0;
    if (regular && (uint64_t)about.st_size > limit)
        return error_set(error, on_failure, "has %lld bytes; at most %zu are read",
                         (long long)about.st_size, limit);
    if (regular && may_map)
        return map_descriptor(descriptor, (size_t)about.st_size, on_failure, map, error);
    size_t hint = regular ? (size_t)about.st_size : BUFFER_SIZE;
    return read_descriptor(descriptor, hint, limit, on_failure, map, error);
}

static unet_status open_and_take(const char *path, bool may_map, size_t limit,
                                 unet_status on_failure, struct file_map *map, unet_error *error)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return error_set(error, on_failure, "%s: cannot be opened: %s", path, strerror(errno));
    unet_status status = take_descriptor(descriptor, may_map, limit == 0 ? DEFAULT_LIMIT : limit,
                                         on_failure, map, error);
    close(descriptor);
    return status == UNET_OK ? UNET_OK : error_prefix(error, status, "%s", path);
}

unet_status file_map_open(const char *path, size_t limit, unet_status on_failure,
                          struct file_map *map, unet_error *error)
{
    return open_and_take(path, true, limit, on_failure, map, error);
}

unet_status file_map_read(const char *path, size_t limit, unet_status on_failure,
                          struct file_map *map, unet_error *error)
{
    return open_and_take(path, false, limit, on_failure, map, error);
}

void file_map_close(struct file_map *map)
{
    if (map->mapping != NULL)
        munmap(map->mapping, map->size);
    else
        memory_free((void *)map->bytes);
    *map = (struct file_map){0};
}

bool read_bytes(struct byte_reader *reader, size_t count, const uint8_t **bytes)
{
    if (count > reader->size - reader->position)
        return false;
    *bytes = reader->bytes + reader->position;
    reader->position += count;
    return true;
}

static bool read_little_endian(struct byte_reader *reader, size_t count, uint64_t *value)
{
    const uint8_t *bytes;
    if (!read_bytes(reader, count, &bytes))
        return false;
    *value = 0;
    for (size_t i = 0; i < count; i++)
        *value |= (uint64_t)bytes[i] << (8 * i);
    return true;
}

bool read_u8(struct byte_reader *reader, uint8_t *value)
{
    uint64_t wide;
    bool ok = read_little_endian(reader, 1, &wide);
    if (ok)
        *value = (uint8_t)wide;
    return ok;
}

bool read_u16(struct byte_reader *reader, uint16_t *value)
{
    uint64_t wide;
    bool ok = read_little_endian(reader, 2, &wide);
    if (ok)
        *value = (uint16_t)wide;
    return ok;
}

bool read_u32(struct byte_reader *reader, uint32_t *value)
{
    uint64_t wide;
    bool ok = read_little_endian(reader, 4, &wide);
    if (ok)
        *value = (uint32_t)wide;
    return ok;
}

bool read_u64(struct byte_reader *reader, uint64_t *value)
{
    return read_little_endian(reader, 8, value);
}

/* ---------------------------------------------------------------- writing */

static const char *advice(int reason)
{
    switch (reason) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return "; make room or write elsewhere";
    case EACCES:
    case EPERM:
    case EROFS:
        return "; write elsewhere or change the permissions";
    case ENOENT:
        return "; make its folder first";
    case EISDIR:
        return "; name a file";
    case ENOTDIR:
        return "; a part of this path is a file, write elsewhere";
    default:
        return "";
    }
}

static unet_status output_error(const struct file_writer *writer, const char *what, int reason,
                                unet_error *error)
{
    return error_set(error, UNET_ERROR_OUTPUT, "%s: %s: %s%s", writer->path, what, strerror(reason),
                     advice(reason));
}

/* Makes every missing folder above the last '/' of `path`, which is changed and restored. */
static int make_parents(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int failed = mkdir(path, 0777) != 0 && errno != EEXIST ? errno : 0;
        *slash = '/';
        if (failed != 0)
            return failed;
    }
    return 0;
}

static unet_status allocate_writer(struct file_writer *writer, const char *path, unet_error *error)
{
    size_t length = strlen(path);
    writer->path = memory_strdup(path);
    writer->temporary = memory_alloc(length + SUFFIX_BYTES);
    writer->buffer = memory_alloc(BUFFER_SIZE);
    if (writer->path == NULL || writer->temporary == NULL || writer->buffer == NULL)
        return error_memory(error, BUFFER_SIZE, "writing a file");
    return UNET_OK;
}

/* Not mkstemp: its files have mode 0600, and the umask can only be read by changing it. */
static unet_status create_temporary(struct file_writer *writer, unet_error *error)
{
    static atomic_uint serial;
    do {
        snprintf(writer->temporary, strlen(writer->path) + SUFFIX_BYTES, "%s.%lx-%x.part",
                 writer->path, (unsigned long)getpid(), atomic_fetch_add(&serial, 1));
        writer->descriptor = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (writer->descriptor < 0 && errno == EEXIST);
    if (writer->descriptor < 0)
        return output_error(writer, "cannot be written", errno, error);
    return UNET_OK;
}

/* A rename puts a plain file in the place of whatever was there, and root may do so to a device. */
static unet_status check_replaceable(const struct file_writer *writer, unet_error *error)
{
    struct stat about;
    if (stat(writer->path, &about) != 0 || S_ISREG(about.st_mode))
        return UNET_OK;
    if (S_ISDIR(about.st_mode))
        return output_error(writer, "cannot be written", EISDIR, error);
    return error_set(error, UNET_ERROR_OUTPUT,
                     "%s: is no plain file, so it cannot be replaced; name a file", writer->path);
}

/* The file behind a symbolic link is replaced, not the link. A dangling one is replaced itself. */
static unet_status follow_link(struct file_writer *writer, unet_error *error)
{
    char target[PATH_MAX];
    struct stat about;
    if (lstat(writer->path, &about) != 0 || !S_ISLNK(about.st_mode) ||
        realpath(writer->path, target) == NULL)
        return UNET_OK;
    struct file_writer linked = {.descriptor = -1};
    unet_status status = allocate_writer(&linked, target, error);
    if (status == UNET_OK) {
        file_writer_close(writer);
        *writer = linked;
    } else {
        file_writer_close(&linked);
    }
    return status;
}

static unet_status open_temporary(struct file_writer *writer, bool make_folders, unet_error *error)
{
    TRY(check_replaceable(writer, error));
    TRY(follow_link(writer, error));
    int reason = make_folders ? make_parents(writer->path) : 0;
    if (reason != 0)
        return output_error(writer, "its folder cannot be made", reason, error);
    return create_temporary(writer, error);
}

unet_status file_writer_open(struct file_writer *writer, const char *path, bool make_folders,
                             unet_error *error)
{
    *writer = (struct file_writer){.descriptor = -1};
    unet_status status = allocate_writer(writer, path, error);
    if (status == UNET_OK)
        status = open_temporary(writer, make_folders, error);
    if (status != UNET_OK)
        file_writer_close(writer);
    return status;
}

static unet_status write_all(struct file_writer *writer, const uint8_t *bytes, size_t count,
                             unet_error *error)
{
    while (count > 0) {
        ssize_t done = write(writer->descriptor, bytes, count);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return output_error(writer, "cannot be written", errno, error);
        bytes += done;
        count -= (size_t)done;
    }
    return UNET_OK;
}

static unet_status flush(struct file_writer *writer, unet_error *error)
{
    size_t count = writer->buffered;
    writer->buffered = 0;
    return write_all(writer, writer->buffer, count, error);
}

unet_status file_writer_write(struct file_writer *writer, const void *bytes, size_t count,
                              unet_error *error)
{
    writer->written += count;
    if (count > BUFFER_SIZE - writer->buffered)
        TRY(flush(writer, error));
    if (count >= BUFFER_SIZE)
        return write_all(writer, bytes, count, error);
    memcpy(writer->buffer + writer->buffered, bytes, count);
    writer->buffered += count;
    return UNET_OK;
}

unet_status file_writer_commit(struct file_writer *writer, unet_error *error)
{
    TRY(flush(writer, error));
    if (fsync(writer->descriptor) != 0 && errno != EINVAL)
        return output_error(writer, "cannot be synced to the disk", errno, error);
    int descriptor = writer->descriptor;
    writer->descriptor = -1;
    int reason = close(descriptor) != 0 ? errno : 0;
    if (reason == 0 && rename(writer->temporary, writer->path) != 0)
        reason = errno;
    if (reason != 0) {
        unlink(writer->temporary);
        return output_error(writer, "cannot be written", reason, error);
    }
    return UNET_OK;
}

void file_writer_close(struct file_writer *writer)
{
    if (writer->descriptor >= 0) {
        close(writer->descriptor);
        unlink(writer->temporary);
    }
    memory_free(writer->path);
    memory_free(writer->temporary);
    memory_free(writer->buffer);
    *writer = (struct file_writer){.descriptor = -1};
}

unet_status file_write_whole(const char *path, const void *bytes, size_t count, unet_error *error)
{
    struct file_writer writer;
    TRY(file_writer_open(&writer, path, false, error));
    unet_status status = file_writer_write(&writer, bytes, count, error);
    if (status == UNET_OK)
        status = file_writer_commit(&writer, error);
    file_writer_close(&writer);
    return status;
}
