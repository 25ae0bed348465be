/* What float32 may do to Winograd's F(m×m, 3×3), m = 2, 4, 6, with the points of
 * kernels/winograd.h.
 *
 * Every value that the method computes is a sum of inputs with coefficients. Where an addend goes
 * through n roundings, the result is off by at most n·u / (1 − n·u) times the sum of magnitudes,
 *
 *     |Aᵀ| [ Σ over channels of (|G| |g| |Gᵀ|) ⊙ (|Bᵀ| |d| |B|) ] |A|
 *
 * with each coefficient as large as the factored sums hold it before they cancel. On an addend's
 * way: U: 1, and what double loses, together less than 2; V: 3 a dimension; the products:
 * channels + 1; the outputs: 4 a dimension (F(2,3) has fewer). A rounding in the range of denormals
 * is off by u · 2⁻¹²⁶: so is one of a number that is 2⁻¹²⁶ larger in magnitude, which is what is
 * added wherever numbers may be that small.
 *
 * DATA_EXACT has weights that are multiples of 225 = 15², so that U of F(4,3) is whole (a multiple of
 * 16 where it meets ⅛·⅛) and that of F(2,3) a multiple of ¼, and whole inputs: all is a multiple of ¼,
 * and exact as long as it fits 24 bits. F(6,3) would need 45², which leaves no room in them.
 *
 * BF16. U and V are rounded to bf16, which alone may move a result by 2 · 2⁻⁸ of the sum of
 * magnitudes: a kernel that mixes up channels would pass. So the same roundings are done here, and
 * what is left is what float32 does to sums of known products. Where U or V is so near the middle
 * between two numbers of bf16 that its own error decides, it may be either of them. Results found so
 * must agree with the convolution within the wide bound: else the reference contradicts itself.
 *
 * BYTES. V and M are whole numbers, so rounding U is all that the method does to a result, and what
 * is left here is what float32 does to the outputs. The wide bound is half a step of U for each V. */
#include "driver.h"

#include "base/bf16.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TAPS           3
#define MOST_OUT       6
#define MOST_PATCH     8
#define MOST_POSITIONS (MOST_PATCH * MOST_PATCH)
#define LEAST_NORMAL   0x1p-126
#define OTHER_ROUNDINGS (2 + 2 * 3 + 1 + 2 * 4)

const char *const winograd_names[WINOGRAD_SIZES] = {".winograd2", ".winograd4", ".winograd6"};

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

static void float_bounds(struct test_case *test, int index)
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

/* ---------------------------------------------------------------- bf16 */

/* G, Bᵀ and Aᵀ by Toom and Cook, from the points. */
struct matrices {
    double g[MOST_PATCH * TAPS], b[MOST_POSITIONS], a[MOST_OUT * MOST_PATCH];
};

static const double points[WINOGRAD_SIZES][MOST_PATCH - 1] = {
    {0, 1, -1}, {0, 1, -1, 0.5, -2}, {0, 1, -1, 2, -2, 0.5, -0.5}};

/* Coefficients of Π (x − point) over all `finite` points but the one at `except`. */
static void polynomial(const double *point, int finite, int except, double *to)
{
    int degree = 0;
    to[0] = 1.0;
    for (int l = 0; l < finite; l++) {
        if (l == except)
            continue;
        to[degree + 1] = 0.0;
        for (int i = ++degree; i > 0; i--)
            to[i] = to[i - 1] - point[l] * to[i];
        to[0] *= -point[l];
    }
}

static void make_matrices(int index, struct matrices *to)
{
    const double *point = points[index];
    int out = sizes[index].out, patch = sizes[index].patch, last = patch - 1;
    memset(to, 0, sizeof *to);
    for (int j = 0; j < patch; j++)
        polynomial(point, last, j, &to->b[j * patch]);
    for (int j = 0; j < last; j++) {
        double product = 1.0;
        for (int l = 0; l < last; l++)
            product *= l == j ? 1.0 : point[j] - point[l];
        for (int k = 0; k < TAPS; k++)
            to->g[j * TAPS + k] = pow(point[j], k) / product;
        for (int i = 0; i < out; i++)
            to->a[i * patch + j] = pow(point[j], i);
    }
    to->g[last * TAPS + TAPS - 1] = 1.0;
    to->a[(out - 1) * patch + last] = 1.0;
}

/* A number of bf16, and how far off what the kernel has instead may be. */
struct rounded {
    double value, error;
};

/* `error`: of the exact value. Denormals may become zero. */
static struct rounded round_within(double exact, double error)
{
    double low = (double)bf16_round((float)(exact - error));
    double high = (double)bf16_round((float)(exact + error));
    struct rounded to = {.value = (double)bf16_round((float)exact)};
    to.error = fmax(high - to.value, to.value - low);
    if (low < LEAST_NORMAL && high > -LEAST_NORMAL)
        to.error += LEAST_NORMAL;
    return to;
}

/* One size of tile on one case. */
struct emulation {
    const struct test_case *test;
    const struct magnitudes *size;
    struct matrices matrices;
    struct rounded *u, *v;        /* of each filter; of each channel at one tile */
    double *v_exact, *v_magnitude; /* of each channel */
    double *u_magnitude;          /* of each filter */
};

static void round_filters(struct emulation *work, size_t filters)
{
    int patch = work->size->patch;
    const float *filter = work->test->weight;
    const double *magnitude = work->u_magnitude;
    struct rounded *to = work->u;
    for (size_t f = 0; f < filters; f++, filter += TAPS * TAPS) {
        double g[TAPS * TAPS], exact[MOST_POSITIONS];
        for (int i = 0; i < TAPS * TAPS; i++)
            g[i] = (double)filter[i];
        sandwich(work->matrices.g, g, patch, TAPS, exact);
        for (int p = 0; p < patch * patch; p++)
            *to++ = round_within(exact[p], 0x1p-23 * fabs(exact[p]) + 0x1p-48 * *magnitude++);
    }
}

/* V of each channel at tile (y, x). */
static void exact_input(const struct emulation *work, int tile_y, int tile_x, double *to)
{
    const struct test_case *test = work->test;
    int out = work->size->out, patch = work->size->patch;
    for (int s = 0; s < test->desc.source_count; s++) {
        const float *plane = test->sources[s];
        for (int c = 0; c < test->desc.source_channels[s]; c++, to += patch * patch) {
            double d[MOST_POSITIONS];
            for (int i = 0; i < patch * patch; i++) {
                int y = tile_y * out - 1 + i / patch, x = tile_x * out - 1 + i % patch;
                bool inside = y >= 0 && y < test->height && x >= 0 && x < test->width;
                d[i] = inside ? (double)plane[y * test->width + x] : (double)test->zeros[s];
            }
            sandwich(work->matrices.b, d, patch, patch, to);
            plane += (size_t)test->height * (size_t)test->width;
        }
    }
}

static void round_input(const struct emulation *work, const double *exact, size_t count)
{
    for (size_t i = 0; i < count; i++)
        work->v[i] = round_within(exact[i], 7.0 * 0x1p-24 * work->v_magnitude[i]);
}

/* One tile of output channel o before ReLU: values, their bounds, and the wide ones. */
static void emulate_tile(const struct emulation *work, int o, int channels, double *value,
                         double *bound, double *wide)
{
    int out = work->size->out, patch = work->size->patch, positions = patch * patch;
    double m[MOST_POSITIONS] = {0.0}, error[MOST_POSITIONS] = {0.0}, all[MOST_POSITIONS] = {0.0};
    size_t filter = (size_t)o * (size_t)channels * (size_t)positions;
    const struct rounded *u = work->u + filter, *v = work->v;
    /* AVX512_BF16 rounds a pair's products as it likes, and takes denormals for zero. */
    double nu = (2.0 * (channels + 2) + OTHER_ROUNDINGS) * 0x1p-24;
    for (int i = 0; i < channels * positions; i++) {
        int p = i % positions;
        double largest = (fabs(u[i].value) + u[i].error) * (fabs(v[i].value) + v[i].error);
        m[p] += u[i].value * v[i].value;
        error[p] += largest - fabs(u[i].value * v[i].value) + nu * largest + 8.0 * LEAST_NORMAL;
        all[p] += (work->u_magnitude[filter + (size_t)i] + LEAST_NORMAL) * work->v_magnitude[i];
    }
    double bias = work->test->bias != NULL ? (double)work->test->bias[o] : 0.0;
    m[patch + 1] += bias;
    error[patch + 1] += nu * fabs(bias) + 8.0 * LEAST_NORMAL;
    all[patch + 1] += fabs(bias) + LEAST_NORMAL;
    sandwich(work->matrices.a, m, out, patch, value);
    sandwich(work->size->a, error, out, patch, bound);
    for (int p = 0; p < positions; p++)
        all[p] *= 3.1 * 0x1p-8; /* U, V, and the weights of the direct method are rounded */
    sandwich(work->size->a, all, out, patch, wide);
}

/* In the place of the convolution's values. */
static void place_tile(const struct test_case *test, const struct magnitudes *size,
                       const struct tile_place *tile, const double *value, const double *bound,
                       const double *wide)
{
    size_t height = (size_t)tile->out->height, width = (size_t)tile->out->width;
    for (int i = 0; i < size->out * size->out; i++) {
        size_t row = (size_t)(tile->y * size->out + i / size->out);
        size_t column = (size_t)(tile->x * size->out + i % size->out);
        if (row >= height || column >= width)
            continue;
        size_t at = ((size_t)tile->o * height + row) * width + column;
        double result = test->desc.relu && value[i] < 0.0 ? 0.0 : value[i];
        bool consistent = fabs(result - tile->out->value[at]) <= wide[i];
        tile->out->value[at] = result;
        tile->out->bound[at] = consistent ? bound[i] : -1.0;
    }
}

static void bf16_results(struct test_case *test, int index)
{
    struct emulation work = {.test = test, .size = &sizes[index]};
    const struct magnitudes *size = work.size;
    size_t positions = (size_t)(size->patch * size->patch), channels = 0;
    struct tile_place tile = {.out = &test->winograd[index].out};
    for (int s = 0; s < test->desc.source_count; s++)
        channels += (size_t)test->desc.source_channels[s];
    size_t filters = (size_t)tile.out->channels * channels;
    make_matrices(index, &work.matrices);
    work.u_magnitude = weight_magnitudes(test, size, filters);
    work.u = need(malloc((filters * positions + 1) * sizeof *work.u));
    work.v = need(malloc(channels * positions * sizeof *work.v));
    work.v_magnitude = need(malloc(channels * positions * sizeof *work.v_magnitude));
    work.v_exact = need(malloc(channels * positions * sizeof *work.v_exact));
    round_filters(&work, filters);
    for (tile.y = 0; tile.y * size->out < tile.out->height; tile.y++)
        for (tile.x = 0; tile.x * size->out < tile.out->width; tile.x++) {
            input_magnitudes(test, size, tile.y, tile.x, work.v_magnitude);
            exact_input(&work, tile.y, tile.x, work.v_exact);
            round_input(&work, work.v_exact, channels * positions);
            for (tile.o = 0; tile.o < tile.out->channels; tile.o++) {
                double value[MOST_OUT * MOST_OUT], bound[MOST_OUT * MOST_OUT];
                double wide[MOST_OUT * MOST_OUT];
                emulate_tile(&work, tile.o, (int)channels, value, bound, wide);
                place_tile(test, size, &tile, value, bound, wide);
            }
        }
    free(work.u_magnitude);
    free(work.u);
    free(work.v);
    free(work.v_exact);
    free(work.v_magnitude);
}

/* ---------------------------------------------------------------- bytes */

/* A position: what makes its V whole numbers, and the largest of them. */
struct whole {
    double factor, peak;
};

/* The smallest power of two that makes a row of Bᵀ whole numbers. */
static double whole_factor(const double *row, int count)
{
    double factor = 1.0;
    for (int i = 0; i < count; i++)
        while (factor * row[i] != rint(factor * row[i]))
            factor *= 2.0;
    return factor;
}

static void make_whole(const struct emulation *work, struct whole *to)
{
    int patch = work->size->patch;
    for (int p = 0; p < patch * patch; p++) {
        const double *y = &work->matrices.b[p / patch * patch];
        const double *x = &work->matrices.b[p % patch * patch];
        double positive = 0.0, negative = 0.0;
        for (int i = 0; i < patch * patch; i++) {
            double product = y[i / patch] * x[i % patch];
            positive += fmax(product, 0.0);
            negative += fmax(-product, 0.0);
        }
        to[p].factor = whole_factor(y, patch) * whole_factor(x, patch);
        to[p].peak = 255.0 * to[p].factor * fmax(positive, negative);
    }
}

/* U of the filters of one output channel as they are used for V as it is: a step is scale · factor.
 * `half` gets half a step of each position, the most that rounding does. */
static void round_whole(const struct emulation *work, const struct whole *whole,
                        const double *exact, int channels, struct rounded *to, double *half)
{
    int positions = work->size->patch * work->size->patch;
    for (int p = 0; p < positions; p++) {
        double sum = 0.0, largest = 0.0, factor = whole[p].factor;
        for (int c = 0; c < channels; c++) {
            sum += fabs(exact[c * positions + p]) / factor;
            largest = fmax(largest, fabs(exact[c * positions + p]) / factor);
        }
        double most = floor(2147483647.0 / whole[p].peak) - 1.0 - 0.5 * channels;
        double scale = (double)(float)fmax(sum / most, largest / 32767.0), steps = 0.0;
        half[p] = 0.5 * scale * factor;
        for (int c = 0; c < channels; c++) {
            double at = scale > 0.0 ? exact[c * positions + p] / factor / scale : 0.0;
            bool either = fabs(fabs(at - rint(at)) - 0.5) < 1e-6 * (1.0 + fabs(at));
            struct rounded *u = &to[c * positions + p];
            u->value = rint(at) * scale * factor;
            u->error = (either ? 2.0 * half[p] : 0.0) + 0x1p-22 * fabs(u->value);
            steps += fabs(rint(at));
        }
        if (steps * whole[p].peak > 2147483647.0)
            half[p] = NAN; /* such a scale would let sums overflow */
    }
}

/* U of all filters, unrounded. */
static double *exact_filters(const struct emulation *work, size_t filters)
{
    size_t positions = (size_t)(work->size->patch * work->size->patch);
    double *all = need(malloc((filters * positions + 1) * sizeof *all)), g[TAPS * TAPS];
    for (size_t f = 0; f < filters; f++) {
        for (int i = 0; i < TAPS * TAPS; i++)
            g[i] = (double)work->test->weight[f * TAPS * TAPS + (size_t)i];
        sandwich(work->matrices.g, g, work->size->patch, TAPS, all + f * positions);
    }
    return all;
}

/* The convolution by weights that nothing has rounded. */
static void convolve_exactly(const struct test_case *test, struct expected *out)
{
    int channels = 0;
    for (int s = 0; s < test->desc.source_count; s++)
        channels += test->desc.source_channels[s];
    size_t plane = (size_t)out->height * (size_t)out->width;
    for (size_t i = 0; i < (size_t)out->channels * plane; i++) {
        int o = (int)(i / plane), y = (int)(i % plane) / out->width, c = 0;
        int x = (int)(i % plane) % out->width;
        double sum = test->bias != NULL ? (double)test->bias[o] : 0.0;
        for (int s = 0; s < test->desc.source_count; s++)
            for (int j = 0; j < test->desc.source_channels[s]; j++, c++)
                for (int tap = 0; tap < TAPS * TAPS; tap++) {
                    int in_y = y + tap / TAPS - 1, in_x = x + tap % TAPS - 1;
                    bool inside =
                        in_y >= 0 && in_y < test->height && in_x >= 0 && in_x < test->width;
                    size_t at = (size_t)j * plane + (size_t)(in_y * test->width + in_x);
                    sum += (double)test->weight[(o * channels + c) * TAPS * TAPS + tap] *
                           (double)(inside ? test->sources[s][at] : (float)test->zeros[s]);
                }
        out->value[i] = test->desc.relu && sum < 0.0 ? 0.0 : sum;
    }
}

/* A bias that makes up for what rounding U loses of the inputs' means. */
struct whole_bias {
    double value, error, correction; /* the last one's magnitude at most */
};

/* V of a patch that is 1 everywhere is zero but at the points 1 and 1. */
static struct whole_bias correct_bias(const struct emulation *work, const double *exact, int o,
                                      int channels, double half)
{
    int patch = work->size->patch, positions = patch * patch, position = patch + 1;
    double row = 0.0, bias = work->test->bias != NULL ? (double)work->test->bias[o] : 0.0;
    for (int i = 0; i < patch; i++)
        row += work->matrices.b[patch + i];
    struct whole_bias to = {.value = bias, .error = 0x1p-23 * fabs(bias)};
    for (int c = 0; c < channels && work->test->mean != NULL; c++) {
        size_t at = (size_t)(o * channels + c) * (size_t)positions + (size_t)position;
        double constant = row * row * (double)work->test->mean[c];
        to.value += (exact[at] - work->u[at].value) * constant;
        to.error += (work->u[at].error + 0x1p-22 * half) * constant;
        to.correction += half * constant;
    }
    return to;
}

/* What float32 does to M of integers: two roundings, then the outputs' four a dimension. */
#define WHOLE_ROUNDINGS (2 + 2 * 4 + 2)

/* One tile of output channel o before ReLU, as emulate_tile. V is exact, M too. */
static void whole_tile(const struct emulation *work, int o, int channels, struct whole_bias bias,
                       const double *half, double *value, double *bound, double *wide)
{
    int out = work->size->out, patch = work->size->patch, positions = patch * patch;
    double m[MOST_POSITIONS] = {0.0}, error[MOST_POSITIONS] = {0.0}, all[MOST_POSITIONS] = {0.0};
    const struct rounded *u = work->u + (size_t)o * (size_t)(channels * positions);
    const double *v = work->v_exact;
    for (int i = 0; i < channels * positions; i++) {
        int p = i % positions;
        m[p] += u[i].value * v[i];
        error[p] += u[i].error * fabs(v[i]);
        all[p] += half[p] * fabs(v[i]);
    }
    m[patch + 1] += bias.value;
    error[patch + 1] += bias.error;
    all[patch + 1] += bias.correction;
    for (int p = 0; p < positions; p++)
        error[p] += WHOLE_ROUNDINGS * 0x1p-24 * fabs(m[p]) + LEAST_NORMAL;
    sandwich(work->matrices.a, m, out, patch, value);
    sandwich(work->size->a, error, out, patch, bound);
    for (int p = 0; p < positions; p++)
        all[p] += error[p];
    sandwich(work->size->a, all, out, patch, wide);
}

static void whole_results(struct test_case *test, int index)
{
    struct emulation work = {.test = test, .size = &sizes[index]};
    const struct magnitudes *size = work.size;
    struct expected *out = &test->winograd[index].out;
    struct whole whole[MOST_POSITIONS];
    size_t positions = (size_t)(size->patch * size->patch), channels = 0;
    for (int s = 0; s < test->desc.source_count; s++)
        channels += (size_t)test->desc.source_channels[s];
    size_t outs = (size_t)out->channels, tile_u = channels * positions;
    make_matrices(index, &work.matrices);
    make_whole(&work, whole);
    convolve_exactly(test, out);
    double *exact = exact_filters(&work, outs * channels);
    double *half = need(malloc((outs * positions + 1) * sizeof *half));
    struct whole_bias *bias = need(malloc((outs + 1) * sizeof *bias));
    work.u = need(malloc((outs * tile_u + 1) * sizeof *work.u));
    work.v_exact = need(malloc(tile_u * sizeof *work.v_exact));
    for (size_t o = 0; o < outs; o++) {
        round_whole(&work, whole, exact + o * tile_u, (int)channels, work.u + o * tile_u,
                    half + o * positions);
        bias[o] = correct_bias(&work, exact, (int)o, (int)channels,
                               half[o * positions + (size_t)size->patch + 1]);
    }
    struct tile_place tile = {.out = out, .channels = (int)channels};
    for (tile.y = 0; tile.y * size->out < out->height; tile.y++)
        for (tile.x = 0; tile.x * size->out < out->width; tile.x++) {
            exact_input(&work, tile.y, tile.x, work.v_exact);
            for (tile.o = 0; tile.o < out->channels; tile.o++) {
                double value[MOST_OUT * MOST_OUT], bound[MOST_OUT * MOST_OUT];
                double wide[MOST_OUT * MOST_OUT];
                whole_tile(&work, tile.o, tile.channels, bias[tile.o],
                           half + (size_t)tile.o * positions, value, bound, wide);
                place_tile(test, size, &tile, value, bound, wide);
            }
        }
    free(exact);
    free(half);
    free(bias);
    free(work.u);
    free(work.v_exact);
}

void winograd_bounds(struct test_case *test, int index)
{
    if (test->desc.in_type == KERNEL_BF16)
        bf16_results(test, index);
    else if (test->desc.in_type == KERNEL_U8 && sizes[index].out <= 4)
        whole_results(test, index);
    else
        float_bounds(test, index);
}
