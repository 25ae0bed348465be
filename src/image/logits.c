/* From logits to classes and probabilities. */
#include "image/image.h"

#include <math.h>
#include <string.h>

/* Pixels whose running maximum stays in the first-level cache while the classes are walked. */
#define BLOCK 1024

static float sigmoid(float logit)
{
    return 1.0f / (1.0f + expf(-logit));
}

/* Floats in an order of integers, −infinity first. */
static float float_at(int64_t order)
{
    uint32_t bits = order < 0 ? 0x80000000u | (uint32_t)(-order - 1) : (uint32_t)order;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The sigmoid rises, so that one logit is the border, and no pixel needs an exponential. The
 * threshold is rounded to float32, as PyTorch does to compare it with a tensor. */
float logit_border(double threshold)
{
    float most = (float)threshold;
    int64_t low = -0x7f800001, high = 0x7f800000; /* the two infinities */
    if (!(sigmoid(INFINITY) > most))
        return NAN;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (sigmoid(float_at(middle)) > most)
            high = middle;
        else
            low = middle + 1;
    }
    return float_at(low);
}

static void threshold_mask(const float *logits, size_t pixels, double threshold, uint8_t *mask)
{
    float least = logit_border(threshold);
    for (size_t i = 0; i < pixels; i++)
        mask[i] = logits[i] >= least;
}

/* The choice is made with bits, for compilers do not vectorise a choice that hangs on a comparison
 * of floats. */
static void argmax_block(const float *logits, int classes, size_t pixels, size_t count,
                         uint8_t *mask)
{
    float best[BLOCK];
    int32_t index[BLOCK];
    for (size_t i = 0; i < count; i++) {
        best[i] = logits[i];
        index[i] = 0;
    }
    for (int c = 1; c < classes; c++) {
        const float *logit = logits + (size_t)c * pixels;
        for (size_t i = 0; i < count; i++) {
            int32_t better = -(logit[i] > best[i]);
            index[i] = (index[i] & ~better) | (c & better);
        }
        for (size_t i = 0; i < count; i++)
            best[i] = logit[i] > best[i] ? logit[i] : best[i];
    }
    for (size_t i = 0; i < count; i++)
        mask[i] = (uint8_t)index[i];
}

void logits_to_mask(const float *logits, int classes, size_t pixels, double threshold,
                    uint8_t *mask)
{
    if (classes == 1) {
        threshold_mask(logits, pixels, threshold, mask);
        return;
    }
    for (size_t first = 0; first < pixels; first += BLOCK) {
        size_t left = pixels - first;
        argmax_block(logits + first, classes, pixels, left < BLOCK ? left : BLOCK, mask + first);
    }
}

static void softmax_block(const float *logits, int classes, size_t pixels, size_t count,
                          float *prob)
{
    float most[BLOCK], sum[BLOCK];
    for (size_t i = 0; i < count; i++) {
        most[i] = logits[i];
        sum[i] = 0;
    }
    for (int c = 1; c < classes; c++) {
        const float *logit = logits + (size_t)c * pixels;
        for (size_t i = 0; i < count; i++)
            most[i] = logit[i] > most[i] ? logit[i] : most[i];
    }
    for (int c = 0; c < classes; c++) {
        size_t plane = (size_t)c * pixels;
        for (size_t i = 0; i < count; i++) {
            prob[plane + i] = expf(logits[plane + i] - most[i]);
            sum[i] += prob[plane + i];
        }
    }
    for (int c = 0; c < classes; c++) {
        float *out = prob + (size_t)c * pixels;
        for (size_t i = 0; i < count; i++)
            out[i] /= sum[i];
    }
}

void logits_to_prob(const float *logits, int classes, size_t pixels, float *prob)
{
    if (classes == 1) {
        for (size_t i = 0; i < pixels; i++)
            prob[i] = sigmoid(logits[i]);
        return;
    }
    for (size_t first = 0; first < pixels; first += BLOCK) {
        size_t left = pixels - first;
        softmax_block(logits + first, classes, pixels, left < BLOCK ? left : BLOCK, prob + first);
    }
}
