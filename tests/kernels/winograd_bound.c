/* What float32 may do to Winograd's F(4×4, 3×3) with the points 0, 1, −1, ½, −2
 * (kernels/winograd.h).
 *
 * Every value that the method computes is a sum of inputs with coefficients. Where an addend goes
 * through n roundings, the result is off by at most n·u / (1 − n·u) times the sum of magnitudes,
 *
 *     |Aᵀ| [ Σ over channels of (|G| |g| |Gᵀ|) ⊙ (|Bᵀ| |d| |B|) ] |A|
 *
 * with each coefficient as large as the factored sums hold it before they cancel. On an addend's
 * way: U: 1, and what double loses, together less than 2; V: 3 a dimension; the products:
 * channels + 1; the outputs: 4 a dimension. A rounding in the range of denormals is off by
 * u · 2⁻¹²⁶: so is one of a number that is 2⁻¹²⁶ larger in magnitude, which is what is added
 * wherever numbers may be that small.
 *
 * DATA_EXACT has weights that are multiples of 225 = 15², so that U is whole (a multiple of 16
 * where it meets ⅛·⅛), and whole inputs: all is a multiple of ¼, and exact as long as it fits
 * 24 bits. */
#include "driver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OUT          4
#define PATCH        6
#define TAPS         3
#define POSITIONS    (PATCH * PATCH)
#define LEAST_NORMAL 0x1p-126
#define OTHER_ROUNDINGS (2 + 2 * 3 + 1 + 2 * 4)

static const double abs_g[PATCH][TAPS] = {
    {1, 0, 0},
    {1.0 / 3, 1.0 / 3, 1.0 / 3},
    {1.0 / 3, 1.0 / 3, 1.0 / 3},
    {16.0 / 15, 8.0 / 15, 4.0 / 15},
    {1.0 / 15, 2.0 / 15, 4.0 / 15},
    {0, 0, 1},
};

static const double abs_b[PATCH][PATCH] = {
    {1, 1.5, 2, 1.5, 1, 0}, {0, 1, 2.5, 2.5, 1, 0}, {0, 1, 2.5, 2.5, 1, 0},
    {0, 2, 1, 2, 1, 0},     {0, 0.5, 1, 0.5, 1, 0}, {0, 1, 1.5, 2, 1.5, 1},
};

static const double abs_a[OUT][PATCH] = {
    {1, 1, 1, 1, 1, 0},
    {0, 1, 1, 0.5, 2, 0},
    {0, 1, 1, 0.25, 4, 0},
    {0, 1, 1, 0.125, 8, 1},
};

/* to = left · middle · leftᵀ; left: rows × inner, middle: inner × inner. */
static void sandwich(const double *left, const double *middle, int rows, int inner, double *to)
{
    double half[PATCH * PATCH];
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
static void input_magnitudes(const struct test_case *test, int tile_y, int tile_x, double *to)
{
    double patch[POSITIONS];
    for (int s = 0; s < test->desc.source_count; s++) {
        const float *plane = test->sources[s];
        for (int c = 0; c < test->desc.source_channels[s]; c++, to += POSITIONS) {
            for (int i = 0; i < POSITIONS; i++) {
                int y = tile_y * OUT - 1 + i / PATCH, x = tile_x * OUT - 1 + i % PATCH;
                bool inside = y >= 0 && y < test->height && x >= 0 && x < test->width;
                patch[i] = LEAST_NORMAL + (inside ? fabs((double)plane[y * test->width + x]) : 0.0);
            }
            sandwich(abs_b[0], patch, PATCH, PATCH, to);
            plane += (size_t)test->height * (size_t)test->width;
        }
    }
}

/* |U| of each filter. */
static double *weight_magnitudes(const struct test_case *test, size_t filters)
{
    double *all = need(malloc((filters * POSITIONS + 1) * sizeof *all)), *to = all;
    const float *filter = test->weight;
    for (size_t f = 0; f < filters; f++, filter += TAPS * TAPS, to += POSITIONS) {
        double g[TAPS * TAPS];
        for (int i = 0; i < TAPS * TAPS; i++)
            g[i] = fabs((double)filter[i]);
        sandwich(abs_g[0], g, PATCH, TAPS, to);
    }
    return all;
}

/* Bounds of the outputs of output channel o at one tile. */
static void tile_bounds(const struct test_case *test, int o, const double *u, const double *v,
                        int channels, int tile_y, int tile_x)
{
    double m[POSITIONS] = {0.0}, y[OUT * OUT];
    for (int c = 0; c < channels; c++, u += POSITIONS, v += POSITIONS)
        for (int p = 0; p < POSITIONS; p++)
            m[p] += (u[p] + LEAST_NORMAL) * v[p] + LEAST_NORMAL;
    sandwich(abs_a[0], m, OUT, PATCH, y);
    const struct expected *out = &test->winograd.out;
    double bias = test->bias != NULL ? fabs((double)test->bias[o]) : 0.0;
    double nu = (channels + OTHER_ROUNDINGS) * 0x1p-24;
    for (int i = 0; i < OUT * OUT; i++) {
        int row = tile_y * OUT + i / OUT, column = tile_x * OUT + i % OUT;
        if (row >= out->height || column >= out->width)
            continue;
        double magnitude = y[i] + bias + LEAST_NORMAL;
        bool exact = test->data == DATA_EXACT && 4.0 * magnitude < 0x1p24;
        out->bound[((size_t)o * (size_t)out->height + (size_t)row) * (size_t)out->width +
                   (size_t)column] = exact ? 0.0 : nu / (1.0 - nu) * magnitude;
    }
}

void winograd_bounds(struct test_case *test)
{
    const struct expected *out = &test->winograd.out;
    int channels = 0;
    for (int s = 0; s < test->desc.source_count; s++)
        channels += test->desc.source_channels[s];
    double *u = weight_magnitudes(test, (size_t)out->channels * (size_t)channels);
    double *v = need(malloc((size_t)channels * POSITIONS * sizeof *v));
    for (int y = 0; y * OUT < out->height; y++)
        for (int x = 0; x * OUT < out->width; x++) {
            input_magnitudes(test, y, x, v);
            for (int o = 0; o < out->channels; o++)
                tile_bounds(test, o, u + (size_t)o * (size_t)channels * POSITIONS, v, channels, y,
                            x);
        }
    free(u);
    free(v);
}
