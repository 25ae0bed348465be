#include "kernels/strips.h"

static int clamp(int value, int most)
{
    if (value < 0)
        return 0;
    return value < most ? value : most;
}

void zero_around(const struct blocked *out, struct placed result, struct strip rows,
                 int first_block, int last_block)
{
    int left = clamp(result.x, out->width);
    int right = clamp(result.x + result.width, out->width);
    for (int y = rows.first; y < rows.last; y++) {
        bool beside = y >= result.y && y < result.y + result.height;
        for (int block = first_block; block < last_block; block++) {
            kernel_zero_pixels(out, y, block, 0, beside ? left : out->width);
            if (beside)
                kernel_zero_pixels(out, y, block, right, out->width - right);
        }
    }
    kernel_zero_border(out, rows.first, rows.last, first_block, last_block);
}
