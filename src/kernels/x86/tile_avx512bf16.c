/* The tiles of tile_avx512.c for bf16: a step takes as many loads and twice the products. */
#include "kernels/x86/vector_avx512.h"

typedef int input_word __attribute__((may_alias));

#define TILE_TYPE                         KERNEL_BF16
#define TILE_INPUT(p)                     ((__m512bh)_mm512_set1_epi32(*(const input_word *)(p)))
#define TILE_WEIGHT(p)                    ((__m512bh)_mm512_load_si512(p))
#define TILE_MULTIPLY_ADD(x, weight, sum) _mm512_dpbf16_ps(sum, weight, x)

#include "kernels/tile_template.h"

TILES_24(TILE_FUNCTION, 1)
TILES_12(TILE_FUNCTION, 2)
TILES_8(TILE_FUNCTION, 3)
TILES_6(TILE_FUNCTION, 4)

static tile_function *const one_block[] = {TILES_24(TILE_ENTRY, 1)};
static tile_function *const two_blocks[] = {TILES_12(TILE_ENTRY, 2)};
static tile_function *const three_blocks[] = {TILES_8(TILE_ENTRY, 3)};
static tile_function *const four_blocks[] = {TILES_6(TILE_ENTRY, 4)};

const struct tile_set tile_set_avx512bf16 = {
    .type = KERNEL_BF16,
    .max_blocks = 4,
    .max_pixels = {0, 24, 12, 8, 6},
    .functions = {NULL, one_block, two_blocks, three_blocks, four_blocks},
};
