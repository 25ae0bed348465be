/* Bilinear resizing of tensors against PyTorch's recordings. */
#include "golden.h"

#include "base/memory.h"
#include "image/image.h"

#include <math.h>

static void compare(const char *source_name, const char *result_name)
{
    struct golden_array source = golden_array("interpolate", source_name);
    struct golden_array known = golden_array("interpolate", result_name);
    const float *expected = known.data;
    float *out = malloc(known.bytes);
    unet_error error = {0};
    assert_ok(tensor_resize_bilinear(source.data, source.shape[0], source.shape[1], source.shape[2],
                                     out, known.shape[1], known.shape[2], &error),
              &error);
    for (size_t i = 0; i < known.bytes / sizeof *expected; i++) {
        /* A position's last bit differs between PyTorch's builds: some fuse the multiply-add. It
         * is worth 4e-6 of a pixel at 60, here of steps of up to 20. */
        if (!(fabsf(out[i] - expected[i]) <= 2e-5f))
            fail_msg("%s: value %zu is %.9g, not %.9g", result_name, i, out[i], expected[i]);
    }
    free(out);
    golden_free(&source);
    golden_free(&known);
}

static void equals_pytorch(void **state)
{
    (void)state;
    FILE *index = golden_index("interpolate");
    char source[128], result[128];
    int cases = 0;
    while (fscanf(index, "%127s %127s", source, result) == 2) {
        compare(source, result);
        cases++;
    }
    fclose(index);
    assert_true(cases >= 8);
}

/* Doubled, each output lies a quarter of the way to a neighbour; the edges repeat themselves. */
static void doubles_by_quarters(void **state)
{
    (void)state;
    static const float in[3] = {0, 4, -8};
    static const float expected[6] = {0, 1, 3, 1, -5, -8};
    float out[12];
    unet_error error = {0};
    assert_ok(tensor_resize_bilinear(in, 1, 1, 3, out, 2, 6, &error), &error);
    assert_true(max_difference(out, expected, 6) < 1e-6);
    assert_true(max_difference(out + 6, expected, 6) < 1e-6);
    assert_ok(tensor_resize_bilinear(in, 1, 3, 1, out, 6, 2, &error), &error);
    for (int y = 0; y < 6; y++) {
        assert_true(fabsf(out[2 * y] - expected[y]) < 1e-6f);
        assert_true(out[2 * y] == out[2 * y + 1]);
    }
}

static void keeps_equal_sizes(void **state)
{
    (void)state;
    float in[2 * 7 * 5], out[2 * 7 * 5];
    uint64_t random = 3;
    for (int i = 0; i < 70; i++)
        in[i] = random_float(&random, -9, 9);
    assert_ok(tensor_resize_bilinear(in, 2, 7, 5, out, 7, 5, NULL), NULL);
    assert_memory_equal(in, out, sizeof in);
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    float in[4] = {0}, out[9];
    unet_status status = UNET_ERROR_MEMORY;
    for (long n = 0; status != UNET_OK; n++) {
        unet_error error = {0};
        memory_fail_after(n);
        status = tensor_resize_bilinear(in, 1, 2, 2, out, 3, 3, &error);
        memory_fail_after(-1);
        if (status == UNET_OK)
            assert_true(n > 0);
        else
            assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_pytorch),
        cmocka_unit_test(doubles_by_quarters),
        cmocka_unit_test(keeps_equal_sizes),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
