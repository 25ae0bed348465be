/* The tiles of a type for AVX-512: the including file has defined what tile_template.h wants, and
 * TILE_SET, the name of the set.
 *
 * Tiles of 24 sums in 32 registers: 4 × 6, 3 × 8, 2 × 12 and 1 × 24 blocks × pixels. A step of
 * 4 × 6 takes 10 loads for 24 multiply-adds, of 1 × 24 takes 25: that one is bound by its loads and
 * stays some percent behind. */
#include "kernels/x86/vector_avx512.h"

#include "kernels/tile_template.h"

TILES_24(TILE_FUNCTION, 1)
TILES_12(TILE_FUNCTION, 2)
TILES_8(TILE_FUNCTION, 3)
TILES_6(TILE_FUNCTION, 4)

static tile_function *const one_block[] = {TILES_24(TILE_ENTRY, 1)};
static tile_function *const two_blocks[] = {TILES_12(TILE_ENTRY, 2)};
static tile_function *const three_blocks[] = {TILES_8(TILE_ENTRY, 3)};
static tile_function *const four_blocks[] = {TILES_6(TILE_ENTRY, 4)};

const struct tile_set TILE_SET = {
    .type = TILE_TYPE,
    .max_blocks = 4,
    .max_pixels = {0, 24, 12, 8, 6},
    .functions = {NULL, one_block, two_blocks, three_blocks, four_blocks},
};
