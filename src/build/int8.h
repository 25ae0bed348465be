/* Builds the fastest engine inside a budget of changed pixels, of bytes or of e4m3: docs/int8.md.
 */
#ifndef UNET_BUILD_INT8_H
#define UNET_BUILD_INT8_H

#include "build/report.h"
#include "engine/engine.h"

struct int8_request {
    const unet_build_options
        *options; /* checked and complete: of INT8, FP8, or AUTO with images or table */
    bool resize;  /* a size to tune for was given: images are resized to it */
    const struct engine_facts *facts;
    const struct log *log;
};

/* `graph`: optimised, all float32, up-samplings not fused. `report` may be NULL. Errors: as
 * unet_build. */
unet_status int8_build(const struct graph *graph, const struct int8_request *request,
                       unet_engine **engine, unet_build_report **report, unet_error *error);

#endif
