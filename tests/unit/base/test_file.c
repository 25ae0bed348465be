/* base/file.c: mapping, bounded reading, and writing whole or not at all. */
#include "support/support.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

static int files_in(const char *folder)
{
    DIR *dir = opendir(folder);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void written_files_read_back(void **state)
{
    (void)state;
    enum { BYTES = 1000003 }; /* more than the writer's buffer */
    uint8_t *bytes = memory_alloc(BYTES);
    uint64_t seed = 1;
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)random_next(&seed);
    const char *path = temporary_path("deep/er/file.bin");
    struct file_writer writer;
    unet_error error;
    assert_ok(file_writer_open(&writer, path, true, &error), &error);
    for (size_t i = 0, step = 1; i < BYTES; i += step, step = step * 3 % 700001) {
        size_t count = step < BYTES - i ? step : BYTES - i;
        assert_ok(file_writer_write(&writer, bytes + i, count, &error), &error);
    }
    assert_int_equal(writer.written, BYTES);
    assert_int_not_equal(access(path, F_OK), 0); /* nothing there before the commit */
    assert_ok(file_writer_commit(&writer, &error), &error);
    file_writer_close(&writer);
    struct file_map map;
    assert_ok(file_map_open(path, 0, UNET_ERROR_INPUT, &map, &error), &error);
    assert_int_equal(map.size, BYTES);
    assert_memory_equal(map.bytes, bytes, BYTES);
    file_map_close(&map);
    assert_ok(file_map_read(path, 0, UNET_ERROR_INPUT, &map, &error), &error);
    assert_null(map.mapping);
    assert_int_equal(map.size, BYTES);
    assert_memory_equal(map.bytes, bytes, BYTES);
    file_map_close(&map);
    assert_int_equal(files_in(temporary_path("deep/er")), 1);
    memory_free(bytes);
}

static void an_abandoned_file_leaves_nothing(void **state)
{
    (void)state;
    const char *path = temporary_path("abandoned/file");
    struct file_writer writer;
    unet_error error;
    assert_ok(file_writer_open(&writer, path, true, &error), &error);
    assert_ok(file_writer_write(&writer, "abc", 3, &error), &error);
    file_writer_close(&writer);
    assert_int_equal(files_in(temporary_path("abandoned")), 0);
    file_writer_close(&writer); /* twice is safe */
}

/* A limit of 4 KiB a file stands for the disk. */
static unet_status write_on_a_full_disk(const char *path, const uint8_t *block, size_t bytes,
                                        unet_error *error)
{
    struct rlimit limit, small;
    getrlimit(RLIMIT_FSIZE, &limit);
    small = limit;
    small.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    unet_status status = file_write_whole(path, block, bytes, error);
    setrlimit(RLIMIT_FSIZE, &limit);
    return status;
}

static void a_full_disk_keeps_the_old_file(void **state)
{
    (void)state;
    const char *path = temporary_path("full/file");
    unet_error error;
    struct file_writer writer;
    assert_ok(file_writer_open(&writer, path, true, &error), &error);
    assert_ok(file_writer_write(&writer, "old", 3, &error), &error);
    assert_ok(file_writer_commit(&writer, &error), &error);
    file_writer_close(&writer);

    static uint8_t block[1 << 20];
    unet_status status = write_on_a_full_disk(path, block, sizeof block, &error);
    assert_error(status, UNET_ERROR_OUTPUT, &error, path);

    struct file_map map;
    assert_ok(file_map_open(path, 0, UNET_ERROR_INPUT, &map, &error), &error);
    assert_int_equal(map.size, 3);
    file_map_close(&map);
    assert_int_equal(files_in(temporary_path("full")), 1);
}

static void errors_name_the_path(void **state)
{
    (void)state;
    struct file_map map;
    unet_error error;
    const char *missing = temporary_path("missing");
    assert_error(file_map_open(missing, 0, UNET_ERROR_MODEL, &map, &error), UNET_ERROR_MODEL,
                 &error, missing);
    assert_error(file_map_open(temporary_folder(), 0, UNET_ERROR_INPUT, &map, &error),
                 UNET_ERROR_INPUT, &error, "is a folder");
    assert_error(file_write_whole(temporary_folder(), "a", 1, &error), UNET_ERROR_OUTPUT, &error,
                 temporary_folder());
    const char *file = temporary_path("file");
    assert_ok(file_write_whole(file, "abcdef", 6, &error), &error);
    char below[4200];
    snprintf(below, sizeof below, "%s/below", file);
    struct file_writer writer;
    assert_error(file_writer_open(&writer, below, true, &error), UNET_ERROR_OUTPUT, &error, below);
    assert_error(file_map_open(file, 5, UNET_ERROR_INPUT, &map, &error), UNET_ERROR_INPUT, &error,
                 "at most 5");
}

/* As root a rename would put a plain file in the place of /dev/null. */
static void what_is_no_plain_file_stays_what_it_is(void **state)
{
    (void)state;
    unet_error error;
    struct stat about;
    const char *pipe_path = temporary_path("special/pipe");
    assert_ok(file_write_whole(temporary_path("beside"), "a", 1, &error), &error);
    assert_int_equal(mkdir(temporary_path("special"), 0777), 0);
    assert_int_equal(mkfifo(pipe_path, 0666), 0);
    assert_error(file_write_whole(pipe_path, "a", 1, &error), UNET_ERROR_OUTPUT, &error,
                 "no plain file");
    assert_true(lstat(pipe_path, &about) == 0 && S_ISFIFO(about.st_mode));
    assert_int_equal(files_in(temporary_path("special")), 1);
}

/* Each reason comes with what to do about it. */
static void advice_is_given(void **state)
{
    (void)state;
    unet_error error;
    assert_error(file_write_whole(temporary_path("no/folder"), "a", 1, &error), UNET_ERROR_OUTPUT,
                 &error, "make its folder");
    assert_error(file_write_whole(temporary_folder(), "a", 1, &error), UNET_ERROR_OUTPUT, &error,
                 "name a file");
    uint8_t block[5000] = {0};
    unet_status status = write_on_a_full_disk(temporary_path("large"), block, sizeof block, &error);
    assert_error(status, UNET_ERROR_OUTPUT, &error, "make room");
}

/* Too large for the address space: want of memory, whatever kind of file it is. */
static void a_file_that_cannot_be_mapped_is_want_of_memory(void **state)
{
    (void)state;
    int descriptor = memfd_create("sparse", 0);
    assert_int_equal(ftruncate(descriptor, (off_t)1 << 56), 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    struct file_map map;
    unet_error error;
    assert_error(file_map_open(path, SIZE_MAX, UNET_ERROR_MODEL, &map, &error), UNET_ERROR_MEMORY,
                 &error, path);
    close(descriptor);
}

static void a_link_is_written_through(void **state)
{
    (void)state;
    unet_error error;
    struct stat about;
    struct file_map map;
    const char *link = temporary_path("links/link"), *dangling = temporary_path("links/dangling");
    assert_int_equal(mkdir(temporary_path("links"), 0777), 0);
    assert_int_equal(mkdir(temporary_path("behind"), 0777), 0);
    const char *target = temporary_path("behind/target");
    assert_ok(file_write_whole(target, "old", 3, &error), &error);
    assert_int_equal(symlink("../behind/target", link), 0);
    assert_int_equal(symlink("nowhere", dangling), 0);
    assert_ok(file_write_whole(link, "written", 7, &error), &error);
    assert_ok(file_write_whole(dangling, "b", 1, &error), &error);
    assert_true(lstat(link, &about) == 0 && S_ISLNK(about.st_mode));
    assert_ok(file_map_open(target, 0, UNET_ERROR_INPUT, &map, &error), &error);
    assert_int_equal(map.size, 7);
    file_map_close(&map);
    assert_int_equal(files_in(temporary_path("behind")), 1);
    assert_int_equal(files_in(temporary_path("links")), 2);
}

static void pipes_and_empty_files_are_read(void **state)
{
    (void)state;
    unet_error error;
    struct file_map map;
    const char *empty = temporary_path("empty");
    assert_ok(file_write_whole(empty, "", 0, &error), &error);
    assert_ok(file_map_open(empty, 0, UNET_ERROR_INPUT, &map, &error), &error);
    assert_int_equal(map.size, 0);
    file_map_close(&map);

    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "through a pipe", 14), 14);
    close(ends[1]);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    assert_ok(file_map_open(path, 0, UNET_ERROR_INPUT, &map, &error), &error);
    assert_int_equal(map.size, 14);
    assert_memory_equal(map.bytes, "through a pipe", 14);
    file_map_close(&map);
    close(ends[0]);
}

static void readers_stop_at_the_end(void **state)
{
    (void)state;
    const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    struct byte_reader reader = {bytes, sizeof bytes, 0};
    uint8_t a;
    uint16_t b;
    uint32_t c;
    uint64_t d;
    const uint8_t *at;
    assert_true(read_u8(&reader, &a) && a == 1);
    assert_true(read_u16(&reader, &b) && b == 0x0302);
    assert_true(read_u32(&reader, &c) && c == 0x07060504);
    assert_false(read_u64(&reader, &d));
    assert_false(read_u32(&reader, &c));
    assert_false(read_bytes(&reader, SIZE_MAX, &at));
    assert_true(read_bytes(&reader, 3, &at) && at == bytes + 7);
    assert_false(read_u8(&reader, &a));
    assert_true(read_bytes(&reader, 0, &at));
    reader.position = 0;
    assert_true(read_u64(&reader, &d) && d == 0x0807060504030201u);
}

static void lack_of_memory_is_said(void **state)
{
    (void)state;
    const char *path = temporary_path("memory");
    for (long n = 0;; n++) {
        unet_error error = {0};
        memory_fail_after(n);
        unet_status status = file_write_whole(path, "x", 1, &error);
        memory_fail_after(-1);
        if (status == UNET_OK) {
            assert_true(n > 0);
            return;
        }
        assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_files_read_back),
        cmocka_unit_test(an_abandoned_file_leaves_nothing),
        cmocka_unit_test(a_full_disk_keeps_the_old_file),
        cmocka_unit_test(errors_name_the_path),
        cmocka_unit_test(what_is_no_plain_file_stays_what_it_is),
        cmocka_unit_test(advice_is_given),
        cmocka_unit_test(a_file_that_cannot_be_mapped_is_want_of_memory),
        cmocka_unit_test(a_link_is_written_through),
        cmocka_unit_test(pipes_and_empty_files_are_read),
        cmocka_unit_test(readers_stop_at_the_end),
        cmocka_unit_test(lack_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
