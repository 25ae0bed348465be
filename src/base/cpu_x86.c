#include "base/cpu_x86.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* State components of XCR0 (Intel SDM volume 1, 13.1). */
#define XCR0_SSE_AVX  0x06u
#define XCR0_AVX512   0xe6u
#define XCR0_AMX      0x60000u
#define XFEATURE_TILE 18
#define ARCH_REQ_PERM 0x1023 /* asm/prctl.h, ARCH_REQ_XCOMP_PERM: Linux 5.16 */

struct leaf {
    unsigned a, b, c, d;
};

static struct leaf cpuid_leaf(unsigned leaf, unsigned subleaf)
{
    struct leaf r = {0, 0, 0, 0};
    __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
    return r;
}

static uint64_t enabled_states(void)
{
    if ((cpuid_leaf(1, 0).c & bit_OSXSAVE) == 0)
        return 0;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static uint32_t when(bool condition, uint32_t feature)
{
    return condition ? feature : 0;
}

static uint32_t avx_features(struct leaf basic, struct leaf extended, struct leaf more)
{
    return when(basic.c & bit_F16C, CPU_F16C) | when(basic.c & bit_FMA, CPU_FMA) |
           when(extended.b & (1u << 5), CPU_AVX2) | when(more.a & (1u << 4), CPU_AVX_VNNI);
}

static uint32_t avx512_features(struct leaf extended, struct leaf more)
{
    return when(extended.b & (1u << 16), CPU_AVX512F) |
           when(extended.b & (1u << 17), CPU_AVX512DQ) |
           when(extended.b & (1u << 30), CPU_AVX512BW) |
           when(extended.b & (1u << 31), CPU_AVX512VL) |
           when(extended.c & (1u << 11), CPU_AVX512_VNNI) |
           when(extended.d & (1u << 23), CPU_AVX512_FP16) |
           when(more.a & (1u << 5), CPU_AVX512_BF16);
}

/* The kernel hands out the tile state only to a process that asks for it. */
static uint32_t amx_features(struct leaf extended)
{
    if ((extended.d & (1u << 24)) == 0 ||
        syscall(SYS_arch_prctl, ARCH_REQ_PERM, XFEATURE_TILE) != 0)
        return 0;
    return CPU_AMX_TILE | when(extended.d & (1u << 25), CPU_AMX_INT8) |
           when(extended.d & (1u << 22), CPU_AMX_BF16);
}

uint32_t cpu_x86_features(void)
{
    uint64_t states = enabled_states();
    struct leaf basic = cpuid_leaf(1, 0), extended = cpuid_leaf(7, 0);
    struct leaf more = {0, 0, 0, 0};
    if (extended.a >= 1)
        more = cpuid_leaf(7, 1);
    uint32_t features = 0;
    if ((states & XCR0_SSE_AVX) == XCR0_SSE_AVX)
        features |= avx_features(basic, extended, more);
    if ((states & XCR0_AVX512) == XCR0_AVX512)
        features |= avx512_features(extended, more);
    if ((states & XCR0_AMX) == XCR0_AMX)
        features |= amx_features(extended);
    return features;
}

bool cpu_x86_brand(char brand[64])
{
    unsigned words[12];
    if ((unsigned)__get_cpuid_max(0x80000000u, NULL) < 0x80000004u)
        return false;
    for (unsigned i = 0; i < 3; i++) {
        struct leaf r = cpuid_leaf(0x80000002u + i, 0);
        memcpy(words + 4 * i, &r, sizeof r);
    }
    char text[49];
    memcpy(text, words, 48);
    text[48] = '\0';
    size_t first = strspn(text, " "), last = strlen(text);
    while (last > first && text[last - 1] == ' ')
        last--;
    memcpy(brand, text + first, last - first);
    brand[last - first] = '\0';
    return last > first;
}

#else

uint32_t cpu_x86_features(void)
{
    return 0;
}

bool cpu_x86_brand(char brand[64])
{
    (void)brand;
    return false;
}

#endif
