/* The transforms of winograd.h for tensors of bytes. */
#include "kernels/c/vector.h"

typedef int16_t words8 __attribute__((vector_size(16), may_alias));

static inline words8 words_load(const uint8_t *p)
{
    return (words8){p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]};
}

/* Adding 3 · 2²² rounds to the nearest even, as machines do. */
static inline void words_round(int16_t *p, vector4 v)
{
    const vector4 large = vector_broadcast(12582912.0f);
    vector4 rounded = v + large - large;
    for (int lane = 0; lane < VECTOR_LANES; lane++)
        p[lane] = (int16_t)(int)rounded[lane];
}

#define WORDS       words8
#define WORDS_LANES 8

#define WINOGRAD_TIER         u8_c
#define WINOGRAD_TYPE         KERNEL_U8
#define WINOGRAD_ELEMENT      uint8_t
#define WINOGRAD_STORE(p, v)  vector_store_u8(p, v)
#define WINOGRAD_STREAM(p, v) vector_store_u8(p, v)

#define WINOGRAD_V             int16_t
#define WINOGRAD_LOAD(p)       vector_load_u8(p)
#define WINOGRAD_STORE_V(p, v) words_round(p, v)

#include "kernels/winograd_template.h"
