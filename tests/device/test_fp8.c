/* Builds of fp8 for a device. */
#include "building.h"

#include <math.h>

#include "base/memory.h"
#include "graph/reference.h"

#define IMAGES 4
/* Of the other's 19 some are so small that one flip takes them below the least IoU. */
#define TWO_CLASSES "tests/golden/models/old-bilinear.pth"

static const char *const *images_for_fp8(void)
{
    static const char *paths[IMAGES];
    uint64_t seed = 3;
    for (int i = 0; i < IMAGES; i++) {
        unet_error error;
        unet_image image;
        char name[16];
        snprintf(name, sizeof name, "%d.png", i);
        assert_ok(unet_image_new(32, 32, 1, 8, &image, &error), &error);
        for (int p = 0; p < 32 * 32; p++)
            ((uint8_t *)image.pixels)[p] = (uint8_t)random_next(&seed);
        paths[i] = memory_strdup(temporary_path(name));
        assert_ok(unet_mask_save(paths[i], &image, &error), &error);
        unet_image_clear(&image);
    }
    return paths;
}

static unet_build_options fp8_options(unet_timing timing, unet_build_report **report)
{
    unet_build_options options = options_for("cuda", UNET_PRECISION_FP8);
    options.calibration_images = images_for_fp8();
    options.calibration_count = IMAGES;
    options.max_flips = 100;
    options.timing = timing;
    options.report = report;
    return options;
}

static void forget_images(const unet_build_options *options)
{
    for (int i = 0; i < IMAGES; i++)
        memory_free((void *)(uintptr_t)options->calibration_images[i]);
}

/* What the device makes of it, beside the interpreter of its graph. Where two sums of one value
 * part by a last bit, a rounding to four bits may too: a few logits may differ a little. */
static void assert_runs_as_its_graph(const unet_engine *engine)
{
    enum { SIDE = 32, IN = 3 * SIDE * SIDE };
    unet_error error;
    unet_engine_info info = info_of(engine);
    size_t count = (size_t)info.classes * SIDE * SIDE;
    float *input = network_input(IN, 5), *logits = memory_alloc_array(count, sizeof *logits);
    float *expected = memory_alloc_array(count, sizeof *expected);
    unet_session *session = session_for(engine, false);
    assert_ok(unet_session_run(session, input, 1, SIDE, SIDE, logits, &error), &error);
    assert_ok(graph_reference_run(&engine->graph, input, SIDE, SIDE, expected, &error), &error);
    double difference = max_difference(logits, expected, count), most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs((double)expected[i]));
    if (!(difference <= 0.01 * most))
        fail_msg("logits of up to %g differ by %g", most, difference);
    unet_session_close(&session);
    memory_free(input);
    memory_free(logits);
    memory_free(expected);
}

static int layers_of(const unet_build_report *report, const char *precision)
{
    unet_error error;
    unet_build_report_info info = {.size = sizeof info};
    int count = 0;
    assert_ok(unet_build_report_get_info(report, &info, &error), &error);
    for (size_t i = 0; i < info.layer_count; i++) {
        unet_layer_report layer = {.size = sizeof layer};
        assert_ok(unet_build_report_get_layer(report, i, &layer, &error), &error);
        count += strcmp(layer.precision, precision) == 0;
    }
    return count;
}

static void fp8_is_built_written_and_run(void **state)
{
    (void)state;
    unet_error error;
    struct notices notices;
    unet_build_report *report = NULL;
    unet_build_report_info told = {.size = sizeof told};
    unet_build_options options = fp8_options(UNET_TIMING_OFF, &report);
    unet_engine *engine = build_of(TWO_CLASSES, &options), *opened;
    assert_string_equal(info_of(engine).precision, "fp8");
    assert_ok(unet_build_report_get_info(report, &told, &error), &error);
    assert_string_equal(told.precision, "fp8");
    assert_string_equal(told.instructions, "sm_90");
    assert_true(layers_of(report, "fp8") > 5 && layers_of(report, "int8") == 0);
    opened = reopened(engine, NULL, &notices);
    assert_string_equal(notices.text, "");
    assert_string_equal(info_of(opened).precision, "fp8");
    assert_false(info_of(opened).repacked);
    assert_int_equal(graph_precision(&opened->graph), GRAPH_E4M3);
    for (int v = 0; v < opened->graph.value_count; v++)
        assert_int_equal(opened->graph.values[v].zero, 0);
    assert_runs_as_its_graph(opened);
    unet_engine_close(&opened);
    unet_engine_close(&engine);
    unet_build_report_close(&report);
    forget_images(&options);
    assert_int_equal(counts_now().live_objects, 0);
}

/* Beside fp16, which takes twice as long in this device. */
static void fp8_races_against_fp16(void **state)
{
    (void)state;
    unet_error error;
    unet_build_report *report = NULL;
    unet_build_report_info told = {.size = sizeof told};
    unet_build_options options = fp8_options(UNET_TIMING_ON, &report);
    const unet_keep keep[] = {{"up4.conv.double_conv.3", UNET_PRECISION_FP16},
                              {"up3.conv.double_conv.0", UNET_PRECISION_FP8}};
    options.keep = keep;
    options.keep_count = 2;
    unet_engine *engine = build_of(TWO_CLASSES, &options);
    assert_ok(unet_build_report_get_info(report, &told, &error), &error);
    assert_string_equal(told.wider, "fp16");
    assert_true(told.milliseconds > 0 && told.wider_milliseconds > 0);
    assert_true(layers_of(report, "fp16") >= 1 && layers_of(report, "fp8") >= 1);
    unet_engine_close(&engine);
    unet_build_report_close(&report);
    options.keep = &(unet_keep){"up3.conv.double_conv.0", UNET_PRECISION_INT8};
    options.keep_count = 1;
    refuse_build(&options, UNET_ERROR_USAGE, "no layer of this build can be int8; give fp8");
    options.precision = UNET_PRECISION_INT8;
    options.keep = &(unet_keep){"up3.conv.double_conv.0", UNET_PRECISION_FP8};
    refuse_build(&options, UNET_ERROR_USAGE, "no layer of this build can be fp8; give int8");
    forget_images(&options);
}

/* Ranges serve both; what one has decided says nothing about the other. */
static void a_table_of_int8_gives_fp8_its_ranges(void **state)
{
    (void)state;
    unet_error error;
    struct notices notices = {""};
    unet_build_report *report = NULL;
    unet_build_report_info told = {.size = sizeof told};
    unet_build_options options = fp8_options(UNET_TIMING_OFF, &report);
    options.precision = UNET_PRECISION_INT8;
    options.calibration_table = temporary_path("int8.table");
    unet_engine *engine = build(&options);
    unet_engine_close(&engine);
    unet_build_report_close(&report);
    forget_images(&options);
    options.calibration_images = NULL;
    options.calibration_count = 0;
    options.log = note_line;
    options.log_user = &notices;
    options.precision = UNET_PRECISION_FP8;
    engine = build(&options);
    assert_string_equal(info_of(engine).precision, "fp8");
    assert_non_null(strstr(notices.text, "flips not measured"));
    assert_non_null(strstr(notices.text, "fp8 products: sm_90"));
    assert_ok(unet_build_report_get_info(report, &told, &error), &error);
    assert_string_equal(told.method, "table");
    assert_true(isnan(told.flips));
    assert_true(layers_of(report, "fp8") > 15);
    assert_runs_as_its_graph(engine);
    unet_engine_close(&engine);
    unet_build_report_close(&report);
}

static void fp8_repeats_its_own_table(void **state)
{
    (void)state;
    unet_error error;
    unet_build_report *report = NULL;
    unet_build_report_info first = {.size = sizeof first}, again = {.size = sizeof again};
    unet_build_options options = fp8_options(UNET_TIMING_OFF, &report);
    options.calibration_table = temporary_path("fp8.table");
    options.keep = &(unet_keep){"up4.conv.double_conv.3", UNET_PRECISION_FP32};
    options.keep_count = 1;
    unet_engine *engine = build_of(TWO_CLASSES, &options), *repeated;
    assert_ok(unet_build_report_get_info(report, &first, &error), &error);
    unet_build_report_close(&report);
    forget_images(&options);
    options.calibration_images = NULL;
    options.calibration_count = options.keep_count = 0;
    options.keep = NULL;
    repeated = build_of(TWO_CLASSES, &options);
    assert_ok(unet_build_report_get_info(report, &again, &error), &error);
    assert_float_equal(again.flips, first.flips, 1e-5);
    assert_int_equal(engine->plan.step_count, repeated->plan.step_count);
    for (int i = 0; i < engine->plan.step_count; i++)
        assert_int_equal(engine->plan.steps[i].desc.in_type, repeated->plan.steps[i].desc.in_type);
    unet_engine_close(&repeated);
    unet_engine_close(&engine);
    unet_build_report_close(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp8_is_built_written_and_run),
        cmocka_unit_test(fp8_races_against_fp16),
        cmocka_unit_test(a_table_of_int8_gives_fp8_its_ranges),
        cmocka_unit_test(fp8_repeats_its_own_table),
    };
    use_fake_device();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
