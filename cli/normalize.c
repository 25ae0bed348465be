#include "normalize.h"

#include "message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "0.485,0.456,0.406": returns how many, 0 if it is no such list. Cuts the text up. */
static int parse_list(char *text, float *values)
{
    int count = 0;
    while (count < UNET_MAX_MEAN_CHANNELS) {
        char *comma = strchr(text, ',');
        double value;
        if (comma != NULL)
            *comma = '\0';
        if (!parse_number(text, &value))
            return 0;
        values[count++] = (float)value;
        if (comma == NULL)
            return count;
        text = comma + 1;
    }
    return 0;
}

/* "mean=A,B,C,std=D,E,F" */
static bool parse_mean_std(char *text, struct build_settings *settings)
{
    unet_preprocess *preprocess = &settings->preprocess;
    char *std = strstr(text, ",std=");
    if (strncmp(text, "mean=", 5) != 0 || std == NULL)
        return false;
    *std = '\0';
    int means = parse_list(text + 5, preprocess->mean);
    int stds = parse_list(std + 5, preprocess->std);
    for (int i = 0; i < stds; i++)
        if (!(preprocess->std[i] > 0))
            return false;
    preprocess->normalize = UNET_NORMALIZE_MEAN_STD;
    settings->mean_count = means;
    return means > 0 && means == stds;
}

bool read_normalize(const char *text, void *member, struct problem *problem)
{
    struct build_settings *settings = member;
    bool good = true;
    settings->mean_count = 0;
    if (strcmp(text, "255") == 0) {
        settings->preprocess.normalize = UNET_NORMALIZE_255;
    } else if (strcmp(text, "zscore") == 0) {
        settings->preprocess.normalize = UNET_NORMALIZE_ZSCORE;
    } else {
        char *copy = must_format("%s", text);
        good = parse_mean_std(copy, settings);
        free(copy);
    }
    if (!good)
        return problem_set(problem, "is not 255, zscore or mean=A,B,C,std=D,E,F (as many of each, "
                                    "each std above 0)");
    return true;
}

unet_status normalize_fit(unet_preprocess *preprocess, int mean_count, int channels,
                          unet_error *error)
{
    if (preprocess->normalize != UNET_NORMALIZE_MEAN_STD || mean_count == channels)
        return UNET_OK;
    if (mean_count == 1 && channels <= UNET_MAX_MEAN_CHANNELS) {
        for (int c = 1; c < channels; c++) {
            preprocess->mean[c] = preprocess->mean[0];
            preprocess->std[c] = preprocess->std[0];
        }
        return UNET_OK;
    }
    return fail_with(error, UNET_ERROR_USAGE,
                     "--normalize: the network has %d channel%s, but %d mean%s given", channels,
                     channels == 1 ? "" : "s", mean_count, mean_count == 1 ? " is" : "s are");
}
