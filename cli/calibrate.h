/* What a build of int8 is calibrated with: --calib and its companions. */
#ifndef UNET_CLI_CALIBRATE_H
#define UNET_CLI_CALIBRATE_H

#include "inputs.h"
#include "options.h"

#include <unet.h>

struct calibration_settings {
    const char *images; /* a folder, file or pattern; NULL: none */
    const char *table;
    unet_calibration method;
    bool all;
};

struct option_group calibration_group(struct calibration_settings *settings);

/* The images that the settings stand for, while a build uses them. */
struct calibration_images {
    struct input_list inputs;
    const char **paths;
    size_t skipped; /* that the build could not use; each was named */
};

/* Finds the images. Where an exit code other than EXIT_DONE comes back, what is wrong was printed.
 */
int calibration_images_find(struct calibration_images *images,
                            const struct calibration_settings *settings, unet_precision precision);
void calibration_images_clear(struct calibration_images *images);

/* Puts both into the options. `images` must stay until the build is done; it draws the progress bar
 * meanwhile. */
void calibration_fill(unet_build_options *options, const struct calibration_settings *settings,
                      struct calibration_images *images);

#endif
