/* bf16, taken apart into floats as they are read. */
#include "kernels/c/bf16_words.h"

#define TILE_SET                          tile_set_bf16_c
#define TILE_TYPE                         KERNEL_BF16
#define TILE_INPUT(p)                     words_broadcast(p)
#define TILE_WEIGHT(p)                    words_load(p)
#define TILE_MULTIPLY_ADD(x, weight, sum) words_multiply_add(x, weight, sum)

#include "kernels/c/tile_set_c.h"
