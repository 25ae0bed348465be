#include "kernels/c/u8_words.h"

#define TILE_SET                          tile_set_u8_c
#define TILE_TYPE                         KERNEL_U8
#define TILE_INPUT(p)                     u8_words_broadcast(p)
#define TILE_WEIGHT(p)                    u8_words_load(p)
#define TILE_MULTIPLY_ADD(x, weight, sum) u8_words_multiply_add(x, weight, sum)
#define TILE_SUM                          whole4
#define TILE_SUM_TO_FLOAT(sum)            u8_words_to_float(sum)

#include "kernels/c/tile_set_c.h"
