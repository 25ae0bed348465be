#include "kernels/c/i16_words.h"

#define TILE_SET                          tile_set_i16_c
#define TILE_TYPE                         KERNEL_U8
#define TILE_WORD_CHANNELS                2
#define TILE_INPUT(p)                     i16_words_broadcast(p)
#define TILE_WEIGHT(p)                    i16_words_load(p)
#define TILE_MULTIPLY_ADD(x, weight, sum) i16_words_multiply_add(x, weight, sum)
#define TILE_SUM                          i16_sums
#define TILE_SUM_TO_FLOAT(sum)            __builtin_convertvector(sum, vector4)

#include "kernels/c/tile_set_c.h"
