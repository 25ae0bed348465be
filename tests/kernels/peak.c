/* The machine's rate of multiply-adds on registers, which a kernel's rate is a share of. */
#include "driver.h"

#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define STEPS 20000
/* Independent sums: more than latency × multiply-adds a cycle of any machine, fewer than registers. A
 * Zen 5 takes 6 cycles for a pair of bf16, twice in each: 12 sums would reach 93% of its peak. */
#define SUMS      12
#define MANY_SUMS 24

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Hides the value of v from the compiler. */
#define OPAQUE(v, register_class) __asm__ volatile("" : "+" register_class(v))

#ifdef __clang__
#define UNROLL_SUMS _Pragma("clang loop unroll(full)")
#else
#define UNROLL_SUMS _Pragma("GCC unroll 24")
#endif

#define PEAK_LOOP(SUMS, VECTOR, SET, FMA, REGISTER)                                                \
    VECTOR sum[SUMS], a = SET(0.999f), b = SET(0.001f);                                            \
    for (int i = 0; i < SUMS; i++)                                                                 \
        sum[i] = SET(0.5f);                                                                        \
    for (int step = 0; step < STEPS; step++) {                                                     \
        OPAQUE(a, REGISTER);                                                                       \
        UNROLL_SUMS                                                                                \
        for (int i = 0; i < SUMS; i++)                                                             \
            sum[i] = FMA(sum[i], a, b);                                                            \
    }                                                                                              \
    for (int i = 0; i < SUMS; i++)                                                                 \
        OPAQUE(sum[i], REGISTER)

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void loop_avx512(void)
{
    PEAK_LOOP(MANY_SUMS, __m512, _mm512_set1_ps, _mm512_fmadd_ps, "v");
}

__attribute__((target("avx2,fma"))) static void loop_avx2(void)
{
    PEAK_LOOP(SUMS, __m256, _mm256_set1_ps, _mm256_fmadd_ps, "x");
}

#define BF16_MULTIPLY_ADD(sum, a, b) _mm512_dpbf16_ps(sum, (__m512bh)(a), (__m512bh)(b))

__attribute__((target("avx512f,avx512bf16"))) static void loop_bf16(void)
{
    PEAK_LOOP(MANY_SUMS, __m512, _mm512_set1_ps, BF16_MULTIPLY_ADD, "v");
}

#define SSE_MULTIPLY_ADD(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)

static void loop_c(void)
{
    PEAK_LOOP(SUMS, __m128, _mm_set1_ps, SSE_MULTIPLY_ADD, "x");
}
#endif

enum peak peak_of(const struct kernel *kernel)
{
    return kernel->features & CPU_AVX512_BF16 ? PEAK_AVX512_BF16 : (enum peak)kernel->tier;
}

bool peak_is_here(enum peak peak)
{
    if (peak == PEAK_AVX512_BF16)
        return (cpu_features() & CPU_AVX512_BF16) != 0;
    return (int)peak <= (int)cpu_tier_detected();
}

double peak_flops(enum peak peak)
{
#if defined(__x86_64__)
    static const struct {
        void (*loop)(void);
        int products; /* a step */
    } loops[PEAK_COUNT] = {
        [PEAK_C] = {loop_c, SUMS * 4},
        [PEAK_AVX2] = {loop_avx2, SUMS * 8},
        [PEAK_AVX512] = {loop_avx512, MANY_SUMS * 16},
        [PEAK_AVX512_BF16] = {loop_bf16, MANY_SUMS * 32},
    };
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        double start = seconds_now();
        loops[peak].loop();
        double time = seconds_now() - start;
        best = time < best ? time : best;
    }
    return 2.0 * STEPS * loops[peak].products / best;
#else
    (void)peak;
    return 0.0;
#endif
}
