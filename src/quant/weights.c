#include "quant/weights.h"

#include <float.h>
#include <math.h>

/* Ranges that are tried, as parts of the largest weight: a coarse row, then around the best of it.
 * Below a half nothing ever won. */
#define LEAST_RANGE 0.5f
#define COARSE      8
#define FINE        3

#define LANES 8
#define CHUNK 256 /* floats are summed this far; beyond, double */

/* To the nearest even: the first sum has no bits left below 1. Then clipped, exactly, for these are
 * whole numbers, and without a comparison, of which gcc makes no vectors. */
static inline float round_weight(float weight, float inverse)
{
    const float shift = 12582912.0f, most = QUANT_WEIGHT_LEVELS;
    float level = (weight * inverse + shift) - shift;
    level = 0.5f * (level + most - fabsf(level - most));
    return 0.5f * (level - most + fabsf(level + most));
}

/* Two plain loops, and the sum in lanes: what compilers make vectors of. */
static double chunk_error(const float *weights, const float *importance, size_t count, float step)
{
    float errors[CHUNK] = {0}, lanes[LANES] = {0}, inverse = 1 / step;
    for (size_t i = 0; i < count; i++) {
        float off = weights[i] - round_weight(weights[i], inverse) * step;
        errors[i] = importance[i] * (off * off);
    }
    for (size_t i = 0; i < CHUNK; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lanes[k] += errors[i + k];
    double sum = 0;
    for (size_t k = 0; k < LANES; k++)
        sum += (double)lanes[k];
    return sum;
}

static double rounding_error(const float *weights, const float *importance, size_t count,
                             float step)
{
    double sum = 0;
    for (size_t at = 0; at < count; at += CHUNK) {
        size_t part = count - at < CHUNK ? count - at : CHUNK;
        sum += chunk_error(weights + at, importance + at, part, step);
    }
    return sum;
}

static float largest_magnitude(const float *weights, size_t count)
{
    float largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fabsf(weights[i]) > largest ? fabsf(weights[i]) : largest;
    return largest;
}

/* For the whole numbers that a step makes, the step that fits them best. */
static float refit(const float *weights, const float *importance, size_t count, float step)
{
    double product = 0, square = 0;
    float inverse = 1 / step;
    for (size_t i = 0; i < count; i++) {
        double level = (double)round_weight(weights[i], inverse);
        product += (double)importance[i] * level * (double)weights[i];
        square += (double)importance[i] * level * level;
    }
    float fitted = square > 0 ? (float)(product / square) : step;
    return fitted >= FLT_MIN ? fitted : step;
}

struct search {
    const float *weights, *importance;
    size_t count;
    float best;
    double least;
};

static void try_step(struct search *search, float step)
{
    if (!(step >= FLT_MIN))
        return;
    double error = rounding_error(search->weights, search->importance, search->count, step);
    if (error < search->least) {
        search->least = error;
        search->best = step;
    }
}

float quant_weight_step(const float *weights, const float *importance, size_t count)
{
    float whole = largest_magnitude(weights, count) / QUANT_WEIGHT_LEVELS;
    if (!(whole >= FLT_MIN)) /* so small that its inverse would be infinite: all become 0 */
        return whole > 0 ? FLT_MIN : 1;
    struct search search = {weights, importance, count, whole, INFINITY};
    float width = (1 - LEAST_RANGE) / COARSE;
    for (int i = 0; i < COARSE; i++)
        try_step(&search, whole * (1 - width * (float)i));
    float middle = search.best, narrow = width / (FINE + 1);
    for (int i = -FINE; i <= FINE; i++)
        if (i != 0 && middle + whole * narrow * (float)i <= whole)
            try_step(&search, middle + whole * narrow * (float)i);
    try_step(&search, refit(weights, importance, count, search.best));
    return search.best;
}

/* ---------------------------------------------------------------- convolutions */

/* An input channel that slept through the calibration still counts this much of the mean. */
#define LEAST_IMPORTANCE (1.0 / 1024)

/* A value a weight of a row: parts of the largest, so that float32 holds the sums. */
static void spread_importance(const struct quant_filters *filters, const float *importance,
                              float *spread)
{
    double sum = 0, largest = 0;
    for (int i = 0; i < filters->inputs && importance != NULL; i++) {
        sum += (double)importance[i];
        largest = (double)importance[i] > largest ? (double)importance[i] : largest;
    }
    double least = LEAST_IMPORTANCE * sum / filters->inputs;
    for (int i = 0; i < filters->inputs; i++) {
        double own = 1;
        if (largest > 0)
            own = ((double)importance[i] > least ? (double)importance[i] : least) / largest;
        for (int t = 0; t < filters->taps; t++)
            *spread++ = (float)own;
    }
}

static void gather_row(const struct quant_filters *filters, int output, float *row)
{
    const float *from = filters->weights + (size_t)output * filters->output_stride;
    for (int i = 0; i < filters->inputs; i++, from += filters->input_stride)
        for (int t = 0; t < filters->taps; t++)
            *row++ = from[t];
}

unet_status quant_weight_steps(const struct quant_filters *filters, const float *importance,
                               float *steps, unet_error *error)
{
    size_t count = (size_t)filters->inputs * (size_t)filters->taps;
    float *row = memory_alloc_array(2 * count, sizeof *row);
    if (row == NULL)
        return error_memory(error, 2 * count * sizeof *row, "the search of weight steps");
    float *spread = row + count;
    spread_importance(filters, importance, spread);
    for (int o = 0; o < filters->outputs; o++) {
        gather_row(filters, o, row);
        steps[o] = quant_weight_step(row, spread, count);
    }
    memory_free(row);
    return UNET_OK;
}
