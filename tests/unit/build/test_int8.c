/* unet_build of int8 as a whole: what its report says against what its engine is, and lack of
 * memory. What it does to masks is tested through the program. */
#include <string.h>

#include "base/memory.h"
#include "support/support.h"

#define IMAGES 3

static const char *paths[IMAGES];

static void make_images(void)
{
    static const char *const names[IMAGES] = {"0.png", "1.png", "2.png"};
    uint64_t seed = 3;
    for (int i = 0; i < IMAGES; i++) {
        unet_error error;
        unet_image image;
        assert_ok(unet_image_new(64, 48, 1, 8, &image, &error), &error);
        for (int p = 0; p < 64 * 48; p++)
            ((uint8_t *)image.pixels)[p] = (uint8_t)random_next(&seed);
        paths[i] = memory_strdup(temporary_path(names[i]));
        assert_ok(unet_mask_save(paths[i], &image, &error), &error);
        unet_image_clear(&image);
    }
}

static unet_build_options options_of(unet_build_report **report)
{
    unet_build_options options = UNET_BUILD_OPTIONS_INIT;
    options.precision = UNET_PRECISION_INT8;
    options.calibration_images = paths;
    options.calibration_count = IMAGES;
    options.calibration_method = UNET_CALIBRATION_MSE;
    options.max_flips = 90;
    options.timing = UNET_TIMING_OFF;
    options.threads = 1;
    options.height = 48;
    options.width = 64;
    options.report = report;
    return options;
}

static unet_model *open_model(void)
{
    unet_error error;
    unet_model *model = NULL;
    assert_ok(
        unet_model_open(repository_path("tests/golden/models/old-bilinear.pth"), &model, &error),
        &error);
    return model;
}

/* A machine without fast bytes has nothing to test here. */
static bool build(const unet_model *model, unet_engine **engine, unet_build_report **report)
{
    unet_error error;
    unet_build_options options = options_of(report);
    unet_status status = unet_build(model, &options, engine, &error);
    if (status == UNET_ERROR_DEVICE) {
        print_message("not on this machine: %s\n", error.message);
        return false;
    }
    assert_ok(status, &error);
    return true;
}

static void the_report_is_of_the_engine(void **state)
{
    (void)state;
    unet_error error;
    unet_engine *engine = NULL;
    unet_build_report *report = NULL;
    unet_model *model = open_model();
    if (build(model, &engine, &report)) {
        unet_build_report_info info = {.size = sizeof info};
        unet_engine_info about = {.size = sizeof about};
        size_t found = 0;
        assert_ok(unet_build_report_get_info(report, &info, &error), &error);
        assert_ok(unet_engine_get_info(engine, &about, &error), &error);
        assert_string_equal(info.precision, about.precision);
        assert_string_equal(info.method, "mse");
        assert_int_equal(info.calibration_images + info.judged_images, IMAGES);
        for (size_t i = 0; i < about.layer_count && found < info.layer_count; i++) {
            unet_layer_info layer = {.size = sizeof layer};
            unet_layer_report row = {.size = sizeof row};
            assert_ok(unet_engine_get_layer(engine, i, &layer, &error), &error);
            assert_ok(unet_build_report_get_layer(report, found, &row, &error), &error);
            if (strcmp(layer.name, row.name) != 0)
                continue;
            assert_string_equal(layer.kernel, row.kernel);
            found++;
        }
        assert_int_equal(found, info.layer_count);
        unet_layer_report row = {.size = sizeof row};
        assert_error(unet_build_report_get_layer(report, info.layer_count, &row, &error),
                     UNET_ERROR_USAGE, &error, "layers");
    }
    unet_build_report_close(&report);
    unet_engine_close(&engine);
    unet_model_close(&model);
}

/* Not each of some 2,000 allocations, but all of the first and some of the others. */
static void survives_lack_of_memory(void **state)
{
    (void)state;
    unet_model *model = open_model();
    unet_status status = UNET_ERROR_MEMORY;
    for (long failures = 0; status == UNET_ERROR_MEMORY; failures += failures < 30 ? 1 : 43) {
        unet_error error;
        unet_engine *engine = NULL;
        unet_build_report *report = NULL;
        unet_build_options options = options_of(&report);
        memory_fail_after(failures);
        status = unet_build(model, &options, &engine, &error);
        memory_fail_after(-1);
        if (status == UNET_ERROR_MEMORY) {
            assert_null(engine);
            assert_null(report);
        } else if (status != UNET_ERROR_DEVICE) {
            assert_ok(status, &error);
        }
        unet_build_report_close(&report);
        unet_engine_close(&engine);
    }
    unet_model_close(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_report_is_of_the_engine),
        cmocka_unit_test(survives_lack_of_memory),
    };
    make_images();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 0; i < IMAGES; i++)
        memory_free((void *)(uintptr_t)paths[i]);
    return failed;
}
