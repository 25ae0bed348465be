#include "calibrate.h"

#include "cli.h"
#include "message.h"
#include "progress.h"
#include "suggest.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---------------------------------------------------------------- options */

static const char *const method_names[] = {
    [UNET_CALIBRATION_AUTO] = "auto",     [UNET_CALIBRATION_ENTROPY] = "entropy",
    [UNET_CALIBRATION_MSE] = "mse",       [UNET_CALIBRATION_PERCENTILE] = "percentile",
    [UNET_CALIBRATION_MINMAX] = "minmax",
};

enum { METHODS = sizeof method_names / sizeof method_names[0] };

static bool read_method(const char *text, void *member, struct problem *problem)
{
    for (int m = 0; m < METHODS; m++) {
        if (strcmp(text, method_names[m]) == 0) {
            *(unet_calibration *)member = (unet_calibration)m;
            return true;
        }
    }
    const char *near = suggestion(text, method_names, METHODS);
    if (near != NULL)
        return problem_set(problem, "is no method; did you mean '%s'?", near);
    return problem_set(problem, "is no method: auto, entropy, mse, percentile or minmax");
}

static const struct option_spec calibration_specs[] = {
    {'\0', "calib", "DIR",
     "int8, fp8: images to calibrate with: a folder, a file or a\nquoted pattern; fp16: to see how "
     "far "
     "values reach",
     read_text, offsetof(struct calibration_settings, images)},
    {'\0', "calib-table", "FILE",
     "int8, fp8: used in place of images where it is there, else\nwritten after calibration",
     read_text, offsetof(struct calibration_settings, table)},
    {'\0', "calib-method", "M",
     "int8, fp8: entropy, mse, percentile, minmax, or auto, which\ntakes what flips fewest pixels; "
     "default auto",
     read_method, offsetof(struct calibration_settings, method)},
    {'\0', "calib-all", NULL, "int8, fp8: use all images, also once all ranges stand still", NULL,
     offsetof(struct calibration_settings, all)},
};

struct option_group calibration_group(struct calibration_settings *settings)
{
    return (struct option_group)OPTION_GROUP(calibration_specs, settings);
}

/* ---------------------------------------------------------------- checks */

static const char *first_given(const struct calibration_settings *settings)
{
    if (settings->images != NULL)
        return "--calib";
    if (settings->table != NULL)
        return "--calib-table";
    if (settings->method != UNET_CALIBRATION_AUTO)
        return "--calib-method";
    return settings->all ? "--calib-all" : NULL;
}

static int check_settings(const struct calibration_settings *settings, unet_precision precision)
{
    const char *given = first_given(settings);
    bool table_there = settings->table != NULL && access(settings->table, F_OK) == 0;
    bool guards = precision == UNET_PRECISION_FP16 && settings->images != NULL &&
                  settings->table == NULL && settings->method == UNET_CALIBRATION_AUTO;
    bool possible =
        guards || is_8bit(precision) ||
        (precision == UNET_PRECISION_AUTO && (settings->images != NULL || settings->table != NULL));
    if (!possible) {
        if (given == NULL)
            return EXIT_DONE;
        message_error(
            "%s is for --precision int8, fp8, or auto with --calib; add that, or leave %s "
            "out",
            given, given);
    } else if (settings->images == NULL && settings->table == NULL) {
        message_error("--precision %s needs images to calibrate with (--calib DIR), or the table "
                      "of an earlier build (--calib-table FILE)",
                      precision == UNET_PRECISION_FP8 ? "fp8" : "int8");
    } else if (settings->images == NULL && !table_there) {
        message_error("there is no table %s yet: name images to calibrate with (--calib DIR), and "
                      "it will be written",
                      settings->table);
    } else {
        return EXIT_DONE;
    }
    return EXIT_USAGE;
}

/* ---------------------------------------------------------------- images */

int calibration_images_find(struct calibration_images *images,
                            const struct calibration_settings *settings, unet_precision precision)
{
    *images = (struct calibration_images){0};
    int exit_code = check_settings(settings, precision);
    if (exit_code != EXIT_DONE || settings->images == NULL)
        return exit_code;
    if (strcmp(settings->images, "-") == 0) {
        message_error("--calib takes a folder, a file or a pattern, not standard input");
        return EXIT_USAGE;
    }
    inputs_add(&images->inputs, settings->images);
    if (images->inputs.count == 0)
        return EXIT_ALL_FAILED; /* and the reason was told */
    images->paths = must_allocate(images->inputs.count * sizeof *images->paths);
    for (size_t i = 0; i < images->inputs.count; i++)
        images->paths[i] = images->inputs.items[i].path;
    images->skipped = images->inputs.failed;
    return EXIT_DONE;
}

void calibration_images_clear(struct calibration_images *images)
{
    progress_end();
    free(images->paths);
    inputs_clear(&images->inputs);
    *images = (struct calibration_images){0};
}

/* ---------------------------------------------------------------- progress */

static bool show_progress(void *user, const unet_calibration_progress *progress)
{
    struct calibration_images *images = user;
    size_t tried = progress->done + progress->skipped;
    if (tried == 0)
        progress_begin(progress->total);
    size_t skipped = images->inputs.failed + progress->skipped;
    images->skipped = skipped > images->skipped ? skipped : images->skipped; /* it may begin anew */
    if (progress->next != NULL)
        progress_show(tried, base_name(progress->next));
    else
        progress_end();
    return true;
}

void calibration_fill(unet_build_options *options, const struct calibration_settings *settings,
                      struct calibration_images *images)
{
    options->calibration_images = images->paths;
    options->calibration_count = images->inputs.count;
    options->calibration_method = settings->method;
    options->calibrate_all = settings->all;
    options->calibration_table = settings->table;
    options->calibration_progress = show_progress;
    options->calibration_progress_user = images;
}
