#include "base/cpu.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/cpu_x86.h"
#include "base/options.h"

static const char *const tier_names[CPU_TIER_COUNT] = {
    [CPU_TIER_C] = "c",
    [CPU_TIER_AVX2] = "avx2",
    [CPU_TIER_AVX512] = "avx512",
};

/* What a tier's kernels may use without asking for more. */
static const uint32_t tier_needs[CPU_TIER_COUNT] = {
    [CPU_TIER_AVX2] = CPU_AVX2 | CPU_FMA,
    [CPU_TIER_AVX512] =
        CPU_AVX2 | CPU_FMA | CPU_AVX512F | CPU_AVX512BW | CPU_AVX512VL | CPU_AVX512DQ,
};

static const struct {
    uint32_t feature;
    const char *name;
} feature_names[] = {
    {CPU_F16C, "f16c"},
    {CPU_FMA, "fma"},
    {CPU_AVX2, "avx2"},
    {CPU_AVX512F, "avx512f"},
    {CPU_AVX512BW, "avx512bw"},
    {CPU_AVX512VL, "avx512vl"},
    {CPU_AVX512DQ, "avx512dq"},
    {CPU_AVX512_VNNI, "avx512_vnni"},
    {CPU_AVX512_BF16, "avx512_bf16"},
    {CPU_AVX512_FP16, "avx512_fp16"},
    {CPU_AVX_VNNI, "avx_vnni"},
    {CPU_AMX_TILE, "amx_tile"},
    {CPU_AMX_INT8, "amx_int8"},
    {CPU_AMX_BF16, "amx_bf16"},
};

/* What UNET_CPU may name: a tier, and what it leaves of the extensions. */
static const struct cpu_level {
    const char *name;
    enum cpu_tier tier;
    uint32_t extensions;
} levels[] = {
    {"c", CPU_TIER_C, 0},
    {"avx2", CPU_TIER_AVX2, 0},
    {"avx512", CPU_TIER_AVX512, 0},
    {"avx512_vnni", CPU_TIER_AVX512, CPU_AVX512_VNNI},
    {"avx512_bf16", CPU_TIER_AVX512, CPU_AVX512_VNNI | CPU_AVX512_BF16},
};

const char *cpu_tier_name(enum cpu_tier tier)
{
    return (unsigned)tier < CPU_TIER_COUNT ? tier_names[tier] : "unknown";
}

bool cpu_tier_from_name(const char *name, enum cpu_tier *tier)
{
    for (int i = 0; i < CPU_TIER_COUNT; i++)
        if (strcmp(name, tier_names[i]) == 0) {
            *tier = (enum cpu_tier)i;
            return true;
        }
    return false;
}

uint32_t cpu_features(void)
{
    return cpu_x86_features();
}

enum cpu_tier cpu_tier_detected(void)
{
    uint32_t features = cpu_features();
    int tier = CPU_TIER_C;
    while (tier + 1 < CPU_TIER_COUNT && (features & tier_needs[tier + 1]) == tier_needs[tier + 1])
        tier++;
    return (enum cpu_tier)tier;
}

void cpu_feature_names(uint32_t features, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof feature_names / sizeof feature_names[0]; i++)
        if ((features & feature_names[i].feature) != 0 && used < bytes)
            used += (size_t)snprintf(text + used, bytes - used, "%s%s", used > 0 ? " " : "",
                                     feature_names[i].name);
}

/* NULL where `name` names none. */
static const struct cpu_level *find_level(const char *name)
{
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (strcmp(name, levels[i].name) == 0)
            return &levels[i];
    return NULL;
}

/* UNET_CPU's value; NULL where it sets no limit. */
static const char *limit_name(void)
{
    const char *name = getenv("UNET_CPU");
    return name != NULL && name[0] != '\0' ? name : NULL;
}

unet_status cpu_tier_allowed(enum cpu_tier *tier, unet_error *error)
{
    enum cpu_tier detected = cpu_tier_detected();
    const char *name = limit_name();
    const struct cpu_level *level = name != NULL ? find_level(name) : NULL;
    if (name != NULL && level == NULL)
        return error_set(
            error, UNET_ERROR_USAGE,
            "UNET_CPU=%s names no instruction tier; use c, avx2, avx512, avx512_vnni or "
            "avx512_bf16",
            name);
    *tier = level != NULL && level->tier < detected ? level->tier : detected;
    return UNET_OK;
}

uint32_t cpu_features_allowed(void)
{
    const char *name = limit_name();
    const struct cpu_level *level = name != NULL ? find_level(name) : NULL;
    if (level == NULL)
        return cpu_features();
    return cpu_features() & (tier_needs[level->tier] | level->extensions);
}

static uint64_t cache_size(int name)
{
    long bytes = sysconf(name);
    return bytes > 0 ? (uint64_t)bytes : 0;
}

/* Asked once: older C libraries execute cpuid each time, which a virtual machine has to emulate. */
size_t cpu_l2_bytes(void)
{
    static atomic_llong known = -1;
    long long bytes = atomic_load_explicit(&known, memory_order_relaxed);
    if (bytes < 0) {
        bytes = (long long)cache_size(_SC_LEVEL2_CACHE_SIZE);
        atomic_store_explicit(&known, bytes, memory_order_relaxed);
    }
    return (size_t)bytes;
}

unet_status unet_machine_get_info(unet_machine_info *info, unet_error *error)
{
    enum cpu_tier tier;
    TRY(cpu_tier_allowed(&tier, error));
    unet_machine_info found = {
        .tier = cpu_tier_name(tier),
        .tier_limit = getenv("UNET_CPU"),
        .hardware_threads = (int)sysconf(_SC_NPROCESSORS_ONLN),
        .usable_threads = cpu_usable_threads(),
        .cgroup_cpus = cgroup_cpu_quota(),
        .memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE),
        .cache_bytes = {cache_size(_SC_LEVEL1_DCACHE_SIZE), cpu_l2_bytes(),
                        cache_size(_SC_LEVEL3_CACHE_SIZE)},
    };
    cpu_feature_names(cpu_features(), found.features, sizeof found.features);
    cpu_feature_names(cpu_features_allowed(), found.usable_features, sizeof found.usable_features);
    if (!cpu_x86_brand(found.cpu))
        snprintf(found.cpu, sizeof found.cpu, "unknown processor");
    return options_write(info, &found, sizeof found, "unet_machine_info", error);
}
