#include "budget.h"

#include "cli.h"
#include "message.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTHING 1e-9 /* percent: below one pixel of any set of images */

/* ---------------------------------------------------------------- options */

static bool read_flips(const char *text, void *member, struct problem *problem)
{
    double percent;
    if (!parse_number(text, &percent) || percent < 0 || percent > 100)
        return problem_set(problem, "is not percent of the pixels, from 0 to 100");
    *(double *)member = percent > 0 ? percent : NOTHING; /* 0 is the library's default */
    return true;
}

static bool read_keep(const char *text, void *member, struct problem *problem)
{
    struct keep_list *list = member;
    const char *equals = strrchr(text, '=');
    unet_precision precision;
    if (equals == NULL || equals == text)
        return problem_set(problem, "is not LAYER=PRECISION, as in up4.conv.double_conv.0=bf16");
    if (!read_precision(equals + 1, &precision, problem))
        return problem_set(problem, "does not end in a precision: fp32, bf16, fp16, int8 or fp8");
    if (precision != UNET_PRECISION_FP32 && precision != UNET_PRECISION_BF16 &&
        precision != UNET_PRECISION_FP16 && !is_8bit(precision))
        return problem_set(problem, "keeps nothing: give fp32, bf16, fp16, int8 or fp8");
    list->items = must_reallocate(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] =
        (unet_keep){must_format("%.*s", (int)(equals - text), text), precision};
    return true;
}

static const struct option_spec budget_specs[] = {
    {'\0', "max-flips", "P",
     "int8, fp8, auto: at most so many percent of the pixels may\nget another class than in fp32; "
     "default 0.3",
     read_flips, offsetof(struct budget_settings, max_flips)},
    {'\0', "keep", "LAYER=P",
     "int8, fp8, auto: what a layer reads stays fp32, bf16, int8, of\na GPU fp16 or fp8; may be "
     "repeated",
     read_keep, offsetof(struct budget_settings, keep)},
    {'\0', "report", "FILE.json", "int8, fp8, auto: write what each layer gained and cost",
     read_text, offsetof(struct budget_settings, report)},
};

struct option_group budget_group(struct budget_settings *settings)
{
    return (struct option_group)OPTION_GROUP(budget_specs, settings);
}

void budget_fill(unet_build_options *options, const struct budget_settings *settings)
{
    options->max_flips = settings->max_flips;
    options->keep = settings->keep.items;
    options->keep_count = settings->keep.count;
}

void budget_clear(struct budget_settings *settings)
{
    for (size_t i = 0; i < settings->keep.count; i++)
        free((void *)(uintptr_t)settings->keep.items[i].layer);
    free(settings->keep.items);
    *settings = (struct budget_settings){0};
}

int budget_check(const struct budget_settings *settings, bool calibrated)
{
    const char *given = settings->max_flips > 0    ? "--max-flips"
                        : settings->keep.count > 0 ? "--keep"
                        : settings->report != NULL ? "--report"
                                                   : NULL;
    if (given == NULL || calibrated)
        return EXIT_DONE;
    message_error(
        "%s is for --precision int8, fp8, or auto with --calib DIR; add that, or leave %s "
        "out",
        given, given);
    return EXIT_USAGE;
}

/* ---------------------------------------------------------------- the table */

static int longest(const unet_build_report *report, size_t count, bool kernels)
{
    size_t most = 6;
    for (size_t i = 0; i < count; i++) {
        unet_layer_report layer = {.size = sizeof layer};
        if (unet_build_report_get_layer(report, i, &layer, NULL) != UNET_OK)
            continue;
        size_t length = strlen(kernels ? layer.kernel : layer.name);
        most = length > most ? length : most;
    }
    return (int)most;
}

/* "-" for what is not known. */
static const char *shown(double value, int digits, bool known, char text[32])
{
    if (known)
        snprintf(text, 32, "%.*f", digits, value);
    else
        snprintf(text, 32, "-");
    return text;
}

static void print_layer(const unet_layer_report *layer, int names, int kernels)
{
    char range[32], ms[32], saved[32], flips[32];
    bool timed = layer->milliseconds > 0;
    printf("%-*s  %-9s  %-*s %10s %9s %9s %9s\n", names, layer->name, layer->precision, kernels,
           layer->kernel, shown(layer->range, 4, layer->range > 0, range),
           shown(layer->milliseconds, 3, timed, ms),
           shown(layer->milliseconds_saved, 3, timed, saved),
           shown(layer->flips, 4, !isnan(layer->flips), flips));
}

void budget_print(const unet_build_report *report)
{
    unet_build_report_info info = {.size = sizeof info};
    if (report == NULL || unet_build_report_get_info(report, &info, NULL) != UNET_OK)
        return;
    int names = longest(report, info.layer_count, false);
    int kernels = longest(report, info.layer_count, true);
    printf("%-*s  %-9s  %-*s %10s %9s %9s %9s\n", names, "layer", "precision", kernels, "kernel",
           "range", "ms", "saved ms", "flips %");
    for (size_t i = 0; i < info.layer_count; i++) {
        unet_layer_report layer = {.size = sizeof layer};
        if (unet_build_report_get_layer(report, i, &layer, NULL) == UNET_OK)
            print_layer(&layer, names, kernels);
    }
}
