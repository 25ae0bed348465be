/* Building an engine file from a checkpoint: build, and the ancestor's -s. */
#ifndef UNET_CLI_BUILD_H
#define UNET_CLI_BUILD_H

#include "budget.h"
#include "calibrate.h"
#include "options.h"

#include <unet.h>

struct build_settings {
    unet_precision precision;
    struct image_size size;
    bool verbose, no_timing;
    const char *timing_cache;
    int threads, batch;
    const char *device; /* NULL: the CPU */
    int mean_count;     /* values of mean and std that --normalize gave */
    unet_preprocess preprocess;
    struct calibration_settings calibration; /* options of groups of their own */
    struct budget_settings budget;
};

struct option_group build_settings_group(struct build_settings *settings);

/* Returns an exit code, and frees what the settings hold. */
int build_engine_file(const char *model_path, const char *engine_path,
                      struct build_settings *settings);

#endif
