#include "kernels/peak.h"

#include "base/clock.h"
#include "kernels/amx.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define REPETITIONS 5
#define STEPS       20000
/* Independent sums: more than latency × multiply-adds a cycle of any machine, fewer than registers.
 * A Zen 5 takes 6 cycles for a pair of bf16, twice in each: 12 sums would reach 93% of its peak. */
#define SUMS      12
#define MANY_SUMS 24
#define AMX_STEPS 2000

/* Hides the value of v from the compiler. */
#define OPAQUE(v, register_class) __asm__ volatile("" : "+" register_class(v))

#ifdef __clang__
#define UNROLL_SUMS _Pragma("clang loop unroll(full)")
#else
#define UNROLL_SUMS _Pragma("GCC unroll 24")
#endif

#define PEAK_LOOP(SUMS, VECTOR, SET, FMA, REGISTER)                                                \
    VECTOR sum[SUMS], a = SET(0.999f), b = SET(0.001f);                                            \
    UNROLL_SUMS                                                                                    \
    for (int i = 0; i < SUMS; i++) {                                                               \
        sum[i] = SET(0.5f);                                                                        \
        OPAQUE(sum[i], REGISTER);                                                                  \
    }                                                                                              \
    for (int step = 0; step < STEPS; step++) {                                                     \
        OPAQUE(a, REGISTER);                                                                       \
        UNROLL_SUMS                                                                                \
        for (int i = 0; i < SUMS; i++)                                                             \
            sum[i] = FMA(sum[i], a, b);                                                            \
    }                                                                                              \
    UNROLL_SUMS                                                                                    \
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

/* Whole numbers under the type of floats: gcc 12 stores arrays of __m512i in each step. */
#define WHOLE_MULTIPLY_ADD(name, VECTOR, REGISTER, instructions)                                   \
    static inline VECTOR name(VECTOR sum, VECTOR a, VECTOR b)                                      \
    {                                                                                              \
        __asm__(instructions : "+" REGISTER(sum) : REGISTER(a), REGISTER(b));                      \
        return sum;                                                                                \
    }

__attribute__((target("avx512f"))) WHOLE_MULTIPLY_ADD(bytes_512, __m512, "v", "vpdpbusd %2, %1, %0")
    __attribute__((target("avx2")))
    WHOLE_MULTIPLY_ADD(bytes_256, __m256, "x", "%{vex%} vpdpbusd %2, %1, %0")
        __attribute__((target("avx2")))
        WHOLE_MULTIPLY_ADD(pairs_256, __m256, "x", "vpmaddwd %1, %0, %0\n\tvpaddd %2, %0, %0")

            __attribute__((target("avx512f"))) static void loop_avx512vnni(void)
{
    PEAK_LOOP(MANY_SUMS, __m512, _mm512_set1_ps, bytes_512, "v");
}

__attribute__((target("avx2"))) static void loop_avxvnni(void)
{
    PEAK_LOOP(SUMS, __m256, _mm256_set1_ps, bytes_256, "x");
}

__attribute__((target("avx2"))) static void loop_u8_avx2(void)
{
    PEAK_LOOP(SUMS, __m256, _mm256_set1_ps, pairs_256, "x");
}

/* The factors, registers 4 and 5, are zeros, which take the unit as long as other numbers. */
#define AMX_LOOP(instruction)                                                                      \
    amx_ops_bf16.begin();                                                                          \
    for (int step = 0; step < AMX_STEPS; step++)                                                   \
        __asm__ volatile(instruction " %%tmm5, %%tmm4, %%tmm0\n\t" instruction                     \
                                     " %%tmm5, %%tmm4, %%tmm1\n\t" instruction                     \
                                     " %%tmm5, %%tmm4, %%tmm2\n\t" instruction                     \
                                     " %%tmm5, %%tmm4, %%tmm3"                                     \
                         :                                                                         \
                         :);                                                                       \
    amx_ops_bf16.end()

__attribute__((target("amx-tile,amx-bf16"))) static void loop_amx_bf16(void)
{
    AMX_LOOP("tdpbf16ps");
}

__attribute__((target("amx-tile,amx-int8"))) static void loop_amx_int8(void)
{
    AMX_LOOP("tdpbusd");
}

#define SSE_MULTIPLY_ADD(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)

static void loop_c(void)
{
    PEAK_LOOP(SUMS, __m128, _mm_set1_ps, SSE_MULTIPLY_ADD, "x");
}
#endif

enum peak peak_of(const struct kernel *kernel)
{
    if (kernel->features & CPU_AMX_TILE)
        return kernel->features & CPU_AMX_INT8 ? PEAK_AMX_INT8 : PEAK_AMX_BF16;
    if (kernel->features & CPU_AVX512_VNNI)
        return PEAK_AVX512_VNNI;
    if (kernel->features & CPU_AVX_VNNI)
        return PEAK_AVX_VNNI;
    if (kernel->fast_type == KERNEL_U8 && kernel->tier == CPU_TIER_AVX2)
        return PEAK_U8_AVX2;
    return kernel->features & CPU_AVX512_BF16 ? PEAK_AVX512_BF16 : (enum peak)kernel->tier;
}

bool peak_is_here(enum peak peak)
{
    if (peak == PEAK_AMX_BF16)
        return (cpu_features() & CPU_AMX_BF16) != 0;
    if (peak == PEAK_AMX_INT8)
        return (cpu_features() & CPU_AMX_INT8) != 0;
    if (peak == PEAK_AVX512_BF16)
        return (cpu_features() & CPU_AVX512_BF16) != 0;
    if (peak == PEAK_AVX512_VNNI)
        return (cpu_features() & CPU_AVX512_VNNI) != 0;
    if (peak == PEAK_AVX_VNNI)
        return (cpu_features() & CPU_AVX_VNNI) != 0;
    enum cpu_tier tier = peak == PEAK_U8_AVX2 ? CPU_TIER_AVX2 : (enum cpu_tier)peak;
    return tier <= cpu_tier_detected();
}

double peak_flops(enum peak peak)
{
#if defined(__x86_64__)
    static const struct {
        void (*loop)(void);
        double products;
    } loops[PEAK_COUNT] = {
        [PEAK_C] = {loop_c, 1.0 * STEPS * SUMS * 4},
        [PEAK_AVX2] = {loop_avx2, 1.0 * STEPS * SUMS * 8},
        [PEAK_AVX512] = {loop_avx512, 1.0 * STEPS * MANY_SUMS * 16},
        [PEAK_AVX512_BF16] = {loop_bf16, 1.0 * STEPS * MANY_SUMS * 32},
        [PEAK_U8_AVX2] = {loop_u8_avx2, 1.0 * STEPS * SUMS * 16},
        [PEAK_AVX_VNNI] = {loop_avxvnni, 1.0 * STEPS * SUMS * 32},
        [PEAK_AVX512_VNNI] = {loop_avx512vnni, 1.0 * STEPS * MANY_SUMS * 64},
        [PEAK_AMX_BF16] = {loop_amx_bf16, 1.0 * AMX_STEPS * 4 * 16 * 16 * 32},
        [PEAK_AMX_INT8] = {loop_amx_int8, 1.0 * AMX_STEPS * 4 * 16 * 16 * 64},
    };
    double best = 1e9;
    for (int i = 0; i < REPETITIONS; i++) {
        double start = clock_seconds();
        loops[peak].loop();
        double time = clock_seconds() - start;
        best = time < best ? time : best;
    }
    return 2.0 * loops[peak].products / best;
#else
    (void)peak;
    return 0.0;
#endif
}

double peak_bf16_share(void)
{
    uint32_t features = cpu_features_allowed();
    if (!(features & (CPU_AMX_BF16 | CPU_AVX512_BF16)))
        return 0.0;
    enum peak bf16 = features & CPU_AMX_BF16 ? PEAK_AMX_BF16 : PEAK_AVX512_BF16;
    return peak_flops(bf16) / peak_flops(PEAK_AVX512);
}

struct peak_call {
    enum peak peak;
    double flops[THREADS_MOST];
};

static void measure_thread(void *context, int task, int thread)
{
    (void)thread;
    struct peak_call *call = context;
    call->flops[task] = peak_flops(call->peak);
}

double peak_flops_of_all(struct thread_pool *pool, enum peak peak)
{
    struct peak_call call = {.peak = peak};
    int threads = thread_pool_size(pool);
    thread_pool_run(pool, threads, measure_thread, &call);
    double sum = 0.0;
    for (int i = 0; i < threads; i++)
        sum += call.flops[i];
    return sum;
}
