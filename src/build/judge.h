/* What a way to run a network does to masks: images with the masks that float32 gives them. */
#ifndef UNET_BUILD_JUDGE_H
#define UNET_BUILD_JUDGE_H

#include "base/log.h"
#include "build/budget.h"
#include "run/session.h"

#define JUDGE_MOST_IMAGES 8
#define JUDGE_MOST_PIXELS (4 << 20) /* of all images, but for the first two */

/* Of `count` images so many judge, and do not set ranges: a quarter, at least 2 and at most
 * JUDGE_MOST_IMAGES, but no more than half. A single image has to do both. */
size_t judge_count(size_t count);

struct judge {
    struct judged_image *images;
    size_t count;
    uint64_t pixels;
    int classes;
};

struct judge_request {
    const char *const *images; /* paths, as calibrate takes them */
    size_t count;
    size_t wanted;     /* how many to take, spread evenly */
    int height, width; /* images are resized to it; 0: they are not */
    bool quiet;        /* somebody else will name those that cannot be read */
    const struct log *log;
};

/* Loads images. One that cannot be read is named in a notice, and another takes its place. `taken`:
 * one flag a path, set for what was taken. INPUT if there is none to be had. */
unet_status judge_open(const struct judge_request *request, struct judge *judge, bool *taken,
                       unet_error *error);
/* The masks of this session are the truth from now on. An image that the network refuses is an
 * error. */
unet_status judge_set_reference(struct judge *judge, unet_session *session, unet_error *error);
unet_status judge_masks(const struct judge *judge, unet_session *session,
                        struct budget_verdict *verdict, unet_error *error);
void judge_close(struct judge *judge);

#endif
