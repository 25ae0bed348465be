/* build/timing_cache.c: what is kept, what is refused, what stays of other machines. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "build/timing_cache.h"

#define HEAD "unet timing cache 1\n"
#define KEY  "CPU\tavx2 fma\t2\t0.1.0\tconv 3 to 4"
#define LINE KEY "\tconv.direct.c\t12345\n"

static unet_status parse(const char *text, struct timing_cache *cache, unet_error *error)
{
    return timing_cache_parse(cache, text, strlen(text), error);
}

static void reads(const char *text, int count)
{
    unet_error error;
    struct timing_cache cache = {0};
    assert_ok(parse(text, &cache, &error), &error);
    assert_int_equal(cache.count, count);
    timing_cache_clear(&cache);
}

static void refuses(const char *text, const char *part)
{
    unet_error error;
    struct timing_cache cache = {0};
    assert_error(parse(text, &cache, &error), UNET_ERROR_MODEL, &error, part);
    timing_cache_clear(&cache);
}

static void reads_what_the_format_says(void **state)
{
    (void)state;
    unet_error error;
    struct timing_cache cache = {0};
    reads("", 0);
    reads(HEAD, 0);
    reads(HEAD LINE, 1);
    reads(HEAD KEY "\tb\t1\n" KEY "\ta\t999999999999999\n" LINE, 3);
    assert_ok(parse(HEAD KEY "\tb\t1\n" KEY "\ta\t999999999999999\n" LINE, &cache, &error), &error);
    assert_int_equal(timing_cache_find(&cache, KEY, "a"), 999999999999999);
    assert_int_equal(timing_cache_find(&cache, KEY, "b"), 1);
    assert_int_equal(timing_cache_find(&cache, KEY, "conv.direct.c"), 12345);
    assert_int_equal(timing_cache_find(&cache, KEY, "c"), 0);
    assert_int_equal(timing_cache_find(&cache, "CPU", "a"), 0);
    assert_int_equal(timing_cache_find(&cache, KEY "\ta", "1"), 0);
    timing_cache_clear(&cache);
}

static void refuses_all_else(void **state)
{
    (void)state;
    static const char *const times[] = {"",
                                        "0",
                                        "-1",
                                        "+1",
                                        "nan",
                                        "inf",
                                        "1e3",
                                        "1.5",
                                        "0x1",
                                        "007",
                                        " 1",
                                        "1 ",
                                        "1\r",
                                        "9999999999999999",
                                        "99999999999999999999999999",
                                        "12a",
                                        "½"};
    char text[256];
    refuses("\n", "first line");
    refuses("unet timing cache 1", "first line"); /* cut off */
    refuses("unet timing cache", "first line");
    refuses("unet timing cache 1 \n", "another version");
    refuses("unet timing cache 2\n" LINE, "another version");
    refuses(" " HEAD, "first line");
    refuses("\xef\xbb\xbf" HEAD, "first line");
    refuses("{\"timings\": []}\n", "first line");
    refuses(HEAD "\n", "line 2 is broken");
    refuses(HEAD LINE "\n", "line 3 is broken");
    refuses(HEAD LINE LINE, "line 3 times what line 2 does");
    refuses(HEAD LINE KEY "\tx\t5\n" KEY "\tconv.direct.c\t12346\n", "line 4 times what line 2");
    refuses(HEAD LINE HEAD, "line 3 is broken");
    refuses(HEAD "garbage\n", "seven fields");
    refuses(HEAD "a\tb\tc\td\te\tf\tg\t1\n", "seven fields");
    refuses(HEAD "a\tb\tc\td\te\t1\n", "seven fields");
    refuses(HEAD "a\tb\tc\td\t\tf\t1\n", "empty");
    refuses(HEAD "\tb\tc\td\te\tf\t1\n", "empty");
    refuses(HEAD "a\tb\tc\td\te\tf\x01\t1\n", "no text");
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        snprintf(text, sizeof text, HEAD LINE KEY "\tx\t%s\n", times[i]);
        refuses(text, "line 3 is broken");
    }
}

/* Cut anywhere a file is refused or, at the end of a line, holds what stands before. */
static void refuses_what_is_cut_off(void **state)
{
    (void)state;
    static const char whole[] = HEAD LINE KEY "\tb\t77\n" KEY "\tc\t78\n";
    for (size_t bytes = 1; bytes < sizeof whole - 1; bytes++) {
        unet_error error;
        struct timing_cache cache = {0};
        unet_status status = timing_cache_parse(&cache, whole, bytes, &error);
        if (whole[bytes - 1] == '\n')
            assert_ok(status, &error);
        else
            assert_error(status, UNET_ERROR_MODEL, &error, "");
        timing_cache_clear(&cache);
    }
    const char zeros[] = HEAD "a\tb\tc\td\te\tf\0\t1\n";
    struct timing_cache cache = {0};
    assert_int_equal(timing_cache_parse(&cache, zeros, sizeof zeros - 1, NULL), UNET_ERROR_MODEL);
    timing_cache_clear(&cache);
}

/* ---------------------------------------------------------------- files */

static void write_text(const char *path, const char *text)
{
    unet_error error;
    assert_ok(file_write_whole(path, text, strlen(text), &error), &error);
}

static void assert_text(const char *path, const char *text)
{
    unet_error error;
    struct file_map map;
    assert_ok(file_map_read(path, 0, UNET_ERROR_MODEL, &map, &error), &error);
    assert_int_equal(map.size, strlen(text));
    assert_memory_equal(map.bytes, text, map.size);
    file_map_close(&map);
}

static void save_one(const char *path, const char *kernel, int64_t nanoseconds)
{
    unet_error error;
    struct timing_cache cache = {0};
    assert_ok(timing_cache_read(&cache, path, &error), &error);
    assert_ok(timing_cache_put(&cache, KEY, kernel, nanoseconds, &error), &error);
    assert_int_equal(timing_cache_find(&cache, KEY, kernel), nanoseconds);
    assert_ok(timing_cache_save(&cache, path, &error), &error);
    timing_cache_clear(&cache);
}

static void keeps_what_is_measured(void **state)
{
    (void)state;
    const char *path = temporary_path("kept.times");
    save_one(path, "b", 5);
    assert_text(path, HEAD KEY "\tb\t5\n");
    save_one(path, "c", 6);
    save_one(path, "a", 999999999999);
    assert_text(path, HEAD KEY "\ta\t999999999999\n" KEY "\tb\t5\n" KEY "\tc\t6\n");
    save_one(path, "b", 7);
    assert_text(path, HEAD KEY "\ta\t999999999999\n" KEY "\tb\t7\n" KEY "\tc\t6\n");
}

static void keeps_lines_of_others(void **state)
{
    (void)state;
    const char *path = temporary_path("others.times");
    write_text(path, HEAD "Other CPU\tx y\t16\t9.9.9\tbend 7\tbend.cuda\t3\n");
    save_one(path, "b", 5);
    assert_text(path, HEAD KEY "\tb\t5\nOther CPU\tx y\t16\t9.9.9\tbend 7\tbend.cuda\t3\n");
}

/* Another build wrote while this one measured: both stay, and of one thing the later word. */
static void merges_with_what_came_meanwhile(void **state)
{
    (void)state;
    unet_error error;
    struct timing_cache cache = {0};
    const char *path = temporary_path("meanwhile.times");
    write_text(path, HEAD KEY "\ta\t1\n");
    assert_ok(timing_cache_read(&cache, path, &error), &error);
    assert_ok(timing_cache_put(&cache, KEY, "b", 5, &error), &error);
    write_text(path, HEAD KEY "\ta\t2\n" KEY "\tb\t9\n" KEY "\tc\t3\n");
    assert_ok(timing_cache_save(&cache, path, &error), &error);
    assert_text(path, HEAD KEY "\ta\t2\n" KEY "\tb\t5\n" KEY "\tc\t3\n");
    write_text(path, "no cache any more\n");
    assert_error(timing_cache_save(&cache, path, &error), UNET_ERROR_MODEL, &error, path);
    assert_text(path, "no cache any more\n");
    timing_cache_clear(&cache);
}

static void touches_nothing_without_need(void **state)
{
    (void)state;
    unet_error error;
    struct timing_cache cache = {0};
    const char *path = temporary_path("untouched.times");
    assert_ok(timing_cache_read(&cache, path, &error), &error);
    assert_int_equal(cache.count, 0);
    assert_ok(timing_cache_save(&cache, path, &error), &error);
    assert_int_not_equal(access(path, F_OK), 0);
    write_text(path, HEAD KEY "\tb\t1\n" KEY "\ta\t1\n"); /* not in our order */
    assert_ok(timing_cache_read(&cache, path, &error), &error);
    assert_ok(timing_cache_save(&cache, path, &error), &error);
    assert_text(path, HEAD KEY "\tb\t1\n" KEY "\ta\t1\n");
    timing_cache_clear(&cache);
}

static void tells_where_it_cannot_write(void **state)
{
    (void)state;
    unet_error error;
    struct timing_cache cache = {0};
    char path[1024];
    snprintf(path, sizeof path, "%s", temporary_path("missing/folder.times"));
    assert_ok(timing_cache_read(&cache, path, &error), &error);
    assert_error(timing_cache_probe(path, &error), UNET_ERROR_OUTPUT, &error, path);
    assert_ok(timing_cache_put(&cache, KEY, "a", 1, &error), &error);
    assert_error(timing_cache_save(&cache, path, &error), UNET_ERROR_OUTPUT, &error, path);
    assert_error(timing_cache_read(&cache, temporary_folder(), &error), UNET_ERROR_MODEL, &error,
                 "folder");
    snprintf(path, sizeof path, "%s", temporary_path("probed.times"));
    assert_ok(timing_cache_probe(path, &error), &error);
    assert_int_not_equal(access(path, F_OK), 0); /* nothing stays of the probe */
    timing_cache_clear(&cache);
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    const char *path = temporary_path("memory.times");
    write_text(path, HEAD KEY "\ta\t1\n" KEY "\tb\t1\n");
    unet_status status = UNET_ERROR_MEMORY;
    int failures = 0;
    for (; status != UNET_OK; failures++) {
        unet_error error;
        struct timing_cache cache = {0};
        memory_fail_after(failures);
        status = timing_cache_read(&cache, path, &error);
        if (status == UNET_OK)
            status = timing_cache_put(&cache, KEY, "c", 3, &error);
        if (status == UNET_OK)
            status = timing_cache_save(&cache, path, &error);
        memory_fail_after(-1);
        if (status != UNET_OK) {
            assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
            assert_text(path, HEAD KEY "\ta\t1\n" KEY "\tb\t1\n");
        }
        timing_cache_clear(&cache);
    }
    assert_true(failures > 5);
    assert_text(path, HEAD KEY "\ta\t1\n" KEY "\tb\t1\n" KEY "\tc\t3\n");
}

/* A large file in the worst order is read in the time of a blink. */
static void reads_many_lines(void **state)
{
    (void)state;
    enum { LINES = 20000, ROOM = 32 };
    unet_error error;
    struct timing_cache cache = {0};
    char *text = malloc(sizeof HEAD + LINES * ROOM);
    size_t used = (size_t)sprintf(text, HEAD);
    for (int i = LINES; i > 0; i--)
        used += (size_t)sprintf(text + used, "a\tb\tc\td\tstep %06d\tf\t%d\n", i, i);
    assert_ok(timing_cache_parse(&cache, text, used, &error), &error);
    assert_int_equal(cache.count, LINES);
    assert_int_equal(timing_cache_find(&cache, "a\tb\tc\td\tstep 004711", "f"), 4711);
    timing_cache_clear(&cache);
    free(text);
}

static void keys_name_the_machine(void **state)
{
    (void)state;
    unet_error error;
    unet_machine_info machine = {.size = sizeof machine};
    char one[TIMING_MACHINE_BYTES], two[TIMING_MACHINE_BYTES];
    int tabs = 0;
    assert_ok(unet_machine_get_info(&machine, &error), &error);
    assert_ok(timing_machine(1, one, &error), &error);
    assert_ok(timing_machine(2, two, &error), &error);
    assert_string_not_equal(one, two);
    assert_non_null(strstr(one, machine.tier));
    assert_non_null(strstr(one, machine.features));
    assert_non_null(strstr(one, unet_version()));
    for (const char *c = one; *c != '\0'; c++)
        tabs += *c == '\t';
    assert_int_equal(tabs, 4);
    assert_int_equal(one[strlen(one) - 1], '\t');
    setenv("UNET_CPU", "c", 1);
    assert_ok(timing_machine(1, two, &error), &error);
    unsetenv("UNET_CPU");
    if (strcmp(machine.tier, "c") != 0)
        assert_string_not_equal(one, two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_format_says),
        cmocka_unit_test(refuses_all_else),
        cmocka_unit_test(refuses_what_is_cut_off),
        cmocka_unit_test(keeps_what_is_measured),
        cmocka_unit_test(keeps_lines_of_others),
        cmocka_unit_test(merges_with_what_came_meanwhile),
        cmocka_unit_test(touches_nothing_without_need),
        cmocka_unit_test(tells_where_it_cannot_write),
        cmocka_unit_test(survives_lack_of_memory),
        cmocka_unit_test(reads_many_lines),
        cmocka_unit_test(keys_name_the_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
