/* Classes and probabilities against plain loops in double precision. */
#include "support/support.h"

#include "image/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PIXELS 2500 /* more than two blocks, and a rest */

static float *random_logits(int classes, uint64_t seed)
{
    float *logits = malloc(sizeof *logits * (size_t)classes * PIXELS);
    for (size_t i = 0; i < (size_t)classes * PIXELS; i++)
        logits[i] = random_float(&seed, -6, 6);
    for (size_t i = 0; i < PIXELS; i += 3) { /* ties */
        for (int c = 0; c < classes; c++)
            logits[(size_t)c * PIXELS + i] = roundf(logits[(size_t)c * PIXELS + i] / 4);
    }
    return logits;
}

static void picks_the_first_maximum(void **state)
{
    (void)state;
    static const int counts[] = {2, 3, 19, 256};
    static uint8_t mask[PIXELS];
    for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
        int classes = counts[k];
        float *logits = random_logits(classes, 17 + k);
        memset(mask, 99, sizeof mask);
        logits_to_mask(logits, classes, PIXELS, 0.5, mask);
        for (size_t i = 0; i < PIXELS; i++) {
            for (int c = 0; c < classes; c++) {
                float best = logits[mask[i] * (size_t)PIXELS + i];
                float other = logits[(size_t)c * PIXELS + i];
                assert_true(c < mask[i] ? other < best : other <= best);
            }
        }
        free(logits);
    }
}

static void is_strict_at_the_threshold(void **state)
{
    (void)state;
    static const float logits[] = {0.0f, -0.0f, 1e-3f, -1e-3f, 100.0f, -100.0f};
    static const uint8_t half[] = {0, 0, 1, 0, 1, 0};
    uint8_t mask[6];
    logits_to_mask(logits, 1, 6, 0.5, mask);
    assert_memory_equal(mask, half, 6);
}

/* The border is where float32's sigmoid, computed for each pixel, says. */
static void thresholds_the_sigmoid(void **state)
{
    (void)state;
    static const double thresholds[] = {0.5, 0.1, 0.3, 0.9, 0.999999, 1e-6, 1e-30, 0.75};
    static uint8_t mask[PIXELS];
    float *logits = random_logits(1, 23);
    for (size_t t = 0; t < sizeof thresholds / sizeof thresholds[0]; t++) {
        double border = log(thresholds[t] / (1 - thresholds[t]));
        for (size_t i = 1; i < PIXELS; i += 2) /* many close by, on both sides */
            logits[i] = (float)(border + (double)((int)i - PIXELS / 2) * 1e-7);
        logits_to_mask(logits, 1, PIXELS, thresholds[t], mask);
        for (size_t i = 0; i < PIXELS; i++)
            assert_int_equal(mask[i], 1.0f / (1.0f + expf(-logits[i])) > (float)thresholds[t]);
    }
    free(logits);
}

static void takes_odd_thresholds(void **state)
{
    (void)state;
    static const float logits[] = {-INFINITY, -200, 0, 200, INFINITY, NAN};
    static const uint8_t zero[] = {0, 0, 1, 1, 1, 0}, below[] = {1, 1, 1, 1, 1, 0}, none[6] = {0};
    uint8_t mask[6];
    logits_to_mask(logits, 1, 6, 0, mask);
    assert_memory_equal(mask, zero, 6);
    logits_to_mask(logits, 1, 6, -1, mask);
    assert_memory_equal(mask, below, 6);
    logits_to_mask(logits, 1, 6, 1, mask);
    assert_memory_equal(mask, none, 6);
    logits_to_mask(logits, 1, 6, NAN, mask);
    assert_memory_equal(mask, none, 6);
}

static void nan_never_wins(void **state)
{
    (void)state;
    /* Four pixels, three classes. */
    static const float logits[12] = {1,         NAN, -INFINITY, NAN, NAN,       5,
                                     -INFINITY, NAN, 0,         6,   -INFINITY, NAN};
    static const uint8_t expected[4] = {0, 0, 0, 0};
    uint8_t mask[4];
    logits_to_mask(logits, 3, 4, 0.5, mask);
    assert_memory_equal(mask, expected, 4);
}

static void gives_probabilities(void **state)
{
    (void)state;
    static const int counts[] = {1, 2, 11, 256};
    for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
        int classes = counts[k];
        float *logits = random_logits(classes, 5 + k);
        float *prob = malloc(sizeof *prob * (size_t)classes * PIXELS);
        logits[0] = 300; /* exp of it alone would overflow */
        logits_to_prob(logits, classes, PIXELS, prob);
        for (size_t i = 0; i < PIXELS; i++) {
            double sum = 0;
            for (int c = 0; c < classes; c++)
                sum += exp((double)logits[(size_t)c * PIXELS + i] - logits[i]);
            for (int c = 0; c < classes; c++) {
                double logit = logits[(size_t)c * PIXELS + i];
                double wanted = classes == 1 ? 1 / (1 + exp(-logit)) : exp(logit - logits[i]) / sum;
                assert_true(fabs(prob[(size_t)c * PIXELS + i] - wanted) < 5e-7);
            }
        }
        float *in_place = logits;
        logits_to_prob(logits, classes, PIXELS, in_place);
        assert_memory_equal(in_place, prob, sizeof *prob * (size_t)classes * PIXELS);
        free(logits);
        free(prob);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_the_first_maximum), cmocka_unit_test(is_strict_at_the_threshold),
        cmocka_unit_test(thresholds_the_sigmoid),  cmocka_unit_test(takes_odd_thresholds),
        cmocka_unit_test(nan_never_wins),          cmocka_unit_test(gives_probabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
