/* fp16 holds no more than 65504: which layers of a network must not read it. */
#ifndef UNET_BUILD_F16_GUARD_H
#define UNET_BUILD_F16_GUARD_H

#include "engine/engine.h"

struct f16_guard_request {
    const struct graph *graph; /* optimised, up-samplings not fused, types set to F16: what is
                                  float32 in any case needs no guard */
    const unet_build_options *options; /* its images are run, patterns where it has none */
    bool resize;                       /* images are resized to the size to tune for */
    const struct engine_facts *facts;
    const struct kernel_target *target;
    const struct log *log; /* names the layers that stay wider, and how far they reach */
};

/* Runs the float32 network and looks how far its values reach. `types`, one a node: F16, or where
 * what a layer reads, or its weights, would leave fp16's range, bf16 (float32 where the target has
 * none). `wider`: how many. Errors: as calibrate. */
unet_status f16_guard(const struct f16_guard_request *request, enum graph_type *types, int *wider,
                      unet_error *error);

/* Whether fp16 holds what reached so far on images that calibrated. */
bool f16_holds(double largest);

#endif
