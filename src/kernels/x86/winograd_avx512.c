#include "kernels/x86/vector_avx512.h"

#define WINOGRAD_OPS winograd_ops_avx512

#include "kernels/winograd_template.h"
