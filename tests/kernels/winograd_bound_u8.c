/* The bounds of Winograd on tensors of bytes. V and M are whole numbers, so rounding U is all that
 * F(2,3) and F(4,3) do to a result; F(6,3) rounds V too, in a way known to the bit. What is left
 * here is what float32 does to the outputs. The wide bound is half a step of U for each V, and one
 * and a quarter of V for each U. */
#include "winograd_bound.h"

#include <math.h>
#include <stdlib.h>

/* A position: what V is multiplied by before it is whole, or rounded so, and the largest of
 * them. */
struct whole {
    double factor, peak;
};

/* F(6,3)'s V is rounded, with the rows of ±2 doubled, and may become so much larger. */
#define ROUNDED_OUT   6
#define ROUNDED_SLACK 2

/* As far as it is rounded at most. */
#define ROUNDED_BY 1.25

/* The smallest power of two that makes a row of Bᵀ whole numbers, where V is not rounded. */
static double whole_factor(const struct magnitudes *size, int index, const double *row)
{
    int count = size->patch;
    double factor = 1.0;
    if (size->out == ROUNDED_OUT)
        return index == 3 || index == 4 ? 2.0 : 1.0;
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
        to[p].factor =
            whole_factor(work->size, p / patch, y) * whole_factor(work->size, p % patch, x);
        to[p].peak = ceil(255.0 * to[p].factor * fmax(positive, negative));
        if (work->size->out == ROUNDED_OUT)
            to[p].peak += ROUNDED_SLACK;
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

/* x / divisor, halves up. */
static double share(double x, double divisor)
{
    return floor(x / divisor + 0.5);
}

/* A row of V from four times the row that the first dimension left: in the order in which it is
 * rounded on the way. */
static void round_row(const double *d, double *v)
{
    double a = d[2] - d[4], b = d[6] - d[4], c = d[1] - d[3], e = d[5] - d[3];
    v[0] = a + share(a + d[6] - d[0], 4) + share(a, 16);
    v[7] = share(d[7] - d[1] - e, 4) - e - share(e, 16);
    double even = share(d[2] + d[6] - share(d[4], 4), 4) - d[4];
    double odd = share(d[1] + d[5] - share(d[3], 4), 4) - d[3];
    v[1] = even + odd;
    v[2] = even - odd;
    even = share(b + share(a, 4), 2);
    odd = e + share(c, 4);
    v[3] = even + odd;
    v[4] = even - odd;
    even = a + share(b, 4);
    odd = share(c + share(e, 4), 2);
    v[5] = even + odd;
    v[6] = even - odd;
}

/* V of one patch, as it is multiplied, in the unit of the exact one. */
static void round_patch(const struct emulation *work, const struct whole *whole, const double *d,
                        double *v)
{
    int patch = work->size->patch;
    for (int i = 0; i < patch; i++) {
        double row[MOST_PATCH];
        for (int x = 0; x < patch; x++) {
            row[x] = 0.0;
            for (int y = 0; y < patch; y++)
                row[x] += work->matrices.b[i * patch + y] * d[y * patch + x];
            row[x] *= 4.0 * whole_factor(work->size, i, NULL);
        }
        round_row(row, v + i * patch);
        for (int x = 0; x < patch; x++)
            v[i * patch + x] /= whole[i * patch + x].factor;
    }
}

/* V of all channels of a tile; false where it is not within what it may be rounded by. */
static bool round_input(struct emulation *work, const struct whole *whole, int tile_y, int tile_x,
                        int channels)
{
    int positions = work->size->patch * work->size->patch;
    bool near = true;
    double *patches = need(malloc((size_t)(channels * positions) * sizeof *patches));
    input_patches(work, tile_y, tile_x, patches);
    for (int c = 0; c < channels; c++) {
        double v[MOST_POSITIONS];
        round_patch(work, whole, patches + c * positions, v);
        for (int p = 0; p < positions; p++) {
            double *exact = &work->v_exact[c * positions + p];
            near = near && fabs(*exact - v[p]) * whole[p].factor <= ROUNDED_BY;
            *exact = v[p];
        }
    }
    free(patches);
    return near;
}

/* One tile of output channel o before ReLU, as emulate_tile. V is exact, M too. */
static void whole_tile(const struct emulation *work, const struct whole *whole, int o, int channels,
                       struct whole_bias bias, const double *half, double *value, double *bound,
                       double *wide)
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
        if (out == ROUNDED_OUT)
            all[p] += ROUNDED_BY / whole[p].factor * (fabs(u[i].value) + half[p]);
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

void whole_results(struct test_case *test, int index)
{
    struct emulation work = {.test = test, .size = &winograd_magnitudes[index]};
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
            if (size->out == ROUNDED_OUT &&
                !round_input(&work, whole, tile.y, tile.x, tile.channels))
                half[0] = NAN; /* no result is consistent */
            for (tile.o = 0; tile.o < out->channels; tile.o++) {
                double value[MOST_OUT * MOST_OUT], bound[MOST_OUT * MOST_OUT];
                double wide[MOST_OUT * MOST_OUT];
                whole_tile(&work, whole, tile.o, tile.channels, bias[tile.o],
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
