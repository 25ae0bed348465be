/* Calibration: what sizes the values between layers have, found by running a float32 engine over
 * images and looking at every tensor that it writes. */
#ifndef UNET_BUILD_CALIBRATE_H
#define UNET_BUILD_CALIBRATE_H

#include "engine/engine.h"
#include "kernels/histogram.h"

struct calibration_request {
    const char *const *images; /* paths of images or .npy arrays, as unet_predict takes them */
    const unet_array *arrays;  /* in the place of paths: float32, as the network takes them */
    size_t count;
    int height, width; /* images are resized to it and not scaled; 0: as the engine preprocesses.
                          Arrays are never resized. */
    unet_calibration method; /* what ranges will be made by: early stop waits for these */
    bool all;                /* no early stop */
    int threads;
    unet_calibration_function progress; /* NULL: nobody wants to know */
    void *progress_user;
    const struct log *log;
};

/* As the options of a build say, of all their images. */
struct calibration_request calibration_request_of(const unet_build_options *options, bool resize,
                                                  const struct log *log);

/* What one value of the engine's graph was like. What a convolution, plain or transposed, writes is
 * counted; what is derived from that (pooled, up-sampled) shares its range and has means alone. */
struct calibrated_value {
    bool counted;             /* else only histogram_mean() holds something */
    int channels;             /* 0: nothing is known of this value */
    struct histogram *blocks; /* kernel_blocks(channels) */
};

struct calibration {
    struct calibrated_value *values; /* one a value of the graph, by the same index */
    int value_count;
    size_t images, skipped; /* that were used; that could not be */
    bool settled;           /* ranges stood still before the images ended */
};

/* Runs the images one after the other, as unet_predict would. Memory does not depend on their
 * number, nor the result on that of threads. An image that cannot be used is named in a notice and
 * skipped. `engine` is float32 throughout.
 * INPUT where no image is left (names the first), MODEL where a layer writes NaN or infinity (names
 * image and layer), CANCELLED where `progress` says so, USAGE, MEMORY. */
unet_status calibrate(const unet_engine *engine, const struct calibration_request *request,
                      struct calibration *calibration, unet_error *error);
void calibration_clear(struct calibration *calibration);

/* Of one channel of a value that is counted: HISTOGRAM_BINS counts of magnitudes. */
static inline const uint32_t *calibration_counts(const struct calibrated_value *value, int channel)
{
    return value->blocks[channel / KERNEL_BLOCK].counts[channel % KERNEL_BLOCK];
}

/* Width of these bins; 0 where the channel was always zero. */
static inline float calibration_bin(const struct calibrated_value *value, int channel)
{
    return histogram_bin(&value->blocks[channel / KERNEL_BLOCK], channel % KERNEL_BLOCK);
}

static inline float calibration_max(const struct calibrated_value *value, int channel)
{
    return value->blocks[channel / KERNEL_BLOCK].max[channel % KERNEL_BLOCK];
}

/* Of a value that is known. */
static inline double calibration_mean(const struct calibrated_value *value, int channel)
{
    return histogram_mean(&value->blocks[channel / KERNEL_BLOCK], channel % KERNEL_BLOCK);
}

#endif
