/* What kernels took, kept from build to build. A text file: a first line that names format and
 * version, then a line a timing of seven fields with tabs between them:
 *
 *     CPU  TIER FEATURES  THREADS  LIBUNET'S VERSION  STEP  KERNEL  NANOSECONDS
 *
 * All but the last two are the KEY, which is compared as it stands. Lines of other machines never
 * match, and are kept. */
#ifndef UNET_BUILD_TIMING_CACHE_H
#define UNET_BUILD_TIMING_CACHE_H

#include "base/memory.h"
#include "kernels/target.h"

struct timing {
    const char *key, *kernel;
    int64_t nanoseconds; /* above 0 */
    bool measured;       /* by this build, not read */
    int line;            /* in the file; 0: not from there */
};

/* Zero-initialise it. */
struct timing_cache {
    struct arena arena;
    struct timing *timings; /* ordered by key and kernel */
    int count, capacity;
};

/* The beginning of this machine's keys, with the tab behind it. USAGE where UNET_CPU is wrong. */
#define TIMING_MACHINE_BYTES 512
unet_status timing_machine(int threads, char text[TIMING_MACHINE_BYTES], unet_error *error);
/* The same of a device: its name, architecture, driver and libraries; no threads. */
void timing_device(const struct kernel_target *target, char text[TIMING_MACHINE_BYTES]);

/* Adds what a file holds; one that is not there or is empty holds nothing. MODEL if it cannot be
 * read or is no timing cache of this version, down to the last byte: names path and line. */
unet_status timing_cache_read(struct timing_cache *cache, const char *path, unet_error *error);

/* Bytes of such a file, for timing_cache_read and for tests. */
unet_status timing_cache_parse(struct timing_cache *cache, const char *text, size_t bytes,
                               unet_error *error);

/* Nanoseconds; 0 where that is not known. */
int64_t timing_cache_find(const struct timing_cache *cache, const char *key, const char *kernel);

/* Keeps a measurement in the place of what was known. */
unet_status timing_cache_put(struct timing_cache *cache, const char *key, const char *kernel,
                             int64_t nanoseconds, unet_error *error);

/* OUTPUT if nothing could be written there: said before minutes are spent on measuring. */
unet_status timing_cache_probe(const char *path, unet_error *error);

/* Writes what this build measured into the file, beside what it holds by now; whole or not at all.
 * Touches nothing if nothing was measured. OUTPUT; MODEL as timing_cache_read. */
unet_status timing_cache_save(const struct timing_cache *cache, const char *path,
                              unet_error *error);

void timing_cache_clear(struct timing_cache *cache);

#endif
