#include "kernels/x86/vector_avx512.h"

#define WINOGRAD_TIER avx512

#include "kernels/winograd_template.h"
