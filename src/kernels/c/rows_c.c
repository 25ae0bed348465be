#include "kernels/c/vector.h"

#include <stddef.h>

#define ROW_OPS row_ops_c

static inline void transpose16(float *to, const float *from, size_t from_stride)
{
    for (int j = 0; j < 16; j++)
        for (int i = 0; i < 16; i++)
            to[j * 16 + i] = from[(size_t)i * from_stride + j];
}

#include "kernels/c/rows_template.h"
