/* base/bf16.h against arithmetic in double: a bf16 has 8 significant bits. */
#include "base/bf16.h"

#include <math.h>

#include "support/support.h"

/* The nearest multiple of the last bit's worth, ties to even (nearbyint's default). */
static double nearest(double value)
{
    int exponent;
    if (value == 0.0 || !isfinite(value))
        return value;
    frexp(value, &exponent);
    double unit = ldexp(1.0, (exponent < -125 ? -125 : exponent) - 8);
    double rounded = nearbyint(value / unit) * unit;
    return fabs(rounded) >= ldexp(1.0, 128) ? copysign(INFINITY, value) : rounded;
}

static void assert_rounded(float value)
{
    double got = (double)bf16_round(value), expected = nearest((double)value);
    if (got != expected || signbit(got) != signbit(expected))
        fail_msg("%a becomes %a, not %a", (double)value, got, expected);
}

static void rounds_to_the_nearest(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int i = 0; i < 200000; i++) {
        uint32_t bits = (uint32_t)random_next(&random);
        float value;
        memcpy(&value, &bits, sizeof value);
        if (!isnan(value))
            assert_rounded(value);
    }
}

static void ties_go_to_the_even(void **state)
{
    (void)state;
    const float values[] = {256.5f,      257.0f,      259.0f,     -257.0f,   0x1.01p0f,
                            0x1.03p0f,   0.0f,        -0.0f,      0x1p-133f, 0x1p-134f,
                            0x1.8p-133f, 0x1.fep127f, 0x1.ffp127f};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        assert_rounded(values[i]);
    assert_true(bf16_round(257.0f) == 256.0f && bf16_round(259.0f) == 260.0f);
}

static void a_nan_stays_one(void **state)
{
    (void)state;
    const uint32_t nans[] = {0x7f800001u, 0x7fc00000u, 0xff800001u, 0x7fffffffu, 0xffffffffu};
    for (size_t i = 0; i < sizeof nans / sizeof nans[0]; i++) {
        float value;
        memcpy(&value, &nans[i], sizeof value);
        assert_true(isnan(bf16_round(value)));
    }
    assert_true(isinf(bf16_round(INFINITY)));
}

static void every_bf16_is_a_float(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 0x10000u; i++) {
        float value = bf16_to_float((uint16_t)i);
        if (!isnan(value))
            assert_int_equal(bf16_from_float(value), i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_to_the_nearest),
        cmocka_unit_test(ties_go_to_the_even),
        cmocka_unit_test(a_nan_stays_one),
        cmocka_unit_test(every_bf16_is_a_float),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
