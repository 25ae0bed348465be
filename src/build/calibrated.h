/* Ranges for a build of int8 or fp8: from images, or from a calibration table. */
#ifndef UNET_BUILD_CALIBRATED_H
#define UNET_BUILD_CALIBRATED_H

#include "build/keep.h"
#include "build/ranges.h"

/* Of the methods; entropy comes first, as TensorRT has no other. */
struct calibrated {
    struct quant_ranges methods[QUANT_METHOD_COUNT]; /* of images; those of a table: the first */
    bool known[QUANT_METHOD_COUNT];
    size_t images;            /* that set the ranges; 0: a table did */
    bool from_table, foreign; /* the table was not libunet's */
    /* What libunet's table tells of a build with this type of 8 bits. */
    bool decided; /* the type of every layer is in `types` */
    enum graph_type *types;
    double flips; /* share; NaN: not known */
};

struct calibrated_request {
    const unet_build_options *options;
    const char *const *images; /* those that set ranges */
    size_t count;
    bool resize;
    enum graph_type narrow; /* the build's */
    const struct engine_facts *facts;
    const struct log *log;
};

bool calibrated_has_table(const unet_build_options *options);

unet_status calibrated_by_images(const struct calibrated_request *request,
                                 const struct graph *graph, const struct kernel_target *target,
                                 struct calibrated *calibrated, unet_error *error);
unet_status calibrated_by_table(const struct calibrated_request *request, const struct graph *graph,
                                const struct layer_costs *costs, struct calibrated *calibrated,
                                unet_error *error);

/* Writes the table that the options name. `types`: one a layer; `flips`: a share. */
unet_status calibrated_write(const unet_build_options *options, const struct graph *graph,
                             const struct quant_ranges *ranges, const struct layer_costs *costs,
                             enum graph_type narrow, const enum graph_type *types, double flips,
                             unet_error *error);
void calibrated_clear(struct calibrated *calibrated);

#endif
