/* What float32 may do to Winograd's F(m×m, 3×3), m = 2, 4, 6, with the points of kernels/winograd.h.
 *
 * Every value that the method computes is a sum of inputs with coefficients. Where an addend goes
 * through n roundings, the result is off by at most n·u / (1 − n·u) times the sum of magnitudes,
 *
 *     |Aᵀ| [ Σ over channels of (|G| |g| |Gᵀ|) ⊙ (|Bᵀ| |d| |B|) ] |A|
 *
 * with each coefficient as large as the factored sums hold it before they cancel. On an addend's
 * way: U: 1, and what double loses, together less than 2; V: 3 a dimension; the products:
 * channels + 1; the outputs: 4 a dimension (F(2,3) has fewer). A rounding in the range of denormals is
 * off by u · 2⁻¹²⁶: so is one of a number that is 2⁻¹²⁶ larger in magnitude, which is what is added
 * wherever numbers may be that small.
 *
 * DATA_EXACT has weights that are multiples of 225 = 15², so that U of F(4,3) is whole (a multiple of
 * 16 where it meets ⅛·⅛) and that of F(2,3) a multiple of ¼, and whole inputs: all is a multiple of ¼,
 * and exact as long as it fits 24 bits. F(6,3) would need 45², which leaves no room in them. */
#include "driver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TAPS           3
#define MOST_OUT       6
#define MOST_PATCH     8
#define MOST_POSITIONS (MOST_PATCH * MOST_PATCH)
#define LEAST_NORMAL   0x1p-126
#define OTHER_ROUNDINGS (2 + 2 * 3 + 1 + 2 * 4)

const char *const winograd_names[WINOGRAD_SIZES] = {".winograd2.", ".winograd4.", ".winograd6."};

/* |G|, |Bᵀ| and |Aᵀ|, row by row. */
struct magnitudes {
    int out, patch;
    double g[MOST_PATCH * TAPS], b[MOST_POSITIONS], a[MOST_OUT * MOST_PATCH];
};

static const struct magnitudes sizes[WINOGRAD_SIZES] = {
    {.out = 2,
     .patch = 4,
     .g = {1, 0, 0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0, 0, 1},
     .b = {1, 0, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 0, 1},
     .a = {1, 1, 1, 0, 0, 1, 1, 1}},
    {.out = 4,
     .patch = 6,
     .g = {1, 0, 0,
           1.0 / 3, 1.0 / 3, 1.0 / 3,
           1.0 / 3, 1.0 / 3, 1.0 / 3,
           16.0 / 15, 8.0 / 15, 4.0 / 15,
           1.0 / 15, 2.0 / 15, 4.0 / 15,
           0, 0, 1},
     .b = {1, 1.5, 2, 1.5, 1, 0,
           0, 1, 2.5, 2.5, 1, 0,
           0, 1, 2.5, 2.5, 1, 0,
           0, 2, 1, 2, 1, 0,
           0, 0.5, 1, 0.5, 1, 0,
           0, 1, 1.5, 2, 1.5, 1},
     .a = {1, 1, 1, 1, 1, 0,
           0, 1, 1, 0.5, 2, 0,
           0, 1, 1, 0.25, 4, 0,
           0, 1, 1, 0.125, 8, 1}},
    {.out = 6,
     .patch = 8,
     .g = {1, 0, 0,
           2.0 / 9, 2.0 / 9, 2.0 / 9,
           2.0 / 9, 2.0 / 9, 2.0 / 9,
           1.0 / 90, 2.0 / 90, 4.0 / 90,
           1.0 / 90, 2.0 / 90, 4.0 / 90,
           32.0 / 45, 16.0 / 45, 8.0 / 45,
           32.0 / 45, 16.0 / 45, 8.0 / 45,
           0, 0, 1},
     .b = {1, 0, 5.25, 0, 5.25, 0, 1, 0,
           0, 1, 1, 4.25, 4.25, 1, 1, 0,
           0, 1, 1, 4.25, 4.25, 1, 1, 0,
           0, 0.5, 0.25, 2.5, 1.25, 2, 1, 0,
           0, 0.5, 0.25, 2.5, 1.25, 2, 1, 0,
           0, 2, 4, 2.5, 5, 0.5, 1, 0,
           0, 2, 4, 2.5, 5, 0.5, 1, 0,
           0, 1, 0, 5.25, 0, 5.25, 0, 1},
     .a = {1, 1, 1, 1, 1, 1, 1, 0,
           0, 1, 1, 2, 2, 0.5, 0.5, 0,
           0, 1, 1, 4, 4, 0.25, 0.25, 0,
           0, 1, 1, 8, 8, 0.125, 0.125, 0,
           0, 1, 1, 16, 16, 0.0625, 0.0625, 0,
           0, 1, 1, 32, 32, 0.03125, 0.03125, 1}},
};

/* to = left · middle · leftᵀ; left: rows × inner, middle: inner × inner. */
static void sandwich(const double *left, const double *middle, int rows, int inner, double *to)
{
    double half[MOST_POSITIONS];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < inner; j++) {
            half[i * inner + j] = 0.0;
            for (int k = 0; k < inner; k++)
                half[i * inner + j] += left[i * inner + k] * middle[k * inner + j];
        }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < rows; j++, to++) {
            *to = 0.0;
            for (int k = 0; k < inner; k++)
                *to += half[i * inner + k] * left[j * inner + k];
        }
}

/* |V| of each channel at tile (y, x). */
static void input_magnitudes(const struct test_case *test, const struct magnitudes *size,
                             int tile_y, int tile_x, double *to)
{
    int out = size->out, patch = size->patch;
    double d[MOST_POSITIONS];
    for (int s = 0; s < test->desc.source_count; s++) {
        const float *plane = test->sources[s];
        for (int c = 0; c < test->desc.source_channels[s]; c++, to += patch * patch) {
            for (int i = 0; i < patch * patch; i++) {
                int y = tile_y * out - 1 + i / patch, x = tile_x * out - 1 + i % patch;
                bool inside = y >= 0 && y < test->height && x >= 0 && x < test->width;
                d[i] = LEAST_NORMAL + (inside ? fabs((double)plane[y * test->width + x]) : 0.0);
            }
            sandwich(size->b, d, patch, patch, to);
            plane += (size_t)test->height * (size_t)test->width;
        }
    }
}

/* |U| of each filter. */
static double *weight_magnitudes(const struct test_case *test, const struct magnitudes *size,
                                 size_t filters)
{
    int patch = size->patch;
    size_t positions = (size_t)(patch * patch);
    double *all = need(malloc((filters * positions + 1) * sizeof *all)), *to = all;
    const float *filter = test->weight;
    for (size_t f = 0; f < filters; f++, filter += TAPS * TAPS, to += positions) {
        double g[TAPS * TAPS];
        for (int i = 0; i < TAPS * TAPS; i++)
            g[i] = fabs((double)filter[i]);
        sandwich(size->g, g, patch, TAPS, to);
    }
    return all;
}

/* One tile, one output channel: where its bounds go, and |U|, |V| of all input channels. */
struct tile_place {
    struct expected *out;
    int o, y, x, channels;
    const double *u, *v;
};

static void tile_bounds(const struct test_case *test, const struct magnitudes *size,
                        const struct tile_place *tile)
{
    int out = size->out, positions = size->patch * size->patch;
    double m[MOST_POSITIONS] = {0.0}, y[MOST_OUT * MOST_OUT];
    const double *u = tile->u, *v = tile->v;
    for (int c = 0; c < tile->channels; c++, u += positions, v += positions)
        for (int p = 0; p < positions; p++)
            m[p] += (u[p] + LEAST_NORMAL) * v[p] + LEAST_NORMAL;
    sandwich(size->a, m, out, size->patch, y);
    double bias = test->bias != NULL ? fabs((double)test->bias[tile->o]) : 0.0;
    double nu = (tile->channels + OTHER_ROUNDINGS) * 0x1p-24;
    size_t height = (size_t)tile->out->height, width = (size_t)tile->out->width;
    for (int i = 0; i < out * out; i++) {
        size_t row = (size_t)(tile->y * out + i / out), column = (size_t)(tile->x * out + i % out);
        if (row >= height || column >= width)
            continue;
        double magnitude = y[i] + bias + LEAST_NORMAL;
        bool exact = out < 6 && test->data == DATA_EXACT && 4.0 * magnitude < 0x1p24;
        tile->out->bound[((size_t)tile->o * height + row) * width + column] =
            exact ? 0.0 : nu / (1.0 - nu) * magnitude;
    }
}

void winograd_bounds(struct test_case *test, int index)
{
    const struct magnitudes *size = &sizes[index];
    size_t positions = (size_t)(size->patch * size->patch);
    struct tile_place tile = {.out = &test->winograd[index].out};
    for (int s = 0; s < test->desc.source_count; s++)
        tile.channels += test->desc.source_channels[s];
    size_t channels = (size_t)tile.channels;
    double *u = weight_magnitudes(test, size, (size_t)tile.out->channels * channels);
    double *v = need(malloc(channels * positions * sizeof *v));
    tile.v = v;
    for (tile.y = 0; tile.y * size->out < tile.out->height; tile.y++)
        for (tile.x = 0; tile.x * size->out < tile.out->width; tile.x++) {
            input_magnitudes(test, size, tile.y, tile.x, v);
            for (tile.o = 0; tile.o < tile.out->channels; tile.o++) {
                tile.u = u + (size_t)tile.o * channels * positions;
                tile_bounds(test, size, &tile);
            }
        }
    free(u);
    free(v);
}
