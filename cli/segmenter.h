/* An engine, or a model built in memory, ready to segment inputs one after the other: what predict
 * and eval share. */
#ifndef UNET_CLI_SEGMENTER_H
#define UNET_CLI_SEGMENTER_H

#include "inputs.h"
#include "options.h"

#include <unet.h>

/* How to run: --scale, --threshold, --range, --threads and --device. */
struct run_settings {
    double scale, threshold; /* 0: the engine's and 0.5 */
    bool range_set, range_percentile;
    double range_low, range_high;
    int threads;
    const char *device;       /* NULL: what an engine was built for; the CPU for a model */
    unet_precision precision; /* of a model; AUTO for an engine, which has its own */
};

struct option_group run_settings_group(struct run_settings *settings);
/* --precision, of verbs that take a model in an engine's place. */
struct option_group precision_group(unet_precision *precision);

struct segmenter {
    unet_engine *engine;
    bool shares; /* the engine is another's, who outlives this one */
    unet_engine_info info;
    unet_session *session;
    unet_predict_options how;
};

/* Help of --device, for verbs that run networks. */
#define DEVICE_HELP                                                                                \
    "cpu, cuda, cuda:N, or auto: the first GPU where there is\none; default: as the engine was "   \
    "built"

/* What an in-memory build of a model is made for; 0: the defaults. */
struct tuning {
    struct image_size size;
    double scale;
    unet_precision precision;
    const char *device; /* NULL: what an engine was built for; the CPU for a model */
};

/* unet_model_open for verbs that want a checkpoint: an engine is refused by what it is. */
unet_status checkpoint_open(const char *path, unet_model **model, unet_error *error);

/* Opens an engine file, or reads and builds a model: the content decides. USAGE where a precision
 * is asked of an engine. */
unet_status network_open(const char *path, const struct tuning *tuning, unet_engine **engine,
                         unet_error *error);

/* Reads or builds the network and makes a session. USAGE where settings and network do not fit. */
unet_status segmenter_open(struct segmenter *segmenter, const char *path,
                           const struct run_settings *settings, unet_error *error);
/* Another session of the same engine and settings. */
unet_status segmenter_share(const struct segmenter *of, struct segmenter *segmenter,
                            unet_error *error);
void segmenter_close(struct segmenter *segmenter);

/* Classes that masks can hold: two for a network with one output. */
int segmenter_classes(const struct segmenter *segmenter);

/* One input in memory. */
struct picture {
    unet_image image; /* `pixels` is NULL where the input is no image of one or three channels */
    unet_array array; /* `data` is NULL unless the input is an array */
};

unet_status picture_load(struct picture *picture, const struct input *input, unet_error *error);
void picture_clear(struct picture *picture);

unet_status segmenter_run(struct segmenter *segmenter, const struct picture *picture,
                          unet_prediction *prediction, unet_error *error);

#endif
