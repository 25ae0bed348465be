#include "kernels/c/vector.h"

#define WINOGRAD_TIER c

#include "kernels/winograd_template.h"
