/* The runs that a session on a device has seen, and the graphs that were captured of them. A run is
 * launched step by step the first time, for some kernels prepare themselves then; captured the
 * second time; and launched as a whole from then on. Private to run/. */
#ifndef UNET_RUN_CAPTURED_H
#define UNET_RUN_CAPTURED_H

#include "run/session_kind.h"

/* All that a captured graph holds fast, beside the arena and the weights. */
struct run_key {
    struct session_io io; /* the device's pointers */
    int batch, height, width;
};

struct captured_run {
    struct run_key key;
    struct device_graph *graph; /* NULL: none yet */
    bool refused;               /* it could not be captured */
    long used;                  /* when; 0: never, the slot is free */
};

/* Sizes of images that come in turn: more than that prepare anew each time. */
#define CAPTURED_MOST 16

struct captured_runs {
    struct captured_run runs[CAPTURED_MOST];
    long clock;
};

/* The run of this key, or a fresh one in the place of the least used, whose graph the caller has to
 * free while nothing runs: `evicted`, NULL where there is none. `known`: it was there. */
struct captured_run *captured_find(struct captured_runs *all, const struct run_key *key,
                                   bool *known, struct device_graph **evicted);

/* Forgets all; nothing may be running. */
void captured_clear(struct captured_runs *all, const struct device_backend *backend);

#endif
