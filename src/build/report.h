/* What a build of int8 or fp8 measured. */
#ifndef UNET_BUILD_REPORT_H
#define UNET_BUILD_REPORT_H

#include "base/memory.h"

struct unet_build_report {
    struct arena arena;
    unet_build_report_info info;
    unet_layer_report *layers; /* info.layer_count */
};

unet_status report_create(size_t layers, unet_build_report **report, unet_error *error);

#endif
