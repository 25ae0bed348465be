/* The tiles of tile_c.c for bf16, taken apart into floats as they are read. */
#include "kernels/c/bf16_words.h"

#define TILE_TYPE                         KERNEL_BF16
#define TILE_INPUT(p)                     words_broadcast(p)
#define TILE_WEIGHT(p)                    words_load(p)
#define TILE_MULTIPLY_ADD(x, weight, sum) words_multiply_add(x, weight, sum)

#include "kernels/tile_template.h"

TILES_2(TILE_FUNCTION, 1)

static tile_function *const one_block[] = {TILES_2(TILE_ENTRY, 1)};

const struct tile_set tile_set_bf16_c = {
    .type = KERNEL_BF16,
    .max_blocks = 1,
    .max_pixels = {0, 2},
    .functions = {NULL, one_block},
};
