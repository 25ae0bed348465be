#include "model/tensor_copy.h"

#include <string.h>

/* How many of the last sides lie contiguously, and in *run the values they hold together. */
static int contiguous_sides(int rank, const int64_t *shape, const int64_t *stride, int64_t *run)
{
    int sides = 0;
    *run = 1;
    while (sides < rank) {
        int i = rank - 1 - sides;
        if (shape[i] != 1 && stride[i] != *run) /* a side of 1 is never stepped along */
            break;
        *run *= shape[i];
        sides++;
    }
    return sides;
}

#define COPY_ROW(type)                                                                             \
    for (int64_t i = 0; i < count; i++)                                                            \
        memcpy(to + i * (int64_t)sizeof(type), from + i * step * (int64_t)sizeof(type),            \
               sizeof(type));                                                                      \
    break

static void copy_row(const uint8_t *from, int64_t step, int64_t count, size_t size, uint8_t *to)
{
    switch (size) {
    case 1:
        COPY_ROW(uint8_t);
    case 2:
        COPY_ROW(uint16_t);
    case 4:
        COPY_ROW(uint32_t);
    default:
        COPY_ROW(uint64_t);
    }
}

/* Steps the counters of the outer sides like an odometer; returns the view's next offset. */
static int64_t advance(int outer, const int64_t *shape, const int64_t *stride, int64_t *at,
                       int64_t offset)
{
    for (int i = outer - 1; i >= 0; i--) {
        if (++at[i] < shape[i])
            return offset + stride[i];
        offset -= (shape[i] - 1) * stride[i];
        at[i] = 0;
    }
    return offset;
}

void tensor_copy_strided(const uint8_t *from, int rank, const int64_t *shape, const int64_t *stride,
                         int64_t count, size_t size, uint8_t *to)
{
    if (count == 0)
        return;
    int64_t run, at[UNET_MAX_RANK] = {0}, offset = 0, step = 1;
    int outer = rank - contiguous_sides(rank, shape, stride, &run);
    if (run == 1 && outer > 0) { /* nothing is contiguous: the last of them is copied with a step */
        outer--;
        run = shape[outer];
        step = stride[outer];
    }
    for (int64_t done = 0; done < count; done += run) {
        const uint8_t *row = from + (size_t)offset * size;
        if (step == 1)
            memcpy(to + (size_t)done * size, row, (size_t)run * size);
        else
            copy_row(row, step, run, size, to + (size_t)done * size);
        offset = advance(outer, shape, stride, at, offset);
    }
}
