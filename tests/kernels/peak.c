/* The machine's rate of multiply-adds on registers, which a kernel's rate is a share of. */
#include "driver.h"

#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define STEPS 20000
/* Independent sums: more than latency × multiply-adds a cycle of any machine, fewer than registers. */
#define SUMS  12

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Hides the value of v from the compiler. */
#define OPAQUE(v, register_class) __asm__ volatile("" : "+" register_class(v))

#define PEAK_LOOP(VECTOR, SET, FMA, REGISTER)                                                      \
    VECTOR sum[SUMS], a = SET(0.999f), b = SET(0.001f);                                            \
    for (int i = 0; i < SUMS; i++)                                                                 \
        sum[i] = SET(0.5f);                                                                        \
    for (int step = 0; step < STEPS; step++) {                                                     \
        OPAQUE(a, REGISTER);                                                                       \
        sum[0] = FMA(sum[0], a, b), sum[1] = FMA(sum[1], a, b), sum[2] = FMA(sum[2], a, b);        \
        sum[3] = FMA(sum[3], a, b), sum[4] = FMA(sum[4], a, b), sum[5] = FMA(sum[5], a, b);        \
        sum[6] = FMA(sum[6], a, b), sum[7] = FMA(sum[7], a, b), sum[8] = FMA(sum[8], a, b);        \
        sum[9] = FMA(sum[9], a, b), sum[10] = FMA(sum[10], a, b), sum[11] = FMA(sum[11], a, b);    \
    }                                                                                              \
    for (int i = 0; i < SUMS; i++)                                                                 \
        OPAQUE(sum[i], REGISTER)

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void loop_avx512(void)
{
    PEAK_LOOP(__m512, _mm512_set1_ps, _mm512_fmadd_ps, "v");
}

__attribute__((target("avx2,fma"))) static void loop_avx2(void)
{
    PEAK_LOOP(__m256, _mm256_set1_ps, _mm256_fmadd_ps, "x");
}

#define SSE_MULTIPLY_ADD(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)

static void loop_c(void)
{
    PEAK_LOOP(__m128, _mm_set1_ps, SSE_MULTIPLY_ADD, "x");
}
#endif

double peak_flops(enum cpu_tier tier)
{
#if defined(__x86_64__)
    static const struct {
        void (*loop)(void);
        int lanes;
    } loops[CPU_TIER_COUNT] = {
        [CPU_TIER_C] = {loop_c, 4},
        [CPU_TIER_AVX2] = {loop_avx2, 8},
        [CPU_TIER_AVX512] = {loop_avx512, 16},
    };
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        double start = seconds_now();
        loops[tier].loop();
        double time = seconds_now() - start;
        best = time < best ? time : best;
    }
    return 2.0 * SUMS * STEPS * loops[tier].lanes / best;
#else
    (void)tier;
    return 0.0;
#endif
}
