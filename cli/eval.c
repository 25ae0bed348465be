#include "cli.h"
#include "message.h"
#include "outputs.h"
#include "progress.h"
#include "scores.h"
#include "segmenter.h"
#include "signals.h"
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct eval_settings {
    const char *images, *labels, *against;
    int ignore; /* −1: no value is */
    bool json;
    struct outputs outputs; /* `folder` is NULL where no pictures are wanted */
    struct run_settings run;
};

struct evaluation {
    const struct eval_settings *settings;
    struct segmenter segmenter, other; /* `other` is the engine of --against */
    struct input_list images, labels;  /* labels sorted by name */
    unet_confusion confusion;          /* against labels */
    unet_flips flips;                  /* against the other engine */
    struct flip_list flips_by_image;
    struct tally tally;
};

/* ---------------------------------------------------------------- labels */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct input *)a)->name, ((const struct input *)b)->name);
}

static unet_status find_label(const struct evaluation *evaluation, const struct input *image,
                              const char **path, unet_error *error)
{
    const struct input_list *labels = &evaluation->labels;
    const struct input *hit =
        bsearch(image, labels->items, labels->count, sizeof *labels->items, by_name);
    if (hit == NULL)
        return fail_with(error, UNET_ERROR_INPUT,
                         "%s: no label %s.png (or another image type) in %s", image->path,
                         image->name, evaluation->settings->labels);
    *path = hit->path;
    return UNET_OK;
}

/* Labels of two classes are often drawn as black and white. With another value beside them, 255
 * may as well mean "unknown", so it stays and is refused unless it is ignored. */
static void map_white_to_one(unet_image *label, const bool *present, int classes, int ignore)
{
    if (classes != 2 || !present[255] || ignore == 255)
        return;
    for (int value = 1; value < 255; value++)
        if (present[value])
            return;
    uint8_t *pixels = label->pixels;
    size_t count = (size_t)label->width * (size_t)label->height;
    for (size_t i = 0; i < count; i++)
        pixels[i] = pixels[i] == 255;
}

static unet_status check_values(const bool *present, const char *path, int classes, int ignore,
                                unet_error *error)
{
    for (int value = classes; value < 256; value++)
        if (present[value] && value != ignore)
            return fail_with(error, UNET_ERROR_INPUT,
                             "%s: the value %d is no class (0 to %d); if it means \"unknown\", use "
                             "--ignore %d",
                             path, value, classes - 1, value);
    return UNET_OK;
}

static void find_values(const unet_image *label, bool *present)
{
    const uint8_t *pixels = label->pixels;
    size_t count = (size_t)label->width * (size_t)label->height;
    memset(present, 0, 256 * sizeof *present);
    for (size_t i = 0; i < count; i++)
        present[pixels[i]] = true;
}

static unet_status load_label(const struct evaluation *evaluation, const struct input *image,
                              unet_image *label, const char **path, unet_error *error)
{
    int classes = segmenter_classes(&evaluation->segmenter);
    int ignore = evaluation->settings->ignore;
    bool present[256];
    unet_status status = find_label(evaluation, image, path, error);
    if (status == UNET_OK)
        status = unet_label_load(*path, label, error);
    if (status != UNET_OK)
        return status;
    find_values(label, present);
    map_white_to_one(label, present, classes, ignore);
    find_values(label, present);
    return check_values(present, *path, classes, ignore, error);
}

/* ---------------------------------------------------------------- one image */

static unet_status segment(struct segmenter *segmenter, const struct input *input,
                           const struct picture *picture, unet_prediction *prediction,
                           unet_error *error)
{
    return fail_about(input->path, segmenter_run(segmenter, picture, prediction, error), error);
}

static unet_status compare_with_label(struct evaluation *evaluation, const struct input *input,
                                      const struct picture *picture, unet_error *error)
{
    unet_image label = {0};
    unet_prediction prediction = {0};
    const char *path = NULL;
    unet_status status = load_label(evaluation, input, &label, &path, error);
    if (status == UNET_OK)
        status = segment(&evaluation->segmenter, input, picture, &prediction, error);
    if (status == UNET_OK && (prediction.width != label.width || prediction.height != label.height))
        status =
            fail_with(error, UNET_ERROR_INPUT, "%s is %dx%d, but its image %s is %dx%d", path,
                      label.width, label.height, input->path, prediction.width, prediction.height);
    if (status == UNET_OK)
        status = unet_confusion_add(&evaluation->confusion, label.pixels, prediction.mask,
                                    (size_t)label.width * (size_t)label.height,
                                    evaluation->settings->ignore, error);
    unet_prediction_clear(&prediction);
    unet_image_clear(&label);
    return status;
}

/* An array that is no image has no picture; black takes its place. */
static unet_status save_flips(const struct evaluation *evaluation, const struct input *input,
                              const struct picture *picture, const unet_prediction *here,
                              const unet_prediction *there, unet_error *error)
{
    unet_image mask = {here->width, here->height, 1, 8, here->mask};
    unet_image reference = {there->width, there->height, 1, 8, there->mask};
    char *path = output_path(&evaluation->settings->outputs, input, SAVE_FLIPS);
    signals_hold();
    unet_status status = output_make_folders(path, error);
    if (status == UNET_OK)
        status = unet_flips_save(path, picture->image.pixels != NULL ? &picture->image : NULL,
                                 &reference, &mask, error);
    signals_release();
    free(path);
    return status;
}

static unet_status compare_with_other(struct evaluation *evaluation, const struct input *input,
                                      const struct picture *picture, unet_error *error)
{
    unet_prediction here = {0}, there = {0};
    unet_flip_counts counts;
    unet_status status = segment(&evaluation->segmenter, input, picture, &here, error);
    if (status == UNET_OK)
        status = segment(&evaluation->other, input, picture, &there, error);
    if (status == UNET_OK && evaluation->settings->outputs.folder != NULL)
        status = save_flips(evaluation, input, picture, &here, &there, error);
    if (status == UNET_OK)
        status = unet_flips_add(&evaluation->flips, there.mask, here.mask, here.width, here.height,
                                &counts, error);
    if (status == UNET_OK)
        flip_list_add(&evaluation->flips_by_image, input->name, &counts);
    unet_prediction_clear(&here);
    unet_prediction_clear(&there);
    return status;
}

/* False where nothing more can be done: the disk is full, for example. */
static bool evaluate_input(struct evaluation *evaluation, const struct input *input)
{
    struct picture picture;
    unet_error error = {UNET_OK, ""};
    unet_status status = picture_load(&picture, input, &error);
    if (status == UNET_OK && evaluation->settings->against != NULL)
        status = compare_with_other(evaluation, input, &picture, &error);
    else if (status == UNET_OK)
        status = compare_with_label(evaluation, input, &picture, &error);
    picture_clear(&picture);
    if (status == UNET_OK)
        evaluation->tally.done++;
    else
        tally_failure(&evaluation->tally, NULL, &error);
    return status != UNET_ERROR_OUTPUT;
}

/* ---------------------------------------------------------------- all images */

static unet_status open_networks(struct evaluation *evaluation, const char *engine,
                                 unet_error *error)
{
    const struct eval_settings *settings = evaluation->settings;
    unet_status status = segmenter_open(&evaluation->segmenter, engine, &settings->run, error);
    if (status != UNET_OK || settings->against == NULL)
        return status;
    struct run_settings other = settings->run;
    other.precision = UNET_PRECISION_AUTO; /* the networks are compared, so each has its own */
    status = segmenter_open(&evaluation->other, settings->against, &other, error);
    if (status == UNET_OK &&
        segmenter_classes(&evaluation->segmenter) != segmenter_classes(&evaluation->other))
        status = fail_with(error, UNET_ERROR_USAGE,
                           "%s has %d classes and %s has %d, so their masks "
                           "cannot be compared",
                           engine, segmenter_classes(&evaluation->segmenter), settings->against,
                           segmenter_classes(&evaluation->other));
    return status;
}

/* Names what is missing on stderr. */
static bool list_inputs(struct evaluation *evaluation)
{
    const struct eval_settings *settings = evaluation->settings;
    struct input_list *images = &evaluation->images, *labels = &evaluation->labels;
    images->results = settings->outputs.folder;
    inputs_add(images, settings->images);
    evaluation->tally.failed = images->failed;
    if (settings->labels != NULL && images->count > 0)
        inputs_add(labels, settings->labels);
    if (labels->count > 0)
        qsort(labels->items, labels->count, sizeof *labels->items, by_name);
    return images->count > 0 && (settings->labels == NULL || labels->count > 0);
}

static unet_status check_labels(const struct input_list *labels, unet_error *error)
{
    for (size_t i = 1; i < labels->count; i++)
        if (strcmp(labels->items[i - 1].name, labels->items[i].name) == 0)
            return fail_with(
                error, UNET_ERROR_USAGE, "%s and %s are both the label of %s; keep one",
                labels->items[i - 1].path, labels->items[i].path, labels->items[i].name);
    return UNET_OK;
}

static void print_scores(struct evaluation *evaluation, const char *engine)
{
    const struct eval_settings *settings = evaluation->settings;
    bool labels = settings->against == NULL;
    struct scores scores = {engine,
                            settings->against,
                            labels ? &evaluation->confusion : &evaluation->flips.confusion,
                            &evaluation->tally,
                            &evaluation->flips,
                            &evaluation->flips_by_image};
    flip_list_sort(&evaluation->flips_by_image);
    if (settings->json)
        scores_print_json(&scores);
    else
        scores_print_table(&scores);
}

static int evaluate_inputs(struct evaluation *evaluation, const char *engine)
{
    const struct input_list *images = &evaluation->images;
    bool going_on = true;
    progress_begin(images->count);
    for (size_t i = 0; i < images->count && going_on; i++) {
        progress_show(i, images->items[i].name);
        going_on = evaluate_input(evaluation, &images->items[i]);
    }
    progress_end();
    if (!going_on)
        return EXIT_SYSTEM;
    if (evaluation->tally.done > 0)
        print_scores(evaluation, engine);
    return tally_exit_code(&evaluation->tally);
}

static unet_status make_counts(struct evaluation *evaluation, unet_error *error)
{
    int classes = segmenter_classes(&evaluation->segmenter);
    if (evaluation->settings->against != NULL)
        return unet_flips_new(classes, &evaluation->flips, error);
    return unet_confusion_new(classes, &evaluation->confusion, error);
}

static int run_evaluation(struct evaluation *evaluation, const char *engine)
{
    const struct outputs *outputs = &evaluation->settings->outputs;
    unet_error error;
    unet_status status = check_labels(&evaluation->labels, &error);
    if (status == UNET_OK && outputs->folder != NULL)
        status = outputs_check(outputs, &evaluation->images, &error);
    if (status == UNET_OK)
        status = open_networks(evaluation, engine, &error);
    if (status == UNET_OK)
        status = make_counts(evaluation, &error);
    return status == UNET_OK ? evaluate_inputs(evaluation, engine) : report_error(&error);
}

static int evaluate(const struct eval_settings *settings, const char *engine)
{
    struct evaluation evaluation = {.settings = settings};
    int exit_code = EXIT_ALL_FAILED;
    if (list_inputs(&evaluation))
        exit_code = run_evaluation(&evaluation, engine);
    flip_list_clear(&evaluation.flips_by_image);
    unet_flips_clear(&evaluation.flips);
    unet_confusion_clear(&evaluation.confusion);
    segmenter_close(&evaluation.other);
    segmenter_close(&evaluation.segmenter);
    inputs_clear(&evaluation.images);
    inputs_clear(&evaluation.labels);
    return exit_code;
}

/* ---------------------------------------------------------------- the verb */

static bool read_ignore(const char *text, void *member, struct problem *problem)
{
    return parse_integer(text, 0, 255, member, problem);
}

const struct command eval_command = {
    .name = "eval",
    .operands = "ENGINE|MODEL --images DIR --labels DIR|--against ENGINE2 [options]",
    .brief = "ENGINE --images DIR --labels DIR",
    .summary = "score masks against labels",
    .details =
        "Segments the images and prints IoU, Dice and recall of each class, mean IoU and pixel\n"
        "accuracy. An image and its label have the same name, up to the extension, at the same\n"
        "place of both trees. Label pixels are class indices; a label of 0 and 255 alone means 0\n"
        "and 1 where the network has two classes. With --against the masks of another engine\n"
        "take the labels' place; --precision is then of the first one alone. Pixels that differ,\n"
        "flips, are counted image by image, and those within 2 pixels of a boundary (ENGINE2's\n"
        "mask has another class at most 2 columns and rows away) apart; --out draws them.",
    .examples = "  unet eval camvid.engine --images image/ --labels label/ --ignore 11\n"
                "  unet eval membrane.engine --images 'image/2[4-9].png' --labels label/ --json\n"
                "  unet eval new.engine --against old.engine --images image/ -o flips\n"
                "  unet eval cells.pth --precision bf16 --against cells.pth --images image/\n",
    .min_operands = 1,
    .max_operands = 1,
};

static const struct option_spec eval_specs[] = {
    {'\0', "images", "DIR", "a folder (at every depth), a quoted pattern or a file", read_text,
     offsetof(struct eval_settings, images)},
    {'\0', "labels", "DIR", "the folder of the labels", read_text,
     offsetof(struct eval_settings, labels)},
    {'\0', "ignore", "ID", "pass over pixels with this label, 0 to 255", read_ignore,
     offsetof(struct eval_settings, ignore)},
    {'\0', "against", "ENGINE2", "compare with the masks of this engine or model", read_text,
     offsetof(struct eval_settings, against)},
    {'o', "out", "DIR",
     "with --against: for each image NAME.flips.png, the image\ndimmed, flips near a boundary in "
     "amber, others in magenta",
     read_text, offsetof(struct eval_settings, outputs.folder)},
    {'\0', "json", NULL, "print one JSON object", NULL, offsetof(struct eval_settings, json)},
};

static bool check_arguments(const struct eval_settings *settings)
{
    const char *wrong = NULL;
    if (settings->images == NULL)
        wrong = "--images is missing";
    else if (settings->labels == NULL && settings->against == NULL)
        wrong = "--labels is missing (or --against, to compare two engines)";
    else if (settings->labels != NULL && settings->against != NULL)
        wrong = "--labels and --against exclude each other";
    else if (settings->ignore >= 0 && settings->against != NULL)
        wrong = "--ignore is for labels, and there are none with --against";
    else if (settings->outputs.folder != NULL && settings->against == NULL)
        wrong = "--out is for pictures of where two engines differ, so it needs --against";
    else if (strcmp(settings->images, "-") == 0)
        wrong = "--images cannot be standard input";
    if (wrong != NULL)
        message_error("%s (see 'unet eval --help')", wrong);
    return wrong == NULL;
}

int verb_eval(int argc, char **argv)
{
    struct eval_settings settings = {.ignore = -1, .outputs = {.saves = 1u << SAVE_FLIPS}};
    struct option_group groups[] = {OPTION_GROUP(eval_specs, &settings),
                                    run_settings_group(&settings.run),
                                    precision_group(&settings.run.precision)};
    struct operands operands;
    int exit_code;
    if (!arguments_read(&eval_command, groups, 3, argc, argv, &operands, &exit_code))
        return exit_code;
    if (!check_arguments(&settings))
        return EXIT_USAGE;
    return evaluate(&settings, operands.items[0]);
}
