/* Checkpoint → engine → logits, against what PyTorch computed: every variant, every tier, one
 * thread or several. tests/golden/cases/index.txt lists the cases. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/memory.h"

struct golden_case {
    char model[128], input[128], logits[128];
};

static unet_engine *build(const char *model_name, unet_precision precision)
{
    unet_error error;
    char relative[256];
    unet_model *model = NULL;
    unet_engine *engine = NULL;
    unet_build_options options = UNET_BUILD_OPTIONS_INIT;
    options.timing = UNET_TIMING_OFF; /* the same kernels in every test run */
    snprintf(relative, sizeof relative, "tests/golden/models/%s", model_name);
    assert_ok(unet_model_open(repository_path(relative), &model, &error), &error);
    options.precision = precision;
    assert_ok(unet_build(model, &options, &engine, &error), &error);
    unet_model_close(&model);
    return engine;
}

static unet_array array_of(const char *name)
{
    unet_error error;
    char relative[256];
    unet_array array = {0};
    snprintf(relative, sizeof relative, "tests/golden/cases/%s", name);
    assert_ok(unet_array_load(repository_path(relative), &array, &error), &error);
    assert_int_equal(array.dtype, UNET_F32);
    return array;
}

/* The last three axes; any before them are 1. */
static const int64_t *planes(const unet_array *array)
{
    assert_true(array->rank >= 3);
    for (int i = 0; i < array->rank - 3; i++)
        assert_int_equal(array->shape[i], 1);
    return array->shape + array->rank - 3;
}

static void run(const unet_engine *engine, int threads, const unet_array *input, float *logits)
{
    unet_error error;
    unet_session *session = NULL;
    unet_session_options options = {.size = sizeof options, .threads = threads};
    const int64_t *shape = planes(input);
    assert_ok(unet_session_create(engine, &options, &session, &error), &error);
    assert_ok(
        unet_session_run(session, input->data, 1, (int)shape[1], (int)shape[2], logits, &error),
        &error);
    unet_session_close(&session);
}

static double largest(const float *values, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fabs((double)values[i]) > most ? fabs((double)values[i]) : most;
    return most;
}

/* Whether logits are near PyTorch's, where the largest is `most`. These networks have random
 * weights, which do not damp what bf16's 2⁻⁹ a value adds up to over 20 layers: single logits are
 * 7% off, all together 1%. */
static bool are_near(unet_precision precision, const float *logits, const float *expected,
                     size_t count)
{
    double most = largest(expected, count), difference = max_difference(logits, expected, count);
    double sum = 0;
    if (precision != UNET_PRECISION_BF16)
        return difference <= (1e-4 * most < 1e-3 ? 1e-4 * most : 1e-3);
    for (size_t i = 0; i < count; i++)
        sum += fabs((double)logits[i] - (double)expected[i]);
    return difference <= 0.1 * most && sum / (double)count <= 0.01 * most;
}

static void check_case(const unet_engine *engine, unet_precision precision,
                       const struct golden_case *item)
{
    unet_array input = array_of(item->input), expected = array_of(item->logits);
    const int64_t *shape = planes(&expected);
    size_t count = (size_t)(shape[0] * shape[1] * shape[2]);
    float *first = memory_alloc_array(count, sizeof *first);
    float *other = memory_alloc_array(count, sizeof *other);
    run(engine, 1, &input, first);
    if (!are_near(precision, first, expected.data, count))
        fail_msg("%s: logits differ by %g", item->logits,
                 max_difference(first, expected.data, count));
    for (int threads = 2; threads <= 3; threads++) {
        run(engine, threads, &input, other);
        assert_memory_equal(first, other, count * sizeof *first);
    }
    memory_free(first);
    memory_free(other);
    unet_array_clear(&input);
    unet_array_clear(&expected);
}

/* The index is sorted by model, so each is built once a tier. */
static int check_all(unet_precision precision)
{
    FILE *index = fopen(repository_path("tests/golden/cases/index.txt"), "r");
    struct golden_case item;
    char built[128] = "";
    unet_engine *engine = NULL;
    int cases = 0;
    assert_non_null(index);
    while (fscanf(index, "%127s %127s %127s", item.model, item.input, item.logits) == 3) {
        if (strcmp(built, item.model) != 0) {
            unet_engine_close(&engine);
            engine = build(item.model, precision);
            snprintf(built, sizeof built, "%s", item.model);
        }
        check_case(engine, precision, &item);
        cases++;
    }
    fclose(index);
    unet_engine_close(&engine);
    return cases;
}

static void logits_are_those_of_pytorch(void **state)
{
    (void)state;
    for (int tier = 0; tier <= (int)cpu_tier_detected(); tier++) {
        setenv("UNET_CPU", cpu_tier_name((enum cpu_tier)tier), 1);
        assert_true(check_all(UNET_PRECISION_FP32) >= 20);
    }
    unsetenv("UNET_CPU");
}

static void bf16_logits_are_near_those_of_pytorch(void **state)
{
    (void)state;
    if ((cpu_features() & CPU_AVX512_BF16) == 0) {
        print_message("not on this machine: it has no AVX512_BF16\n");
        skip();
    }
    assert_true(check_all(UNET_PRECISION_BF16) >= 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(logits_are_those_of_pytorch),
                                       cmocka_unit_test(bf16_logits_are_near_those_of_pytorch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
