/* The value of --normalize. */
#ifndef UNET_CLI_NORMALIZE_H
#define UNET_CLI_NORMALIZE_H

#include "build.h"

/* Fills mean_count and preprocess of a struct build_settings. */
option_reader read_normalize;

/* One mean for all channels is spread; any other count must be the network's. */
unet_status normalize_fit(unet_preprocess *preprocess, int mean_count, int channels,
                          unet_error *error);

#endif
