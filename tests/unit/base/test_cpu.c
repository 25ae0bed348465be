/* base/cpu.c and cgroup.c: against what /proc/cpuinfo and hand-made cgroup trees say. */
#include "support/support.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cgroup.h"
#include "base/cpu.h"
#include "base/file.h"

static bool kernel_lists(const char *flag)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    static char line[16384];
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "flags", 5) != 0)
            continue;
        for (char *word = strtok(line, " \n"); word != NULL; word = strtok(NULL, " \n"))
            found = found || strcmp(word, flag) == 0;
        break;
    }
    if (file != NULL)
        fclose(file);
    return found;
}

static void features_agree_with_the_kernel(void **state)
{
    (void)state;
    uint32_t features = cpu_features();
    const struct {
        uint32_t feature;
        const char *flag;
    } pairs[] = {
        {CPU_F16C, "f16c"},         {CPU_FMA, "fma"},
        {CPU_AVX2, "avx2"},         {CPU_AVX512F, "avx512f"},
        {CPU_AVX512BW, "avx512bw"}, {CPU_AVX512_VNNI, "avx512_vnni"},
        {CPU_AVX_VNNI, "avx_vnni"}, {CPU_AVX512_BF16, "avx512_bf16"},
        {CPU_AMX_TILE, "amx_tile"}, {CPU_AMX_INT8, "amx_int8"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (((features & pairs[i].feature) != 0) != kernel_lists(pairs[i].flag))
            fail_msg("%s: we say %d", pairs[i].flag, (features & pairs[i].feature) != 0);
}

static void tiers_are_capped_by_the_environment(void **state)
{
    (void)state;
    unet_error error;
    enum cpu_tier tier, detected = cpu_tier_detected();
    setenv("UNET_CPU", "c", 1);
    assert_ok(cpu_tier_allowed(&tier, &error), &error);
    assert_int_equal(tier, CPU_TIER_C);
    setenv("UNET_CPU", "avx512", 1); /* a cap never lifts */
    assert_ok(cpu_tier_allowed(&tier, &error), &error);
    assert_int_equal(tier, detected);
    setenv("UNET_CPU", "sse9", 1);
    assert_error(cpu_tier_allowed(&tier, &error), UNET_ERROR_USAGE, &error, "sse9");
    unsetenv("UNET_CPU");
    assert_ok(cpu_tier_allowed(&tier, &error), &error);
    assert_int_equal(tier, detected);
}

/* A level leaves the features of its tier and the extensions that it names, and adds none. */
static void features_are_capped_by_the_environment(void **state)
{
    (void)state;
    unet_error error;
    enum cpu_tier tier;
    const uint32_t avx512 = CPU_AVX512F | CPU_AVX512BW | CPU_AVX512VL | CPU_AVX512DQ;
    const struct {
        const char *name;
        uint32_t allowed, ruled_out;
    } levels[] = {
        {"c", 0, ~0u},
        {"avx2", CPU_AVX2 | CPU_FMA, avx512 | CPU_AVX512_VNNI | CPU_AVX512_BF16},
        {"avx512", avx512 | CPU_AVX2, CPU_AVX512_VNNI | CPU_AVX512_BF16 | CPU_AMX_TILE},
        {"avx512_vnni", avx512 | CPU_AVX512_VNNI, CPU_AVX512_BF16 | CPU_AMX_TILE},
        {"avx512_bf16", avx512 | CPU_AVX512_VNNI | CPU_AVX512_BF16, CPU_AMX_TILE | CPU_AMX_BF16},
    };
    assert_int_equal(cpu_features_allowed(), cpu_features());
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        setenv("UNET_CPU", levels[i].name, 1);
        uint32_t left = cpu_features_allowed();
        assert_int_equal(left & levels[i].allowed, cpu_features() & levels[i].allowed);
        assert_int_equal(left & levels[i].ruled_out, 0);
        assert_ok(cpu_tier_allowed(&tier, &error), &error);
    }
    assert_true(tier == cpu_tier_detected());
    unsetenv("UNET_CPU");
}

static void write_file(const char *path, const char *text)
{
    struct file_writer writer;
    unet_error error;
    assert_ok(file_writer_open(&writer, path, true, &error), &error);
    assert_ok(file_writer_write(&writer, text, strlen(text), &error), &error);
    assert_ok(file_writer_commit(&writer, &error), &error);
    file_writer_close(&writer);
}

static void the_smallest_quota_binds(void **state)
{
    (void)state;
    write_file(temporary_path("v2/self"), "0::/a/b\n");
    write_file(temporary_path("v2/fs/cpu.max"), "max 100000\n");
    write_file(temporary_path("v2/fs/a/cpu.max"), "150000 100000\n");
    write_file(temporary_path("v2/fs/a/b/cpu.max"), "400000 100000\n");
    double quota = cgroup_cpu_quota_at(temporary_path("v2/self"), temporary_path("v2/fs"));
    assert_true(fabs(quota - 1.5) < 1e-9);

    write_file(temporary_path("v1/self"), "3:cpuset:/x\n4:cpu,cpuacct:/x\n");
    write_file(temporary_path("v1/fs/cpu,cpuacct/x/cpu.cfs_quota_us"), "250000\n");
    write_file(temporary_path("v1/fs/cpu,cpuacct/x/cpu.cfs_period_us"), "100000\n");
    quota = cgroup_cpu_quota_at(temporary_path("v1/self"), temporary_path("v1/fs"));
    assert_true(fabs(quota - 2.5) < 1e-9);

    write_file(temporary_path("none/self"), "0::/\n");
    assert_true(cgroup_cpu_quota_at(temporary_path("none/self"), temporary_path("none/fs")) == 0);
    assert_true(cgroup_cpu_quota_at(temporary_path("none/no"), temporary_path("none/fs")) == 0);
}

static void threads_follow_the_affinity_mask(void **state)
{
    (void)state;
    cpu_set_t old, one;
    assert_int_equal(sched_getaffinity(0, sizeof old, &old), 0);
    assert_true(cpu_usable_threads() >= 1 && cpu_usable_threads() <= CPU_COUNT(&old));
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &old) && CPU_COUNT(&one) == 0)
            CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(cpu_usable_threads(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof old, &old), 0);
}

/* Virtual machines tell all sorts of sizes, but none that a core could not have. */
static void the_second_cache_has_a_size_or_none(void **state)
{
    (void)state;
    size_t bytes = cpu_l2_bytes();
    assert_true(bytes == 0 || (bytes >= 64 << 10 && bytes <= 256 << 20));
    assert_int_equal(cpu_l2_bytes(), bytes);
}

static void machine_info_is_filled(void **state)
{
    (void)state;
    unet_machine_info info = {.size = sizeof info};
    unet_error error;
    assert_ok(unet_machine_get_info(&info, &error), &error);
    assert_true(info.cpu[0] != '\0' && info.hardware_threads >= info.usable_threads);
    assert_string_equal(info.tier, cpu_tier_name(cpu_tier_detected()));
    assert_true(info.memory_bytes > 1 << 20);
    info.size = 0;
    assert_error(unet_machine_get_info(&info, &error), UNET_ERROR_USAGE, &error, "size");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_agree_with_the_kernel),
        cmocka_unit_test(tiers_are_capped_by_the_environment),
        cmocka_unit_test(features_are_capped_by_the_environment),
        cmocka_unit_test(the_smallest_quota_binds),
        cmocka_unit_test(threads_follow_the_affinity_mask),
        cmocka_unit_test(the_second_cache_has_a_size_or_none),
        cmocka_unit_test(machine_info_is_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
