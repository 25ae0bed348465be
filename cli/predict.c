#include "predict.h"

#include "cli.h"
#include "clock.h"
#include "crew.h"
#include "message.h"
#include "progress.h"
#include "signals.h"
#include "suggest.h"
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- --save */

static bool find_save(const char *name, size_t length, enum save *save)
{
    for (*save = 0; *save < SAVE_PREDICT_COUNT; ++*save)
        if (strlen(save_name(*save)) == length && memcmp(save_name(*save), name, length) == 0)
            return true;
    return false;
}

static bool refuse_save(const char *name, size_t length, struct problem *problem)
{
    const char *names[SAVE_PREDICT_COUNT];
    char typed[40];
    for (enum save save = 0; save < SAVE_PREDICT_COUNT; save++)
        names[save] = save_name(save);
    snprintf(typed, sizeof typed, "%.*s", (int)length, name);
    const char *near = suggestion(typed, names, SAVE_PREDICT_COUNT);
    if (near != NULL)
        return problem_set(problem, "has an unknown '%s'; did you mean '%s'?", typed, near);
    return problem_set(problem, "is not a list of mask, color, overlay, values, prob, logits");
}

static bool read_saves(const char *text, void *member, struct problem *problem)
{
    unsigned *saves = member;
    for (;;) {
        size_t length = strcspn(text, ",");
        enum save save;
        if (!find_save(text, length, &save))
            return refuse_save(text, length < 39 ? length : 39, problem);
        *saves |= 1u << save;
        if (text[length] == '\0')
            return true;
        text += length + 1;
    }
}

struct option_group save_group(struct outputs *outputs)
{
    static const struct option_spec specs[] = {
        {'\0', "save", "LIST",
         "what to write, separated by commas; default mask:\n"
         "  mask     NAME.png: grey, a pixel is its class index\n"
         "  color    NAME.color.png: the same with a palette\n"
         "  overlay  NAME.overlay.png: colours over the image\n"
         "  values   NAME.values.png: the checkpoint's mask_values\n"
         "  prob     NAME.prob.npy: float32 class x height x width\n"
         "  logits   NAME.logits.npy: the same before softmax",
         read_saves, offsetof(struct outputs, saves)},
    };
    return (struct option_group)OPTION_GROUP(specs, outputs);
}

/* ---------------------------------------------------------------- one input */

static unet_status save_array(const char *path, const unet_prediction *prediction, float *values,
                              unet_error *error)
{
    unet_array array = {.dtype = UNET_F32,
                        .rank = 3,
                        .data = values,
                        .shape = {prediction->classes, prediction->height, prediction->width}};
    return unet_array_save(path, &array, error);
}

static unet_status save_one(enum save save, const char *path, const struct segmenter *segmenter,
                            const struct picture *picture, const unet_prediction *prediction,
                            unet_error *error)
{
    unet_image mask = {prediction->width, prediction->height, 1, 8, prediction->mask};
    const unet_engine_info *info = &segmenter->info;
    switch (save) {
    case SAVE_MASK:
        return unet_mask_save(path, &mask, error);
    case SAVE_COLOR:
        return unet_color_save(path, &mask, error);
    case SAVE_OVERLAY:
        return unet_overlay_save(path, &picture->image, &mask, error);
    case SAVE_VALUES:
        return unet_values_save(path, &mask, info->mask_values, info->mask_value_count,
                                info->mask_value_channels, error);
    case SAVE_PROB:
        return save_array(path, prediction, prediction->prob, error);
    case SAVE_LOGITS:
    case SAVE_FLIPS:
    case SAVE_COUNT:
        break;
    }
    return save_array(path, prediction, prediction->logits, error);
}

static unet_status save_all(const struct outputs *outputs, const struct input *input,
                            const struct segmenter *segmenter, const struct picture *picture,
                            const unet_prediction *prediction, unet_error *error)
{
    unet_status status = UNET_OK;
    signals_hold();
    for (enum save save = 0; save < SAVE_PREDICT_COUNT && status == UNET_OK; save++) {
        if (!outputs_has(outputs, save))
            continue;
        char *path = output_path(outputs, input, save);
        status = output_make_folders(path, error);
        if (status == UNET_OK)
            status = save_one(save, path, segmenter, picture, prediction, error);
        free(path);
    }
    signals_release();
    return status;
}

static unet_status check_picture(const struct outputs *outputs, const struct picture *picture,
                                 unet_error *error)
{
    if (!outputs_has(outputs, SAVE_OVERLAY) || picture->image.pixels != NULL)
        return UNET_OK;
    return fail_with(
        error, UNET_ERROR_INPUT,
        "an overlay needs an image below it, and this array is none; leave overlay out of "
        "--save");
}

/* What the threads of a crew share. */
struct job {
    const struct outputs *outputs;
    const struct input_list *inputs;
    bool alone; /* there is one thread */
    struct tally tally;
    bool out_of_room; /* nothing more can be written */
};

static unet_status run(struct shift *shift, const struct picture *picture,
                       const struct segmenter **used, unet_prediction *prediction,
                       unet_error *error)
{
    struct segmenter *member = crew_enter(shift);
    unet_status status = segmenter_run(member, picture, prediction, error);
    crew_leave(shift, member);
    *used = member; /* what it is told by has not changed */
    return status;
}

static void segment_input(void *context, struct shift *shift, size_t index, struct outcome *outcome)
{
    const struct job *job = context;
    const struct input *input = &job->inputs->items[index];
    const struct segmenter *used = NULL;
    struct picture picture;
    unet_prediction prediction = {0};
    unet_error *error = &outcome->error;
    if (job->alone)
        progress_show(index, input->name);
    unet_status status = picture_load(&picture, input, error);
    outcome->names_input = status != UNET_OK;
    if (status == UNET_OK)
        status = check_picture(job->outputs, &picture, error);
    if (status == UNET_OK)
        status = run(shift, &picture, &used, &prediction, error);
    if (status == UNET_OK) {
        status = save_all(job->outputs, input, used, &picture, &prediction, error);
        outcome->names_input = true;
    }
    unet_prediction_clear(&prediction);
    picture_clear(&picture);
    outcome->status = status;
    outcome->last = status == UNET_ERROR_OUTPUT; /* the disk is full, for example */
}

static void tell_outcome(void *context, size_t index, const struct outcome *outcome)
{
    struct job *job = context;
    const struct input *input = &job->inputs->items[index];
    if (!job->alone)
        progress_show(index, input->name);
    if (outcome->status == UNET_OK)
        job->tally.done++;
    else if (outcome->status != UNET_ERROR_OUTPUT || !job->out_of_room) /* which is told once */
        tally_failure(&job->tally, outcome->names_input ? NULL : input->path, &outcome->error);
    else
        job->tally.failed++;
    job->out_of_room = job->out_of_room || outcome->status == UNET_ERROR_OUTPUT;
}

/* ---------------------------------------------------------------- all inputs */

static void print_summary(const struct tally *tally, size_t tried, size_t count, double seconds)
{
    char rest[40] = "";
    if (tried < count)
        snprintf(rest, sizeof rest, ", %zu not tried", count - tried);
    if (tally->done > 0 || tried < count)
        message("%zu segmented, %zu failed%s, %.1f ms an image", tally->done, tally->failed, rest,
                1e3 * seconds / (double)tried);
}

static int segment_inputs(struct crew *crew, const struct outputs *outputs,
                          const struct input_list *inputs)
{
    struct job job = {outputs, inputs, crew->threads == 1, {.failed = inputs->failed}, false};
    double began = seconds_now();
    progress_begin(inputs->count);
    size_t tried = crew_run(crew, inputs->count, segment_input, tell_outcome, &job);
    progress_end();
    print_summary(&job.tally, tried, inputs->count, seconds_now() - began);
    return job.out_of_room ? EXIT_SYSTEM : tally_exit_code(&job.tally);
}

static unet_status check_saves(const struct segmenter *segmenter, const struct outputs *outputs,
                               const char *path, unet_error *error)
{
    size_t held = segmenter->info.mask_value_count;
    if (!outputs_has(outputs, SAVE_VALUES) || held >= (size_t)segmenter_classes(segmenter))
        return UNET_OK;
    if (held == 0)
        return fail_with(error, UNET_ERROR_USAGE,
                         "%s holds no mask_values, so --save values cannot be made; --save mask "
                         "writes class indices",
                         path);
    return fail_with(error, UNET_ERROR_USAGE,
                     "%s holds only %zu mask_values for %d classes, so --save values cannot be "
                     "made; --save mask writes class indices",
                     path, held, segmenter_classes(segmenter));
}

static int segment_list(const char *path, const struct input_list *inputs,
                        const struct predict_settings *settings)
{
    const struct outputs *outputs = &settings->outputs;
    struct crew crew = {0};
    unet_error error;
    unet_status status = outputs_check(outputs, inputs, &error);
    if (status == UNET_OK)
        status = crew_open(&crew, path, &settings->run, inputs->count, &error);
    if (status == UNET_OK)
        status = check_saves(&crew.members[0], outputs, path, &error);
    for (int i = 0; i < crew.count; i++) {
        crew.members[i].how.want_logits = outputs_has(outputs, SAVE_LOGITS);
        crew.members[i].how.want_prob = outputs_has(outputs, SAVE_PROB);
    }
    int exit_code =
        status == UNET_OK ? segment_inputs(&crew, outputs, inputs) : report_error(&error);
    crew_close(&crew);
    return exit_code;
}

int predict_arguments(const char *path, char **arguments, int count,
                      const struct predict_settings *settings)
{
    struct predict_settings filled = *settings;
    struct input_list inputs = {.results = settings->outputs.folder};
    if (filled.outputs.saves == 0)
        filled.outputs.saves = 1u << SAVE_MASK;
    for (int i = 0; i < count; i++)
        inputs_add(&inputs, arguments[i]);
    int exit_code = inputs.count > 0 ? segment_list(path, &inputs, &filled) : EXIT_ALL_FAILED;
    inputs_clear(&inputs);
    return exit_code;
}

const struct command predict_command = {
    .name = "predict",
    .operands = "ENGINE|MODEL INPUT... [-o DIR] [options]",
    .brief = "ENGINE|MODEL INPUT... -o DIR",
    .summary = "segment images",
    .details =
        "Writes a mask for each input. An INPUT is an image (PNG, JPEG, TIFF of one page), a\n"
        "folder (its images at every depth; the tree is kept below DIR), a quoted pattern, a\n"
        ".npy array (float32 channel x height x width is fed as it is; uint8 height x width\n"
        "[x channel] is an image), or '-' for one image on standard input. A model is built in\n"
        "memory first. --device cuda:all spreads the inputs over all GPUs.",
    .examples = "  unet predict cells.engine photos/ -o masks\n"
                "  unet predict cells.engine 'scan-*.tif' -o masks --save mask,overlay\n"
                "  unet predict model.pth photo.jpg -o out --scale 0.5\n",
    .min_operands = 2,
    .max_operands = -1,
};

int verb_predict(int argc, char **argv)
{
    struct predict_settings settings = {.outputs = {.folder = "."}};
    const struct option_spec out = {
        'o',       "out",
        "DIR",     "where results go, created where missing; default: here",
        read_text, offsetof(struct outputs, folder)};
    struct option_group groups[] = {{&out, 1, &settings.outputs},
                                    save_group(&settings.outputs),
                                    run_settings_group(&settings.run),
                                    precision_group(&settings.run.precision)};
    struct operands operands;
    int exit_code;
    if (!arguments_read(&predict_command, groups, 4, argc, argv, &operands, &exit_code))
        return exit_code;
    return predict_arguments(operands.items[0], operands.items + 1, operands.count - 1, &settings);
}
