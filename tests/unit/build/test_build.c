/* The builder on PyTorch's checkpoints in tests/golden/models. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "engine/engine.h"
#include "model/model.h"

struct notes {
    int notices, details;
    char text[4096];
};

static void note(void *user, int level, const char *line)
{
    struct notes *notes = user;
    notes->notices += level == 0;
    notes->details += level == 1;
    if (level == 0)
        snprintf(notes->text, sizeof notes->text, "%s", line);
}

static unet_model *model_of(const char *name)
{
    unet_error error;
    char relative[256];
    unet_model *model = NULL;
    snprintf(relative, sizeof relative, "tests/golden/models/%s.pth", name);
    assert_ok(unet_model_open(repository_path(relative), &model, &error), &error);
    return model;
}

static unet_engine *built(const unet_model *model, const unet_build_options *options)
{
    unet_error error;
    unet_engine *engine = NULL;
    assert_ok(unet_build(model, options, &engine, &error), &error);
    return engine;
}

static void recognizes_every_variant(void **state)
{
    (void)state;
    static const struct {
        const char *name, *architecture;
        bool bias;
    } variants[] = {
        {"old-bilinear", "unet-bilinear-old", true},  {"bilinear", "unet-bilinear", false},
        {"bilinear-bias", "unet-bilinear", true},     {"transposed", "unet-transposed", false},
        {"transposed-bias", "unet-transposed", true}, {"brain", "brain-segmentation", false},
    };
    unet_error error;
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        unet_network_info network = {.size = sizeof network};
        unet_engine_info info = {.size = sizeof info};
        unet_model_info about = {.size = sizeof about};
        unet_model *model = model_of(variants[i].name);
        assert_ok(unet_model_recognize(model, &network, &error), &error);
        assert_ok(unet_model_get_info(model, &about, &error), &error);
        assert_string_equal(network.architecture, variants[i].architecture);
        assert_int_equal(network.conv_bias, variants[i].bias);
        unet_engine *engine = built(model, NULL);
        unet_model_close(&model); /* the engine must not need it */
        assert_ok(unet_engine_get_info(engine, &info, &error), &error);
        assert_string_equal(info.architecture, variants[i].architecture);
        assert_int_equal(info.in_channels, network.in_channels);
        assert_int_equal(info.classes, network.classes);
        assert_int_equal(info.parameter_count, about.parameter_count);
        assert_int_equal(info.tuned_height, 512);
        assert_int_equal(info.tuned_width, 512);
        assert_true(info.preprocess.scale == 1);
        assert_ok(unet_engine_verify(engine, &error), &error);
        unet_engine_close(&engine);
    }
}

/* Everything that can be fused is: a step a double convolution's half, none for the rest but the
 * up-samplings of bf16. */
static void fuses_all_that_it_can(void **state)
{
    (void)state;
    unet_error error;
    unet_layer_info layer = {.size = sizeof layer};
    unet_engine_info info = {.size = sizeof info};
    unet_model *model = model_of("old-bilinear");
    unet_engine *engine = built(model, NULL);
    assert_ok(unet_engine_get_info(engine, &info, &error), &error);
    assert_int_equal(info.layer_count, 1 + 18);
    assert_ok(unet_engine_get_layer(engine, 11, &layer, &error), &error);
    assert_string_equal(layer.fused, "concat+upsample+relu");
    assert_ok(unet_engine_get_layer(engine, 2, &layer, &error), &error);
    assert_string_equal(layer.name, "inc.double_conv.3");
    assert_string_equal(layer.fused, "relu+pool");
    assert_ok(unet_engine_get_layer(engine, info.layer_count - 1, &layer, &error), &error);
    assert_string_equal(layer.fused, "relu+head");
    unet_engine_close(&engine);
    unet_model_close(&model);
}

static void build_twice(const unet_build_options *options)
{
    unet_model *model = model_of("transposed");
    unet_engine *a = built(model, options), *b = built(model, options);
    assert_int_equal(a->file.size, b->file.size);
    assert_memory_equal(a->file.bytes, b->file.bytes, a->file.size);
    unet_engine_close(&a);
    unet_engine_close(&b);
    unet_model_close(&model);
}

static void equal_builds_are_equal(void **state)
{
    (void)state;
    unet_build_options options = UNET_BUILD_OPTIONS_INIT;
    options.timing = UNET_TIMING_OFF;
    build_twice(&options);
    options.timing = UNET_TIMING_ON;
    options.timing_cache = temporary_path("equal.times"); /* the first build fills it */
    build_twice(&options);
}

/* ---------------------------------------------------------------- options */

static struct notes notes_of(const char *name, double scale, unet_normalize normalize)
{
    struct notes notes = {0};
    unet_build_options options = UNET_BUILD_OPTIONS_INIT;
    options.preprocess.scale = scale;
    options.preprocess.normalize = normalize;
    options.log = note;
    options.log_user = &notes;
    unet_model *model = model_of(name);
    unet_engine *engine = built(model, &options);
    unet_engine_close(&engine);
    unet_model_close(&model);
    return notes;
}

static void tells_defaults_that_differ(void **state)
{
    (void)state;
    struct notes notes = notes_of("bilinear", 0, UNET_NORMALIZE_DEFAULT);
    assert_int_equal(notes.notices, 1);
    assert_non_null(strstr(notes.text, "0.5"));
    assert_true(notes.details > 20);
    assert_int_equal(notes_of("bilinear", 1, UNET_NORMALIZE_DEFAULT).notices, 0);
    assert_int_equal(notes_of("bilinear", 0.5, UNET_NORMALIZE_DEFAULT).notices, 0);
    notes = notes_of("brain", 0, UNET_NORMALIZE_DEFAULT);
    assert_int_equal(notes.notices, 1);
    assert_non_null(strstr(notes.text, "volume"));
    assert_int_equal(notes_of("brain", 0, UNET_NORMALIZE_ZSCORE).notices, 0);
}

static unet_preprocess preprocess_of(const char *name, const unet_preprocess *wanted)
{
    unet_error error;
    unet_engine_info info = {.size = sizeof info};
    unet_build_options options = UNET_BUILD_OPTIONS_INIT;
    unet_model *model = model_of(name);
    if (wanted != NULL)
        options.preprocess = *wanted;
    unet_engine *engine = built(model, &options);
    assert_ok(unet_engine_get_info(engine, &info, &error), &error);
    unet_preprocess preprocess = info.preprocess;
    unet_engine_close(&engine);
    unet_model_close(&model);
    return preprocess;
}

static void preprocessing_is_kept_in_the_engine(void **state)
{
    (void)state;
    const unet_preprocess wanted = {.size = sizeof wanted,
                                    .normalize = UNET_NORMALIZE_MEAN_STD,
                                    .mean = {0.1f, 0.2f, 0.3f, 7},
                                    .std = {0.5f, 0.6f, 0.7f, 7},
                                    .scale = 0.25};
    assert_int_equal(preprocess_of("bilinear", NULL).normalize, UNET_NORMALIZE_255);
    assert_int_equal(preprocess_of("brain", NULL).normalize, UNET_NORMALIZE_ZSCORE);
    unet_preprocess kept = preprocess_of("transposed", &wanted);
    assert_int_equal(kept.normalize, UNET_NORMALIZE_MEAN_STD);
    assert_true(kept.scale == 0.25);
    assert_memory_equal(kept.mean, wanted.mean, 3 * sizeof(float));
    assert_memory_equal(kept.std, wanted.std, 3 * sizeof(float));
    assert_true(kept.mean[3] == 0 && kept.std[3] == 0); /* the network has three channels */
}

static void refuse(unet_build_options options, const char *part)
{
    unet_error error;
    unet_engine *engine = NULL;
    unet_model *model = model_of("transposed");
    options.size = sizeof options;
    assert_error(unet_build(model, &options, &engine, &error), UNET_ERROR_USAGE, &error, part);
    assert_null(engine);
    unet_model_close(&model);
}

static void bf16_needs_a_machine_for_it(void **state)
{
    (void)state;
    unet_error error;
    unet_engine *engine = NULL;
    unet_engine_info info = {.size = sizeof info};
    unet_build_options options = UNET_BUILD_OPTIONS_INIT;
    options.precision = UNET_PRECISION_BF16;
    unet_model *model = model_of("transposed");
    setenv("UNET_CPU", "avx512", 1);
    assert_error(unet_build(model, &options, &engine, &error), UNET_ERROR_DEVICE, &error, "fp32");
    assert_non_null(strstr(error.message, "bf16"));
    assert_null(engine);
    unsetenv("UNET_CPU");
    if ((cpu_features() & CPU_AVX512_BF16) != 0) {
        engine = built(model, &options);
        assert_ok(unet_engine_get_info(engine, &info, &error), &error);
        assert_string_equal(info.precision, "bf16");
        unet_engine_close(&engine);
    } else {
        print_message("not on this machine: it has no AVX512_BF16\n");
    }
    unet_model_close(&model);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    const unet_preprocess no_std = {
        .normalize = UNET_NORMALIZE_MEAN_STD, .mean = {1, 1, 1}, .std = {1, 0, 1}};
    unet_error error;
    unet_engine *engine = NULL;
    refuse((unet_build_options){.precision = (unet_precision)7}, "precision 7");
    refuse((unet_build_options){.height = 100}, "size 0×100");
    refuse((unet_build_options){.height = -1, .width = -1}, "size -1×-1");
    refuse((unet_build_options){.height = 32769, .width = 16}, "16×32769");
    refuse((unet_build_options){.height = 8, .width = 64}, "too small");
    refuse((unet_build_options){.preprocess = {.scale = -0.5}}, "scale -0.5");
    refuse((unet_build_options){.preprocess = {.scale = INFINITY}}, "scale inf");
    refuse((unet_build_options){.preprocess = {.normalize = (unet_normalize)9}}, "normalize 9");
    refuse((unet_build_options){.preprocess = {.size = 5}}, "preprocess.size");
    refuse((unet_build_options){.timing = (unet_timing)2}, "timing 2");
    refuse((unet_build_options){.timing = UNET_TIMING_OFF, .timing_cache = "a"}, "leave one");
    refuse((unet_build_options){.threads = -1}, "-1 threads");
    refuse((unet_build_options){.threads = 1025}, "1025 threads");
    refuse((unet_build_options){.timing = UNET_TIMING_OFF, .height = 8, .width = 64}, "too small");
    refuse((unet_build_options){.preprocess = no_std}, "channel 1");
    assert_error(unet_build(NULL, NULL, &engine, &error), UNET_ERROR_USAGE, &error, "model");
    assert_error(unet_model_recognize(NULL, NULL, &error), UNET_ERROR_USAGE, &error, "model");
}

static void calibration_and_precision_must_fit(void **state)
{
    (void)state;
    const unet_precision int8 = UNET_PRECISION_INT8;
    const char *const paths[] = {"a.png", NULL};
    const char *there = repository_path("README.md");
    refuse((unet_build_options){.precision = int8}, "needs images to calibrate with");
    refuse((unet_build_options){.precision = int8, .calibration_table = "no-such.table"},
           "there is no no-such.table");
    refuse((unet_build_options){.precision = int8, .calibration_count = 1}, "calibration_images");
    refuse((unet_build_options){.precision = int8, .calibration_images = paths},
           "calibration_count is 0");
    refuse((unet_build_options){.precision = int8,
                                .calibration_images = paths,
                                .calibration_count = 2},
           "calibration_images[1]");
    refuse((unet_build_options){.precision = int8, .calibration_method = (unet_calibration)5},
           "method 5");
    refuse((unet_build_options){.precision = int8, .calibration_table = there, .max_flips = 101},
           "max_flips 101");
    refuse((unet_build_options){.precision = int8, .calibration_table = there, .keep_count = 1},
           "keep_count is 1");
    refuse((unet_build_options){.max_flips = 1}, "max_flips is given");
    const unet_precision fp32 = UNET_PRECISION_FP32;
    refuse((unet_build_options){.precision = fp32,
                                .calibration_images = paths,
                                .calibration_count = 1},
           "images are given");
    refuse((unet_build_options){.precision = fp32, .calibration_table = there}, "table is given");
    refuse((unet_build_options){.calibrate_all = true}, "how to calibrate");
    refuse((unet_build_options){.calibration_method = UNET_CALIBRATION_MSE}, "how to calibrate");
}

/* ---------------------------------------------------------------- bad models, lack of memory */

static void weights_that_are_no_numbers_are_refused(void **state)
{
    (void)state;
    unet_error error;
    unet_engine *engine = NULL;
    unet_model *model = model_of("transposed");
    const unet_tensor *tensor = tensor_set_find(&model->tensors, "up2.conv.double_conv.0.weight");
    assert_non_null(tensor);
    ((float *)(uintptr_t)tensor->data)[3] = NAN;
    assert_error(unet_build(model, NULL, &engine, &error), UNET_ERROR_MODEL, &error,
                 "up2.conv.double_conv.0.weight");
    unet_model_close(&model);
}

static void survive_lack_of_memory(const char *timing_cache)
{
    unet_error error;
    unet_engine *engine = NULL;
    unet_model *model = model_of("bilinear-bias");
    unet_build_options options = UNET_BUILD_OPTIONS_INIT;
    unet_status status = UNET_ERROR_MEMORY;
    int failures = 0;
    options.height = options.width = 32;
    options.timing = timing_cache != NULL ? UNET_TIMING_ON : UNET_TIMING_OFF;
    options.timing_cache = timing_cache;
    for (; status != UNET_OK; failures++) {
        memory_fail_after(failures);
        status = unet_build(model, &options, &engine, &error);
        memory_fail_after(-1);
        if (status != UNET_OK) {
            assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
            assert_null(engine);
        }
    }
    assert_true(failures > 20);
    unet_engine_close(&engine);
    unet_model_close(&model);
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    survive_lack_of_memory(NULL);
    survive_lack_of_memory(temporary_path("lack.times"));
}

/* Of the processors and not by the wall clock: other programs may keep them busy. */
static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

#ifdef __SANITIZE_ADDRESS__ /* instrumented code is a tenth as fast */
#define BUILD_SECONDS 50
#else
#define BUILD_SECONDS 5
#endif

static void builds_54_megabytes_within_5_seconds(void **state)
{
    (void)state;
    unet_error error;
    unet_model *model = NULL;
    unet_build_options options = UNET_BUILD_OPTIONS_INIT;
    const char *path = shared_path("models/membrane.pth");
    if (path == NULL)
        skip_without_shared();
    options.timing = UNET_TIMING_OFF;
    double start = now();
    assert_ok(unet_model_open(path, &model, &error), &error);
    unet_engine *engine = built(model, &options);
    assert_ok(unet_engine_save(engine, temporary_path("membrane.engine"), &error), &error);
    double seconds = now() - start;
    print_message("membrane.pth: opened, built and saved in %.2f s\n", seconds);
    assert_true(seconds < BUILD_SECONDS);
    unet_model_close(&model);
    unet_engine_close(&engine);
    start = now();
    assert_ok(unet_engine_open(temporary_path("membrane.engine"), NULL, &engine, &error), &error);
    print_message("its engine opened in %.1f ms\n", 1e3 * (now() - start));
    unet_engine_close(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recognizes_every_variant),
        cmocka_unit_test(fuses_all_that_it_can),
        cmocka_unit_test(equal_builds_are_equal),
        cmocka_unit_test(tells_defaults_that_differ),
        cmocka_unit_test(preprocessing_is_kept_in_the_engine),
        cmocka_unit_test(bf16_needs_a_machine_for_it),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(calibration_and_precision_must_fit),
        cmocka_unit_test(weights_that_are_no_numbers_are_refused),
        cmocka_unit_test(survives_lack_of_memory),
        cmocka_unit_test(builds_54_megabytes_within_5_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
