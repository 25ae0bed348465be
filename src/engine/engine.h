/* The engine: an optimised graph, its plan and packed weights, in memory or mapped from a file.
 * docs/engine-format.md specifies the file. */
#ifndef UNET_ENGINE_ENGINE_H
#define UNET_ENGINE_ENGINE_H

#include "base/file.h"
#include "base/hash.h"
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

/* In the order of the file. */
enum engine_section {
    ENGINE_FACTS,
    ENGINE_GRAPH,
    ENGINE_STEPS,
    ENGINE_MASK_VALUES,
    ENGINE_WEIGHTS, /* canonical: folded, row-major, float32 */
    ENGINE_PACKED,
    ENGINE_SECTION_COUNT
};

struct engine_section_entry {
    size_t offset, bytes;
    struct hash128 hash;
};

struct unet_engine {
    struct file_map file; /* the whole serialised file: mapped, read, or in `block` */
    void *block;          /* of a built engine: its memory, aligned; else NULL */
    struct engine_section_entry sections[ENGINE_SECTION_COUNT];
    struct graph graph; /* its constants point into the file and are unchecked until used */
    struct plan plan;
    struct engine_facts facts; /* mask_values point into the file */
    char (*fused)[32];         /* one text a step */
    char built_for[TARGET_NAME_BYTES], device[DEVICE_NAME_BYTES];
    char built_precision[16];    /* the graph's own may have been dropped for this machine */
    struct kernel_target target; /* where it runs; its device is the engine's own */
    const void *packed;          /* in the file, or `own_packed`; NULL where a device has them */
    void *own_packed;    /* aligned; NULL: the file's packed weights serve as they lie there */
    void *device_packed; /* in the device's memory */
    bool repacked;
};

/* Serialises graph, plan, facts and packed weights into one block and opens it: a built engine and
 * a loaded one are the same thing. Takes the graph's content over (on success `graph` is left
 * empty). Equal arguments give equal bytes. */
unet_status engine_create(struct graph *graph, const struct plan *plan,
                          const struct engine_facts *facts, unet_engine **engine,
                          unet_error *error);

/* Opens a serialised engine in memory, as unet_engine_open does a file, `device` as in its options.
 * `block` comes from memory_alloc_aligned and is taken over, on failure too. */
unet_status engine_open_block(void *block, size_t bytes, const char *device, const struct log *log,
                              unet_engine **engine, unet_error *error);

/* Copies the packed weights into the memory of the engine's target, where that is a device; the
 * host's own copy goes. */
unet_status engine_upload(unet_engine *engine, unet_error *error);
void engine_forget_upload(unet_engine *engine);

#endif
