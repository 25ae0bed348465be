#include "kernels/byte_weights.h"

#include "base/e4m3.h"

#include <math.h>
#include <string.h>

#define MOST  127
#define BYTES 4

bool byte_weights_type(enum kernel_type type)
{
    return type == KERNEL_U8 || type == KERNEL_E4M3;
}

static double whole_of(float weight, float step)
{
    return fmax(-MOST, fmin(MOST, nearbyint((double)weight / (double)step)));
}

/* How many steps stand for a weight. */
static double rounded(enum kernel_type type, float weight, float step)
{
    return type == KERNEL_E4M3 ? (double)e4m3_round(weight / step) : whole_of(weight, step);
}

float byte_weights_step(enum kernel_type type, const struct kernel_weights *weights, int out,
                        const struct weight_row *row)
{
    if (weights->weight_step != NULL)
        return weights->weight_step[out];
    float most = 0.0f;
    for (int i = 0; i < row->inputs && row->first != NULL; i++)
        for (int tap = 0; tap < row->taps; tap++)
            most = fmaxf(most, fabsf(row->first[(size_t)i * row->stride + (size_t)tap]));
    return most > 0.0f ? most / (type == KERNEL_E4M3 ? E4M3_MOST : MOST) : 1.0f;
}

double byte_weights_lost(enum kernel_type type, const struct kernel_weights *weights, float step,
                         const struct weight_row *row)
{
    double lost = 0.0;
    if (weights->mean == NULL || row->first == NULL)
        return lost;
    for (int i = 0; i < row->inputs; i++)
        for (int tap = 0; tap < row->taps; tap++) {
            float weight = row->first[(size_t)i * row->stride + (size_t)tap];
            double kept = rounded(type, weight, step) * (double)step;
            lost += ((double)weight - kept) * (double)weights->mean[i];
        }
    return lost;
}

uint8_t byte_weights_byte(enum kernel_type type, float weight, float step)
{
    return type == KERNEL_E4M3 ? e4m3_from_float(weight / step)
                               : (uint8_t)(int8_t)whole_of(weight, step);
}

float byte_weights_word(const float *from, size_t stride, int count, float step)
{
    uint8_t bytes[BYTES] = {0};
    for (int i = 0; i < BYTES && i < count; i++)
        bytes[i] = byte_weights_byte(KERNEL_U8, from[(size_t)i * stride], step);
    float word;
    memcpy(&word, bytes, sizeof word);
    return word;
}
