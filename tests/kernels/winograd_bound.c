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
 * DATA_EXACT has weights that are multiples of 225 = 15², so that U of F(4,3) is whole (a multiple
 * of 16 where it meets ⅛·⅛) and that of F(2,3) a multiple of ¼, and whole inputs: all is a multiple
 * of ¼, and exact as long as it fits 24 bits. F(6,3) would need 45², which leaves no room in them.
 *
 * BF16. U and V are rounded to bf16, which alone may move a result by 2 · 2⁻⁸ of the sum of
 * magnitudes: a kernel that mixes up channels would pass. So the same roundings are done here, and
 * what is left is what float32 does to sums of known products. Where U or V is so near the middle
 * between two numbers of bf16 that its own error decides, it may be either of them. Results found
 * so must agree with the convolution within the wide bound: else the reference contradicts
 * itself. */
#include "winograd_bound.h"

#include "base/bf16.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OTHER_ROUNDINGS (2 + 2 * 3 + 1 + 2 * 4)

const char *const winograd_names[WINOGRAD_SIZES] = {".winograd2", ".winograd4", ".winograd6"};

const struct magnitudes winograd_magnitudes[WINOGRAD_SIZES] = {
    {.out = 2,
     .patch = 4,
     .g = {1, 0, 0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0, 0, 1},
     .b = {1, 0, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 0, 1},
     .a = {1, 1, 1, 0, 0, 1, 1, 1}},
    {.out = 4,
     .patch = 6,
     .g = {1, 0, 0, 1.0 / 3, 1.0 / 3, 1.0 / 3, 1.0 / 3, 1.0 / 3, 1.0 / 3, 16.0 / 15, 8.0 / 15,
           4.0 / 15, 1.0 / 15, 2.0 / 15, 4.0 / 15, 0, 0, 1},
     .b = {1, 1.5, 2, 1.5, 1, 0, 0, 1,   2.5, 2.5, 1, 0, 0, 1, 2.5, 2.5, 1,   0,
           0, 2,   1, 2,   1, 0, 0, 0.5, 1,   0.5, 1, 0, 0, 1, 1.5, 2,   1.5, 1},
     .a = {1, 1, 1, 1, 1, 0, 0, 1, 1, 0.5, 2, 0, 0, 1, 1, 0.25, 4, 0, 0, 1, 1, 0.125, 8, 1}},
    {.out = 6,
     .patch = 8,
     .g = {1,         0,        0,         2.0 / 9,   2.0 / 9,  2.0 / 9,  2.0 / 9,  2.0 / 9,
           2.0 / 9,   1.0 / 90, 2.0 / 90,  4.0 / 90,  1.0 / 90, 2.0 / 90, 4.0 / 90, 32.0 / 45,
           16.0 / 45, 8.0 / 45, 32.0 / 45, 16.0 / 45, 8.0 / 45, 0,        0,        1},
     .b = {1, 0,   5.25, 0,    5.25, 0,   1, 0, 0, 1,   1,    4.25, 4.25, 1,    1, 0,
           0, 1,   1,    4.25, 4.25, 1,   1, 0, 0, 0.5, 0.25, 2.5,  1.25, 2,    1, 0,
           0, 0.5, 0.25, 2.5,  1.25, 2,   1, 0, 0, 2,   4,    2.5,  5,    0.5,  1, 0,
           0, 2,   4,    2.5,  5,    0.5, 1, 0, 0, 1,   0,    5.25, 0,    5.25, 0, 1},
     .a = {1, 1, 1, 1,  1,  1,      1,      0, 0, 1, 1, 2,  2,  0.5,     0.5,     0,
           0, 1, 1, 4,  4,  0.25,   0.25,   0, 0, 1, 1, 8,  8,  0.125,   0.125,   0,
           0, 1, 1, 16, 16, 0.0625, 0.0625, 0, 0, 1, 1, 32, 32, 0.03125, 0.03125, 1}},
};

void sandwich(const double *left, const double *middle, int rows, int inner, double *to)
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
    const struct magnitudes *size = &winograd_magnitudes[index];
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

void make_matrices(int index, struct matrices *to)
{
    const double *point = points[index];
    int out = winograd_magnitudes[index].out, patch = winograd_magnitudes[index].patch;
    int last = patch - 1;
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

void input_patches(const struct emulation *work, int tile_y, int tile_x, double *to)
{
    const struct test_case *test = work->test;
    int out = work->size->out, patch = work->size->patch;
    for (int s = 0; s < test->desc.source_count; s++) {
        const float *plane = test->sources[s];
        for (int c = 0; c < test->desc.source_channels[s]; c++, to += patch * patch) {
            for (int i = 0; i < patch * patch; i++) {
                int y = tile_y * out - 1 + i / patch, x = tile_x * out - 1 + i % patch;
                bool inside = y >= 0 && y < test->height && x >= 0 && x < test->width;
                to[i] = inside ? (double)plane[y * test->width + x] : (double)test->zeros[s];
            }
            plane += (size_t)test->height * (size_t)test->width;
        }
    }
}

void exact_input(const struct emulation *work, int tile_y, int tile_x, double *to)
{
    int patch = work->size->patch, channels = 0;
    for (int s = 0; s < work->test->desc.source_count; s++)
        channels += work->test->desc.source_channels[s];
    input_patches(work, tile_y, tile_x, to);
    for (int c = 0; c < channels; c++, to += patch * patch) {
        double d[MOST_POSITIONS];
        memcpy(d, to, (size_t)(patch * patch) * sizeof *d);
        sandwich(work->matrices.b, d, patch, patch, to);
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

void place_tile(const struct test_case *test, const struct magnitudes *size,
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
    struct emulation work = {.test = test, .size = &winograd_magnitudes[index]};
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

void winograd_bounds(struct test_case *test, int index)
{
    if (test->desc.in_type == KERNEL_BF16)
        bf16_results(test, index);
    else if (test->desc.in_type == KERNEL_U8)
        whole_results(test, index);
    else
        float_bounds(test, index);
}
