#include "kernels/x86/vector_avx2.h"

#define WINOGRAD_TIER avx2

#include "kernels/winograd_template.h"
