/* Files in and out: mapped for reading, written whole or not at all. */
#ifndef UNET_BASE_FILE_H
#define UNET_BASE_FILE_H

#include "base/error.h"

/* A file in memory, read-only. */
struct file_map {
    const uint8_t *bytes;
    size_t size;
    void *mapping; /* NULL if the bytes are allocated: pipes and empty files cannot be mapped */
};

/* Maps a regular file, or reads anything else whole (up to `limit` bytes; 0: 16 GiB). `status` is
 * what a failure returns: MODEL for models and engines, INPUT for images. The message names the
 * path and what to do. */
unet_status file_map_open(const char *path, size_t limit, unet_status on_failure,
                          struct file_map *map, unet_error *error);

/* The same, but always read into memory: a mapped file that another program cuts short while it is
 * used kills the process, which is no way to treat a folder of images. */
unet_status file_map_read(const char *path, size_t limit, unet_status on_failure,
                          struct file_map *map, unet_error *error);
void file_map_close(struct file_map *map);

/* A reader over bytes that never reads past their end: a failing read returns false and leaves the
 * position. Little-endian. */
struct byte_reader {
    const uint8_t *bytes;
    size_t size, position;
};

bool read_u8(struct byte_reader *reader, uint8_t *value);
bool read_u16(struct byte_reader *reader, uint16_t *value);
bool read_u32(struct byte_reader *reader, uint32_t *value);
bool read_u64(struct byte_reader *reader, uint64_t *value);
/* Points into the reader's bytes. */
bool read_bytes(struct byte_reader *reader, size_t count, const uint8_t **bytes);

/* Writes PATH through a temporary beside it that is synced and renamed at commit; without a commit
 * nothing of it stays. */
struct file_writer {
    char *path, *temporary;
    int descriptor;
    uint64_t written;
    uint8_t *buffer; /* small writes are gathered */
    size_t buffered;
};

/* Creates missing folders if `make_folders`. All return OUTPUT with path and reason. */
unet_status file_writer_open(struct file_writer *writer, const char *path, bool make_folders,
                             unet_error *error);
unet_status file_writer_write(struct file_writer *writer, const void *bytes, size_t count,
                              unet_error *error);
unet_status file_writer_commit(struct file_writer *writer, unet_error *error);
/* Removes the temporary if it was not committed; always safe. */
void file_writer_close(struct file_writer *writer);

/* open, write, commit, close. */
unet_status file_write_whole(const char *path, const void *bytes, size_t count, unet_error *error);

#endif
