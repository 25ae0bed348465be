/* base/tensor.c and base/names.c: sets of named tensors, shapes, conversion to float32. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/tensor.h"

static unet_status add(struct tensor_set *set, const char *name, unet_error *error)
{
    unet_tensor tensor = {.name = name, .dtype = UNET_F32, .rank = 1, .shape = {0}};
    return tensor_set_add(set, &tensor, error);
}

static void sets_find_what_was_added_and_nothing_else(void **state)
{
    (void)state;
    struct tensor_set set = {0};
    unet_error error;
    char name[32];
    assert_null(tensor_set_find(&set, "layer.0"));
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "layer.%d", i);
        assert_ok(add(&set, name, &error), &error);
    }
    assert_int_equal(set.count, 20000);
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "layer.%d", i);
        assert_ptr_equal(tensor_set_find(&set, name), &set.items[i]);
        assert_string_equal(set.items[i].name, name);
    }
    assert_null(tensor_set_find(&set, "layer.20000"));
    assert_null(tensor_set_find(&set, ""));
    assert_error(add(&set, "layer.77", &error), UNET_ERROR_MODEL, &error, "layer.77");
    assert_int_equal(set.count, 20000);
    tensor_set_clear(&set);
    assert_int_equal(set.count, 0);
    tensor_set_clear(&set);
}

static unet_status fill(struct tensor_set *set, unet_error *error)
{
    char name[32];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "%d", i);
        TRY(add(set, name, error));
    }
    return UNET_OK;
}

static void sets_survive_every_failing_allocation(void **state)
{
    (void)state;
    unet_status status = UNET_ERROR_MEMORY;
    for (long n = 0; status != UNET_OK; n++) {
        assert_true(n < 1000);
        struct tensor_set set = {0};
        unet_error error;
        memory_fail_after(n);
        status = fill(&set, &error);
        memory_fail_after(-1);
        assert_true(status == UNET_OK || status == UNET_ERROR_MEMORY);
        tensor_set_clear(&set);
    }
}

static void counts_are_products_that_do_not_overflow(void **state)
{
    (void)state;
    int64_t count;
    assert_true(tensor_count(NULL, 0, &count));
    assert_int_equal(count, 1);
    assert_true(tensor_count((int64_t[]){64, 3, 3, 3}, 4, &count));
    assert_int_equal(count, 1728);
    assert_true(tensor_count((int64_t[]){5, 0, 7}, 3, &count));
    assert_int_equal(count, 0);
    assert_true(tensor_count((int64_t[]){INT64_MAX, 1}, 2, &count));
    assert_true(count == INT64_MAX);
    assert_false(tensor_count((int64_t[]){INT64_C(1) << 32, INT64_C(1) << 31}, 2, &count));
    assert_false(tensor_count((int64_t[]){3, -1}, 2, &count));
    assert_false(tensor_count((int64_t[]){0, -1}, 2, &count));
}

static void shapes_have_a_text(void **state)
{
    (void)state;
    char text[200], small[6];
    assert_string_equal(tensor_shape_text((int64_t[]){64, 3, 3, 3}, 4, text, sizeof text),
                        "64×3×3×3");
    assert_string_equal(tensor_shape_text(NULL, 0, text, sizeof text), "scalar");
    assert_string_equal(tensor_shape_text((int64_t[]){7}, 1, text, sizeof text), "7");
    tensor_shape_text((int64_t[]){123456, 123456}, 2, small, sizeof small);
    assert_string_equal(small, "12345");
}

static void dtypes_have_sizes_and_names(void **state)
{
    (void)state;
    assert_int_equal(unet_dtype_size(UNET_BF16), 2);
    assert_int_equal(unet_dtype_size(UNET_I64), 8);
    assert_string_equal(unet_dtype_name(UNET_BOOL), "bool");
    assert_int_equal(unet_dtype_size((unet_dtype)99), 0);
    assert_non_null(unet_dtype_name((unet_dtype)-1));
}

/* IEEE 754 binary16 by its definition, in double. */
static double half_by_definition(unsigned bits)
{
    double sign = bits >> 15 ? -1.0 : 1.0;
    int exponent = (int)(bits >> 10 & 31), mantissa = (int)(bits & 1023);
    if (exponent == 31)
        return mantissa == 0 ? sign * INFINITY : NAN;
    if (exponent == 0)
        return sign * ldexp(mantissa, -24);
    return sign * ldexp(1024 + mantissa, exponent - 25);
}

static void every_half_becomes_its_float(void **state)
{
    (void)state;
    static uint16_t halves[65536];
    static float values[65536];
    for (unsigned i = 0; i < 65536; i++)
        halves[i] = (uint16_t)i;
    unet_tensor tensor = {.dtype = UNET_F16, .data = halves, .bytes = sizeof halves};
    tensor_to_float(&tensor, 0, 65536, values);
    for (unsigned i = 0; i < 65536; i++) {
        double expected = half_by_definition(i);
        if (isnan(expected))
            assert_true(isnan(values[i]));
        else
            assert_true((double)values[i] == expected && !signbit(values[i]) == !(i >> 15));
    }
}

#define ASSERT_CONVERTS(name, type, value, expected)                                               \
    do {                                                                                           \
        type values[3] = {0, 0, value};                                                            \
        unet_tensor tensor = {.dtype = name, .data = values, .bytes = sizeof values};              \
        float out[2] = {-1, -1};                                                                   \
        tensor_to_float(&tensor, 1, 2, out);                                                       \
        assert_true(out[0] == 0.0f && out[1] == (expected));                                       \
    } while (0)

static void all_dtypes_become_floats(void **state)
{
    (void)state;
    ASSERT_CONVERTS(UNET_F32, float, 1.5f, 1.5f);
    ASSERT_CONVERTS(UNET_BF16, uint16_t, 0xc0a0, -5.0f);
    ASSERT_CONVERTS(UNET_F64, double, 1.0 + 0x1.8p-24, 1.0f + 0x1p-23f); /* to nearest */
    ASSERT_CONVERTS(UNET_F64, double, 1.0 + 0x1p-24, 1.0f);              /* ties to even */
    ASSERT_CONVERTS(UNET_U8, uint8_t, 255, 255.0f);
    ASSERT_CONVERTS(UNET_I8, int8_t, -128, -128.0f);
    ASSERT_CONVERTS(UNET_I16, int16_t, -32768, -32768.0f);
    ASSERT_CONVERTS(UNET_I32, int32_t, 16777217, 16777216.0f);
    ASSERT_CONVERTS(UNET_I64, int64_t, -(INT64_C(1) << 40), -0x1p40f);
    ASSERT_CONVERTS(UNET_BOOL, uint8_t, 7, 1.0f);
    /* By way of double, 2⁵⁴ + 2³⁰ + 1 loses its 1 and then lies half-way, to the even 2⁵⁴. */
    ASSERT_CONVERTS(UNET_I64, int64_t, (INT64_C(1) << 54) + (INT64_C(1) << 30) + 1, 0x1p54f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_find_what_was_added_and_nothing_else),
        cmocka_unit_test(sets_survive_every_failing_allocation),
        cmocka_unit_test(counts_are_products_that_do_not_overflow),
        cmocka_unit_test(shapes_have_a_text),
        cmocka_unit_test(dtypes_have_sizes_and_names),
        cmocka_unit_test(every_half_becomes_its_float),
        cmocka_unit_test(all_dtypes_become_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
