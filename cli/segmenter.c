#include "segmenter.h"

#include "clock.h"
#include "message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- settings */

static bool read_threshold(const char *text, void *member, struct problem *problem)
{
    double value;
    if (!parse_number(text, &value) || value <= 0 || value >= 1)
        return problem_set(problem, "is not a number above 0 and below 1");
    *(double *)member = value;
    return true;
}

static bool read_range(const char *text, void *member, struct problem *problem)
{
    static const char head[] = "percentile:";
    struct run_settings *settings = member;
    settings->range_percentile = strncmp(text, head, sizeof head - 1) == 0;
    char *copy = must_format("%s", text + (settings->range_percentile ? sizeof head - 1 : 0));
    char *comma = strchr(copy, ',');
    bool good = comma != NULL;
    if (good) {
        *comma = '\0';
        good = parse_number(copy, &settings->range_low) &&
               parse_number(comma + 1, &settings->range_high) &&
               settings->range_low < settings->range_high;
    }
    if (good && settings->range_percentile)
        good = settings->range_low >= 0 && settings->range_high <= 100;
    free(copy);
    settings->range_set = good;
    if (!good)
        return problem_set(problem, "is not LOW,HIGH (pixel values) or percentile:LOW,HIGH (0 to "
                                    "100), the lower first");
    return true;
}

/* `--range` fills several members, so its reader is given the whole struct. */
static const struct option_spec run_specs[] = {
    {'\0', "scale", "S",
     "segment at int(S*width) x int(S*height), then enlarge\nthe answer; default: as the engine "
     "was "
     "built",
     read_scale, offsetof(struct run_settings, scale)},
    {'\0', "threshold", "T",
     "one-class networks: a pixel is class 1 above this\nprobability; default 0.5", read_threshold,
     offsetof(struct run_settings, threshold)},
    {'\0', "range", "LOW,HIGH",
     "pixel values that become 0 and 1, or\npercentile:LOW,HIGH of each image", read_range, 0},
    {'\0', "threads", "N", "default: as many as this process may use", read_threads,
     offsetof(struct run_settings, threads)},
    {'\0', "device", "D", DEVICE_HELP, read_devices, offsetof(struct run_settings, device)},
};

struct option_group run_settings_group(struct run_settings *settings)
{
    return (struct option_group)OPTION_GROUP(run_specs, settings);
}

static const struct option_spec precision_spec = {
    '\0',
    "precision",
    "P",
    "fp32, bf16, of a GPU also tf32 or fp16, of a model;\ndefault fp32",
    read_precision,
    0};

struct option_group precision_group(unet_precision *precision)
{
    return (struct option_group){&precision_spec, 1, precision};
}

/* ---------------------------------------------------------------- network */

static const bool details_wanted = false;

unet_status checkpoint_open(const char *path, unet_model **model, unet_error *error)
{
    if (unet_is_engine_file(path))
        return fail_with(error, UNET_ERROR_MODEL,
                         "%s: is an engine; give the checkpoint that it was built from", path);
    return unet_model_open(path, model, error);
}

static unet_status build_in_memory(const char *path, const struct tuning *tuning,
                                   unet_engine **engine, unet_error *error)
{
    unet_build_options options = UNET_BUILD_OPTIONS_INIT;
    options.precision = tuning->precision;
    options.preprocess.scale = tuning->scale;
    options.width = tuning->size.width;
    options.height = tuning->size.height;
    options.device = tuning->device;
    options.timing = UNET_TIMING_OFF; /* one run would not earn back the seconds that it takes */
    options.log = message_log;
    options.log_user = (void *)&details_wanted;
    unet_model *model = NULL;
    double began = seconds_now();
    unet_status status = unet_model_open(path, &model, error);
    if (status == UNET_OK)
        status = fail_about(path, unet_build(model, &options, engine, error), error);
    unet_model_close(&model);
    if (status == UNET_OK)
        message("%s was built in memory in %.2f s; an engine ('unet build') starts at once", path,
                seconds_now() - began);
    return status;
}

static unet_status refuse_8bit(const char *path, unet_precision precision, unet_error *error)
{
    const char *name = precision == UNET_PRECISION_FP8 ? "fp8" : "int8";
    return fail_with(error, UNET_ERROR_USAGE,
                     "--precision %s needs calibration: build an engine of %s first (unet build "
                     "--precision %s --calib DIR)",
                     name, path, name);
}

unet_status network_open(const char *path, const struct tuning *tuning, unet_engine **engine,
                         unet_error *error)
{
    bool is_engine = unet_is_engine_file(path);
    if (!is_engine && is_8bit(tuning->precision))
        return refuse_8bit(path, tuning->precision, error);
    if (!is_engine)
        return build_in_memory(path, tuning, engine, error);
    if (tuning->precision != UNET_PRECISION_AUTO)
        return fail_with(
            error, UNET_ERROR_USAGE,
            "%s: is an engine and was built in one precision; --precision is for models", path);
    unet_engine_options options = UNET_ENGINE_OPTIONS_INIT;
    options.log = message_log;
    options.log_user = (void *)&details_wanted;
    options.device = tuning->device;
    return unet_engine_open(path, &options, engine, error);
}

/* ---------------------------------------------------------------- segmenter */

int segmenter_classes(const struct segmenter *segmenter)
{
    return segmenter->info.classes == 1 ? 2 : segmenter->info.classes;
}

static unet_status check_settings(const struct segmenter *segmenter, const char *path,
                                  const struct run_settings *settings, unet_error *error)
{
    if (settings->threshold == 0 || segmenter->info.classes == 1)
        return UNET_OK;
    return fail_with(error, UNET_ERROR_USAGE,
                     "--threshold is for networks of one class; %s has %d, and the largest wins",
                     path, segmenter->info.classes);
}

static unet_status make_session(struct segmenter *segmenter, const struct run_settings *settings,
                                unet_error *error)
{
    unet_session_options options = UNET_SESSION_OPTIONS_INIT;
    options.threads = settings->threads;
    segmenter->how = (unet_predict_options)UNET_PREDICT_OPTIONS_INIT;
    segmenter->how.scale = settings->scale;
    segmenter->how.threshold = settings->threshold;
    segmenter->how.range_set = settings->range_set;
    segmenter->how.range_percentile = settings->range_percentile;
    segmenter->how.range_low = settings->range_low;
    segmenter->how.range_high = settings->range_high;
    return unet_session_create(segmenter->engine, &options, &segmenter->session, error);
}

unet_status segmenter_open(struct segmenter *segmenter, const char *path,
                           const struct run_settings *settings, unet_error *error)
{
    struct tuning tuning = {
        .scale = settings->scale, .precision = settings->precision, .device = settings->device};
    *segmenter = (struct segmenter){.info = {.size = sizeof segmenter->info}};
    unet_status status = network_open(path, &tuning, &segmenter->engine, error);
    if (status == UNET_OK)
        status = unet_engine_get_info(segmenter->engine, &segmenter->info, error);
    if (status == UNET_OK)
        status = check_settings(segmenter, path, settings, error);
    if (status == UNET_OK)
        status = make_session(segmenter, settings, error);
    if (status != UNET_OK)
        segmenter_close(segmenter);
    return status;
}

unet_status segmenter_share(const struct segmenter *of, struct segmenter *segmenter,
                            unet_error *error)
{
    unet_session *session = NULL;
    unet_status status = unet_session_create(of->engine, NULL, &session, error);
    if (status != UNET_OK)
        return status;
    *segmenter = *of;
    segmenter->shares = true;
    segmenter->session = session;
    return UNET_OK;
}

void segmenter_close(struct segmenter *segmenter)
{
    unet_session_close(&segmenter->session);
    if (!segmenter->shares)
        unet_engine_close(&segmenter->engine);
}

unet_status segmenter_run(struct segmenter *segmenter, const struct picture *picture,
                          unet_prediction *prediction, unet_error *error)
{
    if (picture->array.data != NULL)
        return unet_predict_array(segmenter->session, &picture->array, &segmenter->how, prediction,
                                  error);
    return unet_predict(segmenter->session, &picture->image, &segmenter->how, prediction, error);
}

/* ---------------------------------------------------------------- pictures */

static unet_status fail_reading_stdin(const char *why, unet_error *error)
{
    return fail_with(error, UNET_ERROR_INPUT, "cannot read standard input: %s", why);
}

static unet_status load_stdin(unet_image *image, unet_error *error)
{
    static const size_t limit = (size_t)1 << 30;
    size_t capacity = 1 << 20, bytes = 0, got;
    uint8_t *data = must_allocate(capacity);
    while ((got = fread(data + bytes, 1, capacity - bytes, stdin)) > 0 && bytes < limit) {
        bytes += got;
        if (bytes == capacity)
            data = must_reallocate(data, capacity *= 2);
    }
    unet_status status;
    if (ferror(stdin))
        status = fail_reading_stdin(strerror(errno), error);
    else if (bytes >= limit)
        status = fail_reading_stdin("it is no image, for it holds more than 1 GiB", error);
    else
        status = unet_image_decode(data, bytes, "stdin", image, error);
    free(data);
    return status;
}

/* uint8 H×W and H×W×3 are pictures too, so an overlay can be made of them. */
static void view_array_as_image(struct picture *picture)
{
    const unet_array *array = &picture->array;
    bool grey = array->rank == 2 || (array->rank == 3 && array->shape[2] == 1);
    bool colour = array->rank == 3 && array->shape[2] == 3;
    if (array->dtype != UNET_U8 || !(grey || colour) || array->shape[0] > UNET_MAX_SIDE ||
        array->shape[1] > UNET_MAX_SIDE)
        return;
    picture->image =
        (unet_image){(int)array->shape[1], (int)array->shape[0], colour ? 3 : 1, 8, array->data};
}

unet_status picture_load(struct picture *picture, const struct input *input, unet_error *error)
{
    *picture = (struct picture){0};
    if (input->kind == INPUT_STDIN)
        return load_stdin(&picture->image, error);
    if (input->kind == INPUT_IMAGE)
        return unet_image_load(input->path, &picture->image, error);
    unet_status status = unet_array_load(input->path, &picture->array, error);
    if (status == UNET_OK)
        view_array_as_image(picture);
    return status;
}

void picture_clear(struct picture *picture)
{
    if (picture->array.data == NULL)
        unet_image_clear(&picture->image);
    unet_array_clear(&picture->array);
    *picture = (struct picture){0};
}
