/* What this machine can run: instruction tiers, threads it may use, caches. */
#ifndef UNET_BASE_CPU_H
#define UNET_BASE_CPU_H

#include "base/error.h"

/* Ordered: a tier includes all below it. */
enum cpu_tier { CPU_TIER_C, CPU_TIER_AVX2, CPU_TIER_AVX512, CPU_TIER_COUNT };

/* Extensions that a kernel may need beyond its tier; bits. A bit is set only if cpuid, XCR0 and,
 * for AMX, the kernel's permission agree. */
enum cpu_feature {
    CPU_F16C = 1 << 0,
    CPU_FMA = 1 << 1,
    CPU_AVX2 = 1 << 2,
    CPU_AVX512F = 1 << 3,
    CPU_AVX512BW = 1 << 4,
    CPU_AVX512VL = 1 << 5,
    CPU_AVX512DQ = 1 << 6,
    CPU_AVX512_VNNI = 1 << 7,
    CPU_AVX512_BF16 = 1 << 8,
    CPU_AVX512_FP16 = 1 << 9,
    CPU_AVX_VNNI = 1 << 10,
    CPU_AMX_TILE = 1 << 11,
    CPU_AMX_INT8 = 1 << 12,
    CPU_AMX_BF16 = 1 << 13,
};

const char *cpu_tier_name(enum cpu_tier tier);
/* False if the name is no tier. */
bool cpu_tier_from_name(const char *name, enum cpu_tier *tier);

/* The highest tier that the machine runs, before any limit. */
enum cpu_tier cpu_tier_detected(void);
/* The features, before any limit. */
uint32_t cpu_features(void);
/* "fma avx2 avx512f …" of a set of bits. */
void cpu_feature_names(uint32_t features, char *text, size_t bytes);

/* The tier to use: cpu_tier_detected capped by the environment variable UNET_CPU, which names a
 * tier or a tier with extensions: "avx512" is that tier alone, "avx512_bf16" has VNNI and BF16 too.
 * USAGE if it names neither; lists the names. */
unet_status cpu_tier_allowed(enum cpu_tier *tier, unet_error *error);
/* The features that UNET_CPU leaves; where it is not set, or names nothing, cpu_features. */
uint32_t cpu_features_allowed(void);

/* Of a core's own second-level cache; 0 where the system does not tell. */
size_t cpu_l2_bytes(void);

/* CPUs in the affinity mask, capped by the cgroup quota (v1 and v2) rounded up; at least 1. */
int cpu_usable_threads(void);

#endif
