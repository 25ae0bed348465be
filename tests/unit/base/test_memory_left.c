/* base/memory_left.c: against hand-made trees of /proc and /sys/fs/cgroup. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory_left.h"

#define MIB ((size_t)1 << 20)

static void write_file(const char *tree, const char *name, const char *text)
{
    struct file_writer writer;
    unet_error error;
    char path[256];
    snprintf(path, sizeof path, "%s/%s", tree, name);
    assert_ok(file_writer_open(&writer, temporary_path(path), true, &error), &error);
    assert_ok(file_writer_write(&writer, text, strlen(text), &error), &error);
    assert_ok(file_writer_commit(&writer, &error), &error);
    file_writer_close(&writer);
}

static void write_mib(const char *tree, const char *name, long mib)
{
    char text[64];
    snprintf(text, sizeof text, "%ld\n", mib * (long)MIB);
    write_file(tree, name, text);
}

static void write_meminfo(const char *tree, long available_mib, long swap_mib)
{
    char text[256];
    snprintf(text, sizeof text,
             "MemTotal:       64000000 kB\nMemFree:        1000 kB\nMemAvailable:   %ld kB\n"
             "SwapCached:            5 kB\nSwapTotal:       99999999 kB\nSwapFree:   %ld kB\n",
             1024 * available_mib, 1024 * swap_mib);
    write_file(tree, "proc/meminfo", text);
}

static size_t left_in(const char *tree)
{
    char proc[256], cgroups[256];
    snprintf(proc, sizeof proc, "%s/proc", tree);
    snprintf(cgroups, sizeof cgroups, "%s/fs", tree);
    return memory_left_at(temporary_path(proc), temporary_path(cgroups));
}

static void what_is_unknown_limits_nothing(void **state)
{
    (void)state;
    assert_true(left_in("nothing") == SIZE_MAX);
    write_file("odd", "proc/meminfo", "MemTotal: 1000 kB\nMemFree: 10 kB\nnonsense\n");
    write_file("odd", "proc/self/cgroup", "nonsense\n:\n0::/\n4:memory\n");
    write_file("odd", "fs/memory.max", "max\n");
    write_file("odd", "fs/memory.current", "123\n");
    assert_true(left_in("odd") == SIZE_MAX);
    write_file("odd", "fs/memory.max", "");
    assert_true(left_in("odd") == SIZE_MAX);
    write_mib("alone", "fs/memory.max", 10); /* without a usage, nothing is known */
    write_file("alone", "proc/self/cgroup", "0::/\n");
    assert_true(left_in("alone") == SIZE_MAX);
}

static void the_machine_binds(void **state)
{
    (void)state;
    write_meminfo("machine", 700, 0);
    assert_true(left_in("machine") == 700 * MIB);
    write_meminfo("machine", 700, 50); /* it would swap, not fail */
    assert_true(left_in("machine") == 750 * MIB);
}

static void the_tightest_group_binds(void **state)
{
    (void)state;
    write_meminfo("v2", 5000, 0);
    write_file("v2", "proc/self/cgroup", "0::/a/b\n");
    write_mib("v2", "fs/a/b/memory.max", 2000);
    write_mib("v2", "fs/a/b/memory.current", 100);
    assert_true(left_in("v2") == 1900 * MIB);
    write_mib("v2", "fs/a/memory.max", 1000);
    write_mib("v2", "fs/a/memory.current", 900);
    assert_true(left_in("v2") == 100 * MIB);
    write_mib("v2", "fs/a/memory.current", 1001);
    assert_true(left_in("v2") == 0);
    write_meminfo("v2", 50, 0);
    write_mib("v2", "fs/a/memory.current", 900);
    assert_true(left_in("v2") == 50 * MIB);
}

static void cache_of_files_counts_as_left(void **state)
{
    (void)state;
    write_meminfo("cache", 5000, 0);
    write_file("cache", "proc/self/cgroup", "0::/\n");
    write_mib("cache", "fs/memory.max", 1000);
    write_mib("cache", "fs/memory.current", 990);
    write_file("cache", "fs/memory.stat",
               "anon 83886080\nfile 943718400\nfile_mapped 1048576\ninactive_anon 83886080\n"
               "inactive_file 104857600\nactive_file 209715200\nslab_reclaimable 1048576\n"
               "workingset_refault_file 77\n");
    assert_true(left_in("cache") == (10 + 100 + 200 + 1) * MIB);
}

static void groups_of_version_1(void **state)
{
    (void)state;
    write_meminfo("v1", 5000, 0);
    write_file("v1", "proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x/y\n0::/\n");
    write_file("v1", "fs/memory/x/y/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    write_mib("v1", "fs/memory/x/y/memory.usage_in_bytes", 100);
    assert_true(left_in("v1") == 5000 * MIB);
    write_mib("v1", "fs/memory/x/memory.limit_in_bytes", 600);
    write_mib("v1", "fs/memory/x/memory.usage_in_bytes", 500);
    write_file("v1", "fs/memory/x/memory.stat",
               "inactive_file 1\nactive_file 1\nhierarchical_memory_limit 629145600\n"
               "total_inactive_file 10485760\ntotal_active_file 20971520\n");
    assert_true(left_in("v1") == 130 * MIB);
    /* In a container the group's path is the host's, and only the root of the mount is there. */
    write_meminfo("v1-inside", 5000, 0);
    write_file("v1-inside", "proc/self/cgroup", "4:memory:/docker/0123\n");
    write_mib("v1-inside", "fs/memory/memory.limit_in_bytes", 256);
    write_mib("v1-inside", "fs/memory/memory.usage_in_bytes", 56);
    assert_true(left_in("v1-inside") == 200 * MIB);
}

static void a_group_swaps_what_it_may(void **state)
{
    (void)state;
    write_meminfo("swap", 5000, 300);
    write_file("swap", "proc/self/cgroup", "0::/a\n");
    write_mib("swap", "fs/a/memory.max", 100);
    write_mib("swap", "fs/a/memory.current", 0);
    assert_true(left_in("swap") == 400 * MIB); /* swap is not accounted */
    write_mib("swap", "fs/a/memory.swap.max", 70);
    write_mib("swap", "fs/a/memory.swap.current", 20);
    assert_true(left_in("swap") == 150 * MIB);
    write_file("swap", "fs/a/memory.swap.max", "max\n");
    assert_true(left_in("swap") == 400 * MIB);
    write_mib("swap", "fs/memory.swap.max", 0);
    write_mib("swap", "fs/memory.swap.current", 0);
    assert_true(left_in("swap") == 100 * MIB);
}

/* The limit is this process's own, far above what it takes (a sanitizer reserves terabytes); the
 * size is made up. */
static void a_limit_of_addresses_binds(void **state)
{
    (void)state;
    struct rlimit old, set;
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    set = old;
    if (set.rlim_cur == RLIM_INFINITY)
        set.rlim_cur = (rlim_t)1 << 46;
    long page = sysconf(_SC_PAGESIZE), pages = (long)(set.rlim_cur / (rlim_t)page);
    char text[64];
    snprintf(text, sizeof text, "%ld 20 10 1 0 30 0\n", pages - 1000);
    write_file("limited", "proc/self/statm", text);
    assert_int_equal(setrlimit(RLIMIT_AS, &set), 0);
    size_t left = left_in("limited");
    snprintf(text, sizeof text, "%ld 20 10 1 0 30 0\n", pages + 1000);
    write_file("limited", "proc/self/statm", text);
    size_t beyond = left_in("limited");
    setrlimit(RLIMIT_AS, &old);
    size_t tail = (size_t)(set.rlim_cur % (rlim_t)page);
    assert_true(left == 1000 * (size_t)page + tail && beyond == 0);
}

static void this_machine_has_some(void **state)
{
    (void)state;
    assert_true(memory_left() > MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_unknown_limits_nothing),
        cmocka_unit_test(the_machine_binds),
        cmocka_unit_test(the_tightest_group_binds),
        cmocka_unit_test(cache_of_files_counts_as_left),
        cmocka_unit_test(groups_of_version_1),
        cmocka_unit_test(a_group_swaps_what_it_may),
        cmocka_unit_test(a_limit_of_addresses_binds),
        cmocka_unit_test(this_machine_has_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
