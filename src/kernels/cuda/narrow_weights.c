#include "kernels/cuda/narrow_weights.h"

#include "base/e4m3.h"

#include <math.h>
#include <string.h>

bool narrow_type(enum kernel_type type)
{
    return type == KERNEL_U8 || type == KERNEL_E4M3;
}

static float e4m3_step(const struct kernel_weights *weights, int out, const struct weight_row *row)
{
    float most = 0.0f;
    if (weights->weight_step != NULL)
        return weights->weight_step[out];
    for (int i = 0; i < row->inputs && row->first != NULL; i++)
        for (int tap = 0; tap < row->taps; tap++)
            most = fmaxf(most, fabsf(row->first[(size_t)i * row->stride + (size_t)tap]));
    return most > 0.0f ? most / E4M3_MOST : 1.0f;
}

static double e4m3_lost(const struct kernel_weights *weights, float step,
                        const struct weight_row *row)
{
    double lost = 0.0;
    if (weights->mean == NULL || row->first == NULL)
        return lost;
    for (int i = 0; i < row->inputs; i++)
        for (int tap = 0; tap < row->taps; tap++) {
            float weight = row->first[(size_t)i * row->stride + (size_t)tap];
            double kept = (double)e4m3_round(weight / step) * (double)step;
            lost += ((double)weight - kept) * (double)weights->mean[i];
        }
    return lost;
}

float narrow_step(enum kernel_type type, const struct kernel_weights *weights, int out,
                  const struct weight_row *row)
{
    return (type == KERNEL_U8 ? byte_weights_step : e4m3_step)(weights, out, row);
}

double narrow_lost(enum kernel_type type, const struct kernel_weights *weights, float step,
                   const struct weight_row *row)
{
    return (type == KERNEL_U8 ? byte_weights_lost : e4m3_lost)(weights, step, row);
}

char narrow_byte(enum kernel_type type, float weight, float step)
{
    char byte;
    if (type == KERNEL_E4M3)
        return (char)e4m3_from_float(weight / step);
    float word = byte_weights_word(&weight, 0, 1, step);
    memcpy(&byte, &word, sizeof byte);
    return byte;
}
