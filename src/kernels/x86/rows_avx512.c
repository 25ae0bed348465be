#include "kernels/x86/transpose_avx512.h"
#include "kernels/x86/vector_avx512.h"

#define ROW_OPS row_ops_avx512

#include "kernels/c/rows_template.h"
