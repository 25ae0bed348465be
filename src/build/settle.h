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

/* Compares with the reaches of the last look and replaces them; true if none of either kind moved
 * by more than 1%. `last` has value_count members, zero before the first look, which is never true
 * of values that are not zero. */
bool settle_look(const struct calibration *calibration, struct reach *last);

#endif
