/* The engine: an optimised graph, its plan and packed weights, in memory or mapped from a file.
 * docs/engine-format.md specifies the file. */
#ifndef UNET_ENGINE_ENGINE_H
#define UNET_ENGINE_ENGINE_H

#include "base/file.h"
#include "base/log.h"
#include "plan/plan.h"

struct engine_facts {
    char architecture[48];
    int in_channels, classes, width;
    int tuned_height, tuned_width;
    int64_t parameter_count;
    unet_preprocess preprocess;
    size_t mask_value_count;
    int mask_value_channels;
    const uint8_t *mask_values;
};

struct unet_engine {
    struct file_map file;  /* of an opened or built engine: the whole serialised file */
    struct graph graph;
    struct plan plan;
    struct engine_facts facts; /* mask_values point into the file */
    const void *packed;        /* in the file, or in `repacked` */
    void *repacked;            /* aligned; NULL: the file's packed weights serve this machine */
    char built_for[16];
};

/* Serialises graph, plan, facts and packed weights into one block and opens it: a built engine and
 * a loaded one are the same thing. Takes the graph's content over (on success `graph` is left empty).
 * Equal arguments give equal bytes. */
unet_status engine_create(struct graph *graph, const struct plan *plan,
                          const struct engine_facts *facts, unet_engine **engine,
                          unet_error *error);

#endif
