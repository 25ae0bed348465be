#include "kernels/strips.h"

#include <string.h>

static int clamp(int value, int most)
{
    if (value < 0)
        return 0;
    return value < most ? value : most;
}

static void zero_columns(const struct blocked *out, int y, int block, int first, int last)
{
    if (first < last)
        memset(blocked_at(out, y, block, first), 0,
               (size_t)(last - first) * KERNEL_BLOCK * kernel_type_bytes(out->type));
}

void zero_around(const struct blocked *out, struct placed result, struct strip rows,
                 int first_block, int last_block)
{
    int left = clamp(result.x, out->width);
    int right = clamp(result.x + result.width, out->width);
    for (int y = rows.first; y < rows.last; y++) {
        bool beside = y >= result.y && y < result.y + result.height;
        for (int block = first_block; block < last_block; block++) {
            zero_columns(out, y, block, 0, beside ? left : out->width);
            if (beside)
                zero_columns(out, y, block, right, out->width);
        }
    }
    kernel_zero_border(out, rows.first, rows.last, first_block, last_block);
}
