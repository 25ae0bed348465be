/* base/f16.h against arithmetic in double: an f16 has 11 significant bits, and fewer below
 * 2^-14. */
#include "base/f16.h"

#include <math.h>

#include "support/support.h"

/* The nearest multiple of the last bit's worth, ties to even (nearbyint's default). */
static double nearest(double value)
{
    int exponent;
    if (value == 0.0 || !isfinite(value))
        return value;
    frexp(value, &exponent);
    double unit = ldexp(1.0, (exponent < -13 ? -13 : exponent) - 11);
    double rounded = nearbyint(value / unit) * unit;
    return fabs(rounded) > 65504 ? copysign(INFINITY, value) : rounded;
}

static void assert_rounded(float value)
{
    double got = (double)f16_round(value), expected = nearest((double)value);
    if (got != expected || signbit(got) != signbit(expected))
        fail_msg("%a becomes %a, not %a", (double)value, got, expected);
}

static void rounds_to_the_nearest(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int i = 0; i < 400000; i++) {
        uint32_t bits = (uint32_t)random_next(&random);
        if (i % 2) /* exponents where f16 has numbers */
            bits = (bits & 0x807fffffu) | (100u + bits % 45u) << 23;
        float value;
        memcpy(&value, &bits, sizeof value);
        if (!isnan(value))
            assert_rounded(value);
    }
}

static void ties_go_to_the_even(void **state)
{
    (void)state;
    for (int exponent = -26; exponent < 17; exponent++)
        for (int i = 1024; i < 2048; i++)
            assert_rounded((float)ldexp(i + 0.5, exponent - 10));
    assert_rounded(65519.996f);
    assert_rounded(65520.0f);
    assert_rounded(-65504.0f);
}

static void every_f16_stays_what_it_is(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000u; bits++) {
        float value = f16_to_float((uint16_t)bits);
        if (isnan(value))
            assert_true(isnan(f16_round(value)) && (bits & 0x7fffu) > 0x7c00u);
        else
            assert_int_equal(f16_from_float(value), bits);
    }
    assert_true(f16_to_float(0x3c00) == 1.0f && f16_to_float(0x0001) == 0x1p-24f);
    assert_true(f16_to_float(0x7bff) == 65504.0f && f16_to_float(0xfc00) == -INFINITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_to_the_nearest),
        cmocka_unit_test(ties_go_to_the_even),
        cmocka_unit_test(every_f16_stays_what_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
