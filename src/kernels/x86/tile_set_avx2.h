/* The tiles of a type for AVX2: the including file has defined what tile_template.h wants, and
 * TILE_SET, the name of the set.
 *
 * One block is two of AVX2's registers; 6 pixels make 12 sums of its 16. A step takes 8 loads for
 * 12 multiply-adds. Two blocks × 3 pixels would need 17 registers. A type whose products need
 * registers of their own defines TILE_PIXELS: 4. */
#include "kernels/x86/vector_avx2.h"

#include "kernels/tile_template.h"

#ifndef TILE_PIXELS
#define TILE_PIXELS 6
#endif
#define TILES_OF(n)    TILES_##n
#define TILES_UP_TO(n) TILES_OF(n)

TILES_UP_TO(TILE_PIXELS)
(TILE_FUNCTION, 1)

    static tile_function *const one_block[] = {TILES_UP_TO(TILE_PIXELS)(TILE_ENTRY, 1)};

const struct tile_set TILE_SET = {
    .type = TILE_TYPE,
    .max_blocks = 1,
    .max_pixels = {0, TILE_PIXELS},
    .functions = {NULL, one_block},
};
