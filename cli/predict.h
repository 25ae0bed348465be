/* Segmenting a list of inputs into files: predict, and the ancestor's -d. */
#ifndef UNET_CLI_PREDICT_H
#define UNET_CLI_PREDICT_H

#include "options.h"
#include "outputs.h"
#include "segmenter.h"

struct predict_settings {
    struct run_settings run;
    struct outputs outputs;
};

/* The option that both take: --save. */
struct option_group save_group(struct outputs *outputs);

/* Segments what the arguments stand for with the network at `path`; returns an exit code. */
int predict_arguments(const char *path, char **arguments, int count,
                      const struct predict_settings *settings);

#endif
