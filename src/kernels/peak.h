/* The machine's rate of multiply-adds on registers alone, which a kernel's rate is a share of. */
#ifndef UNET_KERNELS_PEAK_H
#define UNET_KERNELS_PEAK_H

#include "base/threads.h"
#include "kernels/kernel.h"

/* By instruction: each tier's float32, then what goes beyond. */
enum peak {
    PEAK_C = CPU_TIER_C,
    PEAK_AVX2 = CPU_TIER_AVX2,
    PEAK_AVX512 = CPU_TIER_AVX512,
    PEAK_AVX512_BF16,
    PEAK_AMX_BF16,
    PEAK_AMX_INT8,
    PEAK_U8_AVX2, /* vpmaddwd and the addition that goes with it */
    PEAK_AVX_VNNI,
    PEAK_AVX512_VNNI,
    PEAK_COUNT
};

enum peak peak_of(const struct kernel *kernel);
bool peak_is_here(enum peak peak);

/* Multiply-adds · 2 a second of the calling thread, the best of some short loops: about 2 ms. 0
 * where this library has no loop for the machine. */
double peak_flops(enum peak peak);

/* The same rate of bfloat16 as a share of float32's, by the best instructions that the machine has and
 * UNET_CPU leaves: 2 on a Zen 5, 6 and more with AMX and, to go by whole networks, less than 1 on a
 * Xeon whose AMX is masked. 0: there are none. */
double peak_bf16_share(void);

/* Of all threads of the pool at once, summed up. */
double peak_flops_of_all(struct thread_pool *pool, enum peak peak);

#endif
