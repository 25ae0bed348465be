/* The tiles of a type for plain C: the including file has defined what tile_template.h wants, and
 * TILE_SET, the name of the set.
 *
 * In vectors of 4 floats a block is four; two pixels make 8 sums, which with the 4 weights and x
 * fit the 16 registers of SSE2. */
#include "kernels/tile_template.h"

TILES_2(TILE_FUNCTION, 1)

static tile_function *const one_block[] = {TILES_2(TILE_ENTRY, 1)};

const struct tile_set TILE_SET = {
    .type = TILE_TYPE,
    .max_blocks = 1,
    .max_pixels = {0, 2},
    .functions = {NULL, one_block},
};
