#define TILE_SET tile_set_avx2

#include "kernels/x86/tile_set_avx2.h"
