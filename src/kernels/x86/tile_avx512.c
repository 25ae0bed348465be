#define TILE_SET tile_set_avx512

#include "kernels/x86/tile_set_avx512.h"
