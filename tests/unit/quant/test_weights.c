/* Weight steps against every step that could be. */
#include "quant/weights.h"

#include <math.h>
#include <stdlib.h>

#include "support/support.h"

static double error_of(const float *weights, const float *importance, size_t count, double step)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double level = fmax(-127, fmin(127, nearbyint((double)weights[i] / step)));
        double off = (double)weights[i] - level * step;
        sum += (double)importance[i] * off * off;
    }
    return sum;
}

static double largest_of(const float *weights, size_t count)
{
    double largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)weights[i]));
    return largest;
}

/* Peaked, with tails, as trained weights are. */
static void draw(float *weights, float *importance, size_t count, float scale, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        float a = random_float(&seed, -1, 1), b = random_float(&seed, -1, 1);
        weights[i] = scale * a * b * b;
        importance[i] = random_float(&seed, 0, 1);
    }
}

/* Of few weights some step fits all by chance; a search need not find it. */
static void steps_are_about_the_best(void **state)
{
    (void)state;
    static const size_t counts[] = {9, 27, 144, 576, 4608};
    static float weights[4608], importance[4608];
    for (uint64_t seed = 1; seed <= 60; seed++) {
        size_t count = counts[seed % 5];
        draw(weights, importance, count, seed % 2 == 0 ? 1e-4f : 30, seed);
        double whole = largest_of(weights, count) / 127, least = INFINITY;
        for (int i = 0; i <= 1000; i++)
            least = fmin(least, error_of(weights, importance, count, whole * (1.1 - i * 8e-4)));
        double step = (double)quant_weight_step(weights, importance, count);
        double found = error_of(weights, importance, count, step);
        assert_true(found <= error_of(weights, importance, count, whole) * (1 + 1e-6));
        if (found > least * (count < 100 ? 4 : count < 1000 ? 1.3 : 1.05))
            fail_msg("seed %d, %zu weights: error %g, %g is possible", (int)seed, count, found,
                     least);
    }
}

static void unimportant_weights_are_clipped(void **state)
{
    (void)state;
    static float weights[256], importance[256];
    uint64_t seed = 3;
    for (int i = 0; i < 256; i++) {
        weights[i] = random_float(&seed, -1, 1);
        importance[i] = 1;
    }
    weights[17] = 1.8f;
    assert_true(quant_weight_step(weights, importance, 256) > 1.5f / 127);
    importance[17] = 0;
    assert_true(quant_weight_step(weights, importance, 256) < 1.1f / 127);
}

static void steps_are_above_zero(void **state)
{
    (void)state;
    float weights[32] = {0}, importance[32];
    for (int i = 0; i < 32; i++)
        importance[i] = 1;
    assert_true(quant_weight_step(weights, importance, 32) > 0);
    weights[3] = 1e-44f;
    float step = quant_weight_step(weights, importance, 32);
    assert_true(step > 0 && isfinite(1 / step));
    weights[3] = 3e38f;
    step = quant_weight_step(weights, importance, 32);
    assert_true(step > 0 && isfinite(step * 127));
    for (int i = 0; i < 32; i++)
        importance[i] = 0;
    assert_true(quant_weight_step(weights, importance, 32) > 0);
}

/* Both orders, and the importance of a channel is that of its taps. */
static void rows_are_found_in_both_orders(void **state)
{
    (void)state;
    enum { OUTPUTS = 5, INPUTS = 7, TAPS = 4, ALL = OUTPUTS * INPUTS * TAPS };
    float conv[ALL], transposed[ALL], unused[ALL], importance[INPUTS], spread[INPUTS * TAPS];
    float steps[OUTPUTS], others[OUTPUTS];
    draw(conv, unused, ALL, 1, 9);
    for (int i = 0; i < INPUTS; i++)
        importance[i] = (float)(i + 1) / 8;
    for (int o = 0; o < OUTPUTS; o++)
        for (int i = 0; i < INPUTS; i++)
            for (int t = 0; t < TAPS; t++)
                transposed[(i * OUTPUTS + o) * TAPS + t] = conv[(o * INPUTS + i) * TAPS + t];
    for (int i = 0; i < INPUTS * TAPS; i++)
        spread[i] = (float)((double)importance[i / TAPS] / (double)importance[INPUTS - 1]);
    unet_error error;
    struct quant_filters a = {conv, OUTPUTS, INPUTS, TAPS, INPUTS * TAPS, TAPS};
    struct quant_filters b = {transposed, OUTPUTS, INPUTS, TAPS, TAPS, OUTPUTS * TAPS};
    assert_ok(quant_weight_steps(&a, importance, steps, &error), &error);
    assert_ok(quant_weight_steps(&b, importance, others, &error), &error);
    assert_memory_equal(steps, others, sizeof steps);
    for (int o = 0; o < OUTPUTS; o++) {
        float alone = quant_weight_step(conv + o * INPUTS * TAPS, spread, INPUTS * TAPS);
        assert_float_equal(steps[o], alone, 0);
    }
    memory_fail_after(0);
    assert_error(quant_weight_steps(&a, NULL, steps, &error), UNET_ERROR_MEMORY, &error, "memory");
    memory_fail_after(-1);
    assert_ok(quant_weight_steps(&a, NULL, steps, &error), &error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_about_the_best),
        cmocka_unit_test(unimportant_weights_are_clipped),
        cmocka_unit_test(steps_are_above_zero),
        cmocka_unit_test(rows_are_found_in_both_orders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
