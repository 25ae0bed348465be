/* From what calibration counted to what the quantiser needs; and decisions in the table beside. */
#ifndef UNET_BUILD_RANGES_H
#define UNET_BUILD_RANGES_H

#include "build/calibrate.h"
#include "quant/ranges.h"

/* `graph` is the one whose engine was calibrated. share is 1. */
unet_status ranges_of_calibration(const struct graph *graph, const struct calibration *calibration,
                                  enum quant_method method, struct quant_ranges *ranges,
                                  unet_error *error);

#endif
