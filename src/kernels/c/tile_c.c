#include "kernels/c/vector.h"

#define TILE_SET tile_set_c

#include "kernels/c/tile_set_c.h"
