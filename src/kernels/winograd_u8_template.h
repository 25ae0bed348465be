/* The input transforms of winograd.h for tensors of bytes in 16-bit integers; a part of
 * winograd_template.h. The including file defines WORDS, a vector of WORDS_LANES int16_t,
 * words_load(p): as many bytes, widened, and words_share(x, c): x · c / 2¹⁵, rounded, halves up.
 *
 * A pixel of a block is 16 lanes. A vector of 32 is two of them: the first pass, down the columns,
 * takes neighbours, the second one the same column of two neighbouring tiles, which
 * words_first(a, b) and words_second(a, b) put together from the first or second pixels of a and b.
 *
 * No sum on the way leaves 16 bits. m = 2 and 4 are exact: in the second pass of m = 4 each of up
 * to 2,040 is taken 14 times at most. m = 6 is exact in the first pass, whose rows are four times
 * Bᵀ's (those of ±2 eight times): up to 8,670. The second pass divides by four again and rounds as
 * it goes, by less than 1.25 in all. */
#ifndef UNET_KERNELS_WINOGRAD_U8_TEMPLATE_H
#define UNET_KERNELS_WINOGRAD_U8_TEMPLATE_H

/* Pixels in a vector, and so tiles that the second pass does at once. */
#define WORDS_PIXELS (WORDS_LANES > KERNEL_BLOCK ? WORDS_LANES / KERNEL_BLOCK : 1)

/* The lanes of a pixel that a vector holds. */
#define PIXEL_LANES (WORDS_LANES / WORDS_PIXELS)

WINOGRAD_INLINE void words_2(const WORDS *d, WORDS *v)
{
    v[0] = d[2] - d[0];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
}

WINOGRAD_INLINE void words_4(const WORDS *d, WORDS *v)
{
    WORDS even = d[4] - d[2], odd = d[3] - d[1];
    WORDS even2 = even + even, odd2 = odd + odd;
    WORDS p = even2 + (d[3] + d[3] + d[3]), q = odd2 + (d[2] + d[2] + d[2]);
    WORDS first = d[0] - d[2], last = d[5] - d[3];
    v[0] = (first + first) + (even2 + (odd2 + odd));
    v[1] = p + q;
    v[2] = p - q;
    v[3] = even + odd2;
    v[4] = even2 - odd;
    v[5] = (last + last) + ((even2 + even) - odd2);
}

/* The first pass of m = 6. */
WINOGRAD_INLINE void words_6_down(const WORDS *d, WORDS *v)
{
    WORDS a = d[2] - d[4], b = d[6] - d[4], c = d[1] - d[3], e = d[5] - d[3];
    v[0] = a * 21 + (d[6] - d[0]) * 4;
    v[7] = (d[7] - d[1]) * 4 - e * 21;
    WORDS even = (d[2] + d[6]) * 4 - d[4] * 17, odd = (d[1] + d[5]) * 4 - d[3] * 17;
    v[1] = even + odd;
    v[2] = even - odd;
    even = (b * 4 + a) * 2;
    odd = (e * 4 + c) * 4;
    v[3] = even + odd;
    v[4] = even - odd;
    even = (a * 4 + b) * 4;
    odd = (c * 4 + e) * 2;
    v[5] = even + odd;
    v[6] = even - odd;
}

/* The second one. */
WINOGRAD_INLINE void words_6_along(const WORDS *d, WORDS *v)
{
    const int16_t half = 1 << 14, quarter = 1 << 13, sixteenth = 1 << 11;
    WORDS a = d[2] - d[4], b = d[6] - d[4], c = d[1] - d[3], e = d[5] - d[3];
    v[0] = a + words_share(a + (d[6] - d[0]), quarter) + words_share(a, sixteenth);
    v[7] = words_share((d[7] - d[1]) - e, quarter) - e - words_share(e, sixteenth);
    WORDS even = words_share(d[2] + d[6] - words_share(d[4], quarter), quarter) - d[4];
    WORDS odd = words_share(d[1] + d[5] - words_share(d[3], quarter), quarter) - d[3];
    v[1] = even + odd;
    v[2] = even - odd;
    even = words_share(b + words_share(a, quarter), half);
    odd = e + words_share(c, quarter);
    v[3] = even + odd;
    v[4] = even - odd;
    even = a + words_share(b, quarter);
    odd = words_share(c + words_share(e, quarter), half);
    v[5] = even + odd;
    v[6] = even - odd;
}

WINOGRAD_INLINE void words_line(int out, bool down, const WORDS *d, WORDS *v)
{
    if (out == 2)
        words_2(d, v);
    else if (out == 4)
        words_4(d, v);
    else if (down)
        words_6_down(d, v);
    else
        words_6_along(d, v);
}

WINOGRAD_INLINE void words_store(int16_t *to, WORDS v)
{
    *(WORDS *)(void *)to = v;
}

WINOGRAD_INLINE WORDS words_again(const int16_t *from)
{
    return *(const WORDS *)(const void *)from;
}

/* Bytes that wait to be loaded as a vector: those of columns past the border are the border's. */
WINOGRAD_INLINE const uint8_t *edge_pixels(const uint8_t *row, int column, int width, uint8_t *copy)
{
    for (int i = 0; i < WORDS_PIXELS; i++) {
        int at = column + i < width ? column + i : width;
        memcpy(copy + i * PIXEL_LANES, row + (ptrdiff_t)at * KERNEL_BLOCK, PIXEL_LANES);
    }
    return copy;
}

/* Down WORDS_PIXELS columns: to[i · WORDS_LANES]. */
WINOGRAD_INLINE void words_column(int out, const uint8_t *const *rows, int column, int width,
                                  bool edge, ptrdiff_t ahead, int16_t *to)
{
    const int patch = winograd_patch(out);
    WORDS d[WINOGRAD_MOST_PATCH], v[WINOGRAD_MOST_PATCH];
    WINOGRAD_UNROLL
    for (int i = 0; i < patch; i++) {
        uint8_t copy[WORDS_LANES] __attribute__((aligned(WORDS_LANES)));
        const uint8_t *from = rows[i] + (ptrdiff_t)column * KERNEL_BLOCK;
        d[i] = words_load(edge ? edge_pixels(rows[i], column, width, copy) : from);
        if (!edge)
            __builtin_prefetch(from + ahead);
    }
    words_line(out, true, d, v);
    WINOGRAD_UNROLL
    for (int i = 0; i < patch; i++)
        words_store(to + i * WORDS_LANES, v[i]);
}

/* Down the columns of a run. Where a tile is missing in the last vectors of the second pass, that
 * takes zeros from behind them, and does not store what they become. */
WINOGRAD_INLINE void words_columns(int out, const struct blocked *source, int block,
                                   struct winograd_run run, int lane, ptrdiff_t ahead,
                                   int16_t *columns)
{
    const int patch = winograd_patch(out);
    const uint8_t *rows[WINOGRAD_MOST_PATCH];
    for (int i = 0; i < patch; i++) {
        int y = run.y * out - 1 + i;
        y = y < source->height ? y : source->height;
        rows[i] = (const uint8_t *)blocked_at(source, y, block, 0) + lane;
    }
    int column = run.x * out - 1, end = column + run.tiles * out + WINOGRAD_TAPS - 1;
    for (; column < end; column += WORDS_PIXELS, columns += patch * WORDS_LANES) {
        if (column + WORDS_PIXELS - 1 <= source->width)
            words_column(out, rows, column, source->width, false, ahead, columns);
        else
            words_column(out, rows, column, source->width, true, ahead, columns);
    }
    if (run.tiles % WORDS_PIXELS != 0)
        memset(columns, 0, (size_t)(out / WORDS_PIXELS * patch * WORDS_LANES) * sizeof *columns);
}

/* Row i of the patches of WORDS_PIXELS neighbouring tiles. */
WINOGRAD_INLINE void words_row(int out, const int16_t *columns, int i, WORDS *d)
{
    const int patch = winograd_patch(out), step = patch * WORDS_LANES;
    columns += i * WORDS_LANES;
#if WORDS_LANES > 16
    WINOGRAD_UNROLL
    for (int j = 0; j < patch; j += 2) {
        WORDS near = words_again(columns + j / 2 * step);
        WORDS far = words_again(columns + (j + out) / 2 * step);
        d[j] = words_first(near, far);
        d[j + 1] = words_second(near, far);
    }
#else
    WINOGRAD_UNROLL
    for (int j = 0; j < patch; j++)
        d[j] = words_again(columns + j * step);
#endif
}

/* Along the rows of WORDS_PIXELS tiles; only half of each vector is stored where one is not
 * there. */
WINOGRAD_INLINE void words_tiles(int out, const int16_t *columns, bool half, int16_t *to,
                                 size_t position_stride)
{
    const int patch = winograd_patch(out);
    WINOGRAD_UNROLL
    for (int i = 0; i < patch; i++) {
        WORDS d[WINOGRAD_MOST_PATCH], v[WINOGRAD_MOST_PATCH];
        words_row(out, columns, i, d);
        words_line(out, false, d, v);
        WINOGRAD_UNROLL
        for (int j = 0; j < patch; j++) {
            if (half)
                memcpy(to + (size_t)j * position_stride, &v[j], KERNEL_BLOCK * sizeof *to);
            else
                words_store(to + (size_t)j * position_stride, v[j]);
        }
        to += (size_t)patch * position_stride;
        WINOGRAD_OPAQUE(to);
    }
}

WINOGRAD_INLINE void words_rows(int out, const int16_t *columns, int tiles, int16_t *to,
                                size_t position_stride)
{
    const int step = out * winograd_patch(out) * WORDS_LANES; /* WORDS_PIXELS tiles on */
    for (; tiles >= WORDS_PIXELS; tiles -= WORDS_PIXELS, columns += step) {
        words_tiles(out, columns, false, to, position_stride);
        to += WORDS_PIXELS * KERNEL_BLOCK;
    }
    if (tiles > 0)
        words_tiles(out, columns, true, to, position_stride);
}

WINOGRAD_INLINE void input_transform(int out, const struct blocked *source, int block,
                                     struct winograd_run run, float *columns, float *words,
                                     size_t position_stride)
{
    const size_t word = sizeof *words / sizeof(int16_t);
    int16_t *to = (int16_t *)(void *)words, *halves = (int16_t *)(void *)columns;
    /* An even number: vectors hold two tiles, and words are half of what `columns` has room for. */
    const int most = out == 6 ? 2 * (WINOGRAD_RUN_COLUMNS / out) : WINOGRAD_RUN_COLUMNS / out;
    ptrdiff_t ahead = PREFETCH_ELEMENTS;
    if (out == 6)
        ahead = block + 1 < kernel_blocks(source->channels)
                    ? (ptrdiff_t)source->block_stride
                    : (ptrdiff_t)run.tiles * out * KERNEL_BLOCK -
                          (ptrdiff_t)block * (ptrdiff_t)source->block_stride;
    while (run.tiles > 0) {
        struct winograd_run part = run;
        if (part.tiles > most)
            part.tiles = most;
        for (int lane = 0; lane < KERNEL_BLOCK; lane += PIXEL_LANES) {
            words_columns(out, source, block, part, lane, ahead, halves);
            words_rows(out, halves, part.tiles, to + lane, position_stride * word);
        }
        run.x += part.tiles;
        run.tiles -= part.tiles;
        to += (size_t)part.tiles * KERNEL_BLOCK;
    }
}

#endif
