/* base/e4m3.h against a search through all its values. */
#include "base/e4m3.h"

#include "support/support.h"

#define POSITIVE 127 /* patterns of what is not below 0, but for the NaN */

/* 2^(exponent - 7) * 1.mmm, or 2^-6 * 0.mmm. */
static double value_of(int pattern)
{
    int exponent = pattern >> 3, mantissa = pattern & 7;
    return exponent == 0 ? mantissa / 8.0 * 0x1p-6 : ldexp(1.0 + mantissa / 8.0, exponent - 7);
}

/* Of two that are equally near, the even one. */
static int nearest(double magnitude)
{
    int best = 0;
    for (int i = 1; i < POSITIVE; i++) {
        double gain = fabs(value_of(best) - magnitude) - fabs(value_of(i) - magnitude);
        if (gain > 0.0 || (gain == 0.0 && i % 2 == 0))
            best = i;
    }
    return best;
}

static void assert_rounded(float value)
{
    int expected = nearest(fabs((double)value)) | (signbit(value) ? 0x80 : 0);
    if (e4m3_from_float(value) != expected)
        fail_msg("%a becomes %#x, not %#x", (double)value, e4m3_from_float(value), expected);
}

static void rounds_to_the_nearest(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int i = 0; i < 200000; i++) {
        uint64_t bits = (uint64_t)random_next(&random);
        float fraction = (float)(int32_t)(uint32_t)bits * 0x1p-31f;
        assert_rounded(ldexpf(fraction, i % 32 - 18));
    }
    for (int i = 0; i + 1 < POSITIVE; i++) { /* ties */
        assert_rounded((float)((value_of(i) + value_of(i + 1)) / 2.0));
        assert_rounded((float)-((value_of(i) + value_of(i + 1)) / 2.0));
    }
}

static void reads_all_patterns(void **state)
{
    (void)state;
    for (int i = 0; i < POSITIVE; i++) {
        assert_true((double)e4m3_to_float((uint8_t)i) == value_of(i));
        assert_true((double)e4m3_to_float((uint8_t)(i | 0x80)) == -value_of(i));
        assert_int_equal(e4m3_from_float((float)value_of(i)), i);
    }
    assert_true(isnan(e4m3_to_float(0x7f)) && isnan(e4m3_to_float(0xff)));
}

static void holds_448_at_most(void **state)
{
    (void)state;
    assert_true(e4m3_round(448.0f) == 448.0f && e4m3_round(1e30f) == 448.0f);
    assert_true(e4m3_round(-INFINITY) == -448.0f);
    assert_true(isnan(e4m3_round(NAN)));
    assert_true(signbit(e4m3_round(-0.0f)) && e4m3_round(0x1p-11f) == 0.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_to_the_nearest),
        cmocka_unit_test(reads_all_patterns),
        cmocka_unit_test(holds_448_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
