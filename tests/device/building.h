/* For tests that build engines for the device that is none, and open them again. */
#ifndef UNET_TESTS_DEVICE_BUILDING_H
#define UNET_TESTS_DEVICE_BUILDING_H

#include "on_device.h"

static inline unet_engine *reopened(const unet_engine *engine, const char *device,
                                    struct notices *notices)
{
    unet_error error;
    unet_engine *opened = NULL;
    unet_engine_options options = UNET_ENGINE_OPTIONS_INIT;
    const char *path = temporary_path("moved.engine");
    options.device = device;
    options.log = note_line;
    options.log_user = notices;
    notices->text[0] = '\0';
    assert_ok(unet_engine_save(engine, path, &error), &error);
    assert_ok(unet_engine_open(path, &options, &opened, &error), &error);
    return opened;
}

static inline unet_engine_info info_of(const unet_engine *engine)
{
    unet_error error;
    unet_engine_info info = {.size = sizeof info};
    assert_ok(unet_engine_get_info(engine, &info, &error), &error);
    return info;
}

static inline unet_build_options options_for(const char *device, unet_precision precision)
{
    unet_build_options options = UNET_BUILD_OPTIONS_INIT;
    options.device = device;
    options.precision = precision;
    options.timing = UNET_TIMING_OFF;
    options.height = options.width = 32;
    return options;
}

static inline unet_engine *build_of(const char *model_file, unet_build_options *options)
{
    unet_error error;
    unet_model *model = NULL;
    unet_engine *engine = NULL;
    assert_ok(unet_model_open(repository_path(model_file), &model, &error), &error);
    assert_ok(unet_build(model, options, &engine, &error), &error);
    unet_model_close(&model);
    return engine;
}

#define TRANSPOSED "tests/golden/models/transposed.pth"

static inline unet_engine *build(unet_build_options *options)
{
    return build_of(TRANSPOSED, options);
}

static inline void refuse_build(unet_build_options *options, unet_status status, const char *part)
{
    unet_error error;
    unet_model *model = NULL;
    unet_engine *engine = NULL;
    assert_ok(unet_model_open(repository_path(TRANSPOSED), &model, &error), &error);
    assert_error(unet_build(model, options, &engine, &error), status, &error, part);
    unet_model_close(&model);
    assert_int_equal(counts_now().live_objects, 0);
}

#endif
