/* The transforms of winograd.h for tensors of bytes. */
#include "kernels/c/vector.h"

typedef int16_t words8 __attribute__((vector_size(16), may_alias));

static inline words8 words_load(const uint8_t *p)
{
    return (words8){p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]};
}

static inline words8 words_share(words8 x, int16_t c)
{
    for (int lane = 0; lane < 8; lane++)
        x[lane] = (int16_t)((x[lane] * c + (1 << 14)) >> 15);
    return x;
}

#define WORDS       words8
#define WORDS_LANES 8

#define WINOGRAD_TIER         u8_c
#define WINOGRAD_TYPE         KERNEL_U8
#define WINOGRAD_ELEMENT      uint8_t
#define WINOGRAD_STORE(p, v)  vector_store_u8(p, v)
#define WINOGRAD_STREAM(p, v) vector_store_u8(p, v)

#include "kernels/winograd_template.h"
