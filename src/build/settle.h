/* When calibration may stop: more images would change nothing. */
#ifndef UNET_BUILD_SETTLE_H
#define UNET_BUILD_SETTLE_H

#include "build/calibrate.h"

/* Images between two looks. */
#define SETTLE_WINDOW 8

/* How far a tensor's values reach. */
struct reach {
    float max;        /* the largest magnitude */
    float percentile; /* 99.99% are not larger */
};

/* Of all channels of a value that is counted. */
struct reach reach_of(const struct calibrated_value *value);

/* Compares with the reaches of the last look and replaces them; true if no value's moved by more
 * than 1%: by its largest magnitude where that is the range, by its percentile else, for of many
 * images some will always hold a new largest one. `last` has value_count members, zero before the
 * first look, which is never true of values that are not zero. */
bool settle_look(const struct calibration *calibration, unet_calibration method,
                 struct reach *last);

#endif
