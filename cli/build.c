#include "build.h"

#include "cli.h"
#include "clock.h"
#include "message.h"
#include "normalize.h"
#include "segmenter.h"
#include "signals.h"

#include <stdio.h>
#include <string.h>

static const struct option_spec build_specs[] = {
    {'\0', "precision", "P",
     "fp32, bf16, int8, of a GPU also tf32, fp16 and fp8, or auto:\nwith --calib the fastest "
     "inside "
     "the budget, else fp32; default\nauto",
     read_precision, offsetof(struct build_settings, precision)},
    {'\0', "device", "D",
     "cpu, cuda, cuda:N, or auto: the first GPU where there is one;\ndefault cpu", read_device,
     offsetof(struct build_settings, device)},
    {'\0', "batch", "N", "images at a time to tune for, on a GPU; default 1", read_batch,
     offsetof(struct build_settings, batch)},
    {'\0', "size", "WxH", "the size to tune for; any size runs; default 512x512", read_size,
     offsetof(struct build_settings, size)},
    {'\0', "normalize", "HOW",
     "255, zscore, or mean=A,B,C,std=D,E,F; default: as\nthe network was trained", read_normalize,
     0},
    {'\0', "scale", "S", "segment at int(S*width) x int(S*height); default 1", read_scale,
     offsetof(struct build_settings, preprocess) + offsetof(unet_preprocess, scale)},
    {'\0', "timing-cache", "FILE", "keeps what kernels took, for the next build; made if\nneeded",
     read_text, offsetof(struct build_settings, timing_cache)},
    {'\0', "no-timing", NULL, "choose kernels by a fixed order of preference", NULL,
     offsetof(struct build_settings, no_timing)},
    {'\0', "threads", "N", "time with so many; default: as many as this process\nmay use",
     read_threads, offsetof(struct build_settings, threads)},
    {'\0', "verbose", NULL, "say what is chosen, and why", NULL,
     offsetof(struct build_settings, verbose)},
};

struct option_group build_settings_group(struct build_settings *settings)
{
    return (struct option_group)OPTION_GROUP(build_specs, settings);
}

static unet_status fill_options(const struct build_settings *settings,
                                struct calibration_images *images, const unet_network_info *network,
                                unet_build_options *options, unet_error *error)
{
    *options = (unet_build_options)UNET_BUILD_OPTIONS_INIT;
    options->precision = settings->precision;
    options->width = settings->size.width;
    options->height = settings->size.height;
    options->preprocess = settings->preprocess;
    options->preprocess.size = sizeof options->preprocess;
    options->timing = settings->no_timing ? UNET_TIMING_OFF : UNET_TIMING_ON;
    options->timing_cache = settings->timing_cache;
    options->threads = settings->threads;
    options->device = settings->device;
    options->batch = settings->batch;
    options->log = message_log;
    options->log_user = (void *)&settings->verbose;
    calibration_fill(options, &settings->calibration, images);
    budget_fill(options, &settings->budget);
    return normalize_fit(&options->preprocess, settings->mean_count, network->in_channels, error);
}

static void print_summary(const unet_engine *engine, const char *path, double seconds)
{
    unet_engine_info info = {.size = sizeof info};
    if (unet_engine_get_info(engine, &info, NULL) != UNET_OK)
        return;
    message("%s: %s, %s for %s, %d channel%s in, %d class%s, %s parameters, %s, in %.2f s", path,
            info.architecture, info.precision, info.built_for, info.in_channels,
            info.in_channels == 1 ? "" : "s", info.classes, info.classes == 1 ? "" : "es",
            text_of_count(info.parameter_count), text_of_bytes(info.file_bytes), seconds);
}

static bool begins_with(const char *text, const char *part)
{
    return part != NULL && strncmp(text, part, strlen(part)) == 0;
}

/* Errors of images and of files beside the model name those already; the model is innocent of
 * them. */
static unet_status build_named(const char *model_path, const unet_model *model,
                               const unet_build_options *options, unet_engine **engine,
                               unet_error *error)
{
    unet_status status = unet_build(model, options, engine, error);
    if (status == UNET_OK || status == UNET_ERROR_INPUT ||
        begins_with(error->message, options->timing_cache) ||
        begins_with(error->message, options->calibration_table))
        return status;
    return fail_about(model_path, status, error);
}

static bool is_calibrated(const struct build_settings *settings)
{
    const struct calibration_settings *calibration = &settings->calibration;
    bool given = calibration->images != NULL || calibration->table != NULL;
    return is_8bit(settings->precision) || (settings->precision == UNET_PRECISION_AUTO && given);
}

/* --normalize and --scale are a checkpoint's; the library refuses what else an engine has
 * decided. */
static unet_status retime(const char *path, const struct build_settings *settings,
                          struct calibration_images *images, unet_engine **engine,
                          unet_error *error)
{
    unet_engine *built = NULL;
    unet_build_options options;
    unet_engine_options how = UNET_ENGINE_OPTIONS_INIT;
    unet_engine_info info = {.size = sizeof info};
    how.device = settings->device;
    how.log = message_log;
    how.log_user = (void *)&settings->verbose;
    unet_status status = unet_engine_open(path, &how, &built, error);
    if (status == UNET_OK)
        status = unet_engine_get_info(built, &info, error);
    const unet_network_info network = {.in_channels = info.in_channels};
    if (status == UNET_OK)
        status = fill_options(settings, images, &network, &options, error);
    if (status == UNET_OK)
        status = unet_engine_retime(built, &options, engine, error);
    unet_engine_close(&built);
    return status;
}

static unet_status build(const char *model_path, const struct build_settings *settings,
                         struct calibration_images *images, unet_engine **engine,
                         unet_build_report **report, unet_error *error)
{
    unet_network_info network = {.size = sizeof network};
    unet_build_options options = UNET_BUILD_OPTIONS_INIT;
    unet_model *model = NULL;
    if (unet_is_engine_file(model_path))
        return retime(model_path, settings, images, engine, error);
    unet_status status = unet_model_open(model_path, &model, error);
    if (status == UNET_OK)
        status = fail_about(model_path, unet_model_recognize(model, &network, error), error);
    if (status == UNET_OK)
        status = fill_options(settings, images, &network, &options, error);
    if (is_calibrated(settings))
        options.report = report;
    if (status == UNET_OK)
        status = build_named(model_path, model, &options, engine, error);
    unet_model_close(&model);
    return status;
}

static unet_status save(const unet_engine *engine, const char *engine_path,
                        const unet_build_report *report, const char *report_path, unet_error *error)
{
    signals_hold();
    unet_status status = unet_engine_save(engine, engine_path, error);
    if (status == UNET_OK && report_path != NULL)
        status = unet_build_report_save(report, report_path, error);
    signals_release();
    return status;
}

/* An engine whose calibration had to do without some of its images is done, but not all is. */
static int build_and_save(const char *model_path, const char *engine_path,
                          const struct build_settings *settings, struct calibration_images *images)
{
    unet_error error;
    unet_engine *engine = NULL;
    unet_build_report *report = NULL;
    double began = seconds_now();
    unet_status status = build(model_path, settings, images, &engine, &report, &error);
    if (status == UNET_OK)
        status = save(engine, engine_path, report, settings->budget.report, &error);
    if (status == UNET_OK) {
        budget_print(report);
        print_summary(engine, engine_path, seconds_now() - began);
    }
    unet_build_report_close(&report);
    unet_engine_close(&engine);
    if (status != UNET_OK)
        return report_error(&error);
    return images->skipped > 0 ? EXIT_SOME_FAILED : EXIT_DONE;
}

static int check_and_build(const char *model_path, const char *engine_path,
                           const struct build_settings *settings)
{
    struct calibration_images images = {0};
    if (is_same_file(model_path, engine_path)) {
        message_error("%s would overwrite what it is made of; give the engine another name",
                      engine_path);
        return EXIT_USAGE;
    }
    int exit_code = budget_check(&settings->budget, is_calibrated(settings));
    if (exit_code == EXIT_DONE)
        exit_code = calibration_images_find(&images, &settings->calibration, settings->precision);
    if (exit_code == EXIT_DONE)
        exit_code = build_and_save(model_path, engine_path, settings, &images);
    calibration_images_clear(&images);
    return exit_code;
}

int build_engine_file(const char *model_path, const char *engine_path,
                      struct build_settings *settings)
{
    int exit_code = check_and_build(model_path, engine_path, settings);
    budget_clear(&settings->budget);
    return exit_code;
}

const struct command build_command = {
    .name = "build",
    .operands = "MODEL|ENGINE -o ENGINE [options]",
    .brief = "MODEL -o ENGINE",
    .summary = "make an engine of a checkpoint",
    .details =
        "Recognises the network of a .pth, .wts or .safetensors, optimises it for this machine\n"
        "and writes an engine file. Where several kernels can run a layer they are timed, and the\n"
        "fastest is taken; with the same --timing-cache, once full, or with --no-timing, equal\n"
        "inputs give equal bytes. An engine runs on other machines too: there its weights are\n"
        "packed anew in memory, and building it again, from the engine itself, times its kernels\n"
        "there. int8 stores tensors as bytes where that is faster and the masks of images kept\n"
        "apart stay inside --max-flips; a table of its layers goes to stdout. fp8, of GPUs alone, "
        "is\n"
        "built alike: its masks differ more.",
    .examples = "  unet build membrane.pth -o membrane.engine\n"
                "  unet build camvid.pth -o camvid.engine --size 480x360\n"
                "  unet build cells.pth -o cells.engine --timing-cache kernels.times --verbose\n"
                "  unet build camvid.pth -o camvid.engine --precision int8 --calib frames/\n"
                "  unet build camvid.pth -o camvid.engine --device cuda --precision fp16\n"
                "  unet build cells.safetensors -o cells.engine \\\n"
                "      --normalize mean=0.485,0.456,0.406,std=0.229,0.224,0.225\n",
    .min_operands = 1,
    .max_operands = 1,
};

int verb_build(int argc, char **argv)
{
    struct build_settings settings = {0};
    const char *out = NULL;
    const struct option_spec out_spec = {'o',       "out", "ENGINE", "the engine file to write",
                                         read_text, 0};
    struct option_group groups[] = {{&out_spec, 1, &out},
                                    build_settings_group(&settings),
                                    calibration_group(&settings.calibration),
                                    budget_group(&settings.budget)};
    struct operands operands;
    int exit_code;
    if (!arguments_read(&build_command, groups, 4, argc, argv, &operands, &exit_code))
        return exit_code;
    if (out == NULL)
        return require_out(&build_command);
    return build_engine_file(operands.items[0], out, &settings);
}
