#include "kernels/c/vector.h"

#define WINOGRAD_OPS winograd_ops_c

#include "kernels/winograd_template.h"
