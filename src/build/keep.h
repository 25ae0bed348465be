/* Layers whose precision the user has chosen. */
#ifndef UNET_BUILD_KEEP_H
#define UNET_BUILD_KEEP_H

#include "build/layer_costs.h"

/* GRAPH_TYPE_COUNT: any type. */
struct kept {
    enum graph_type *types; /* one a layer */
};

/* USAGE for a layer that is not there (names one that is like it, or all), one that is kept twice
 * or at a precision that it cannot have, of 8 bits any but `narrow`; DEVICE for a precision that is
 * not `available` here. */
unet_status keep_find(const unet_build_options *options, const struct layer_costs *costs,
                      enum graph_type narrow, const bool available[GRAPH_TYPE_COUNT],
                      struct kept *kept, unet_error *error);
void keep_clear(struct kept *kept);

const char *precision_name(enum graph_type type);

#endif
