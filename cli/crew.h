/* Sessions that segment many inputs, on the CPU or on one or all GPUs, and the threads that feed
 * them: while some decode and encode images, others run the network. */
#ifndef UNET_CLI_CREW_H
#define UNET_CLI_CREW_H

#include "segmenter.h"

struct crew {
    struct segmenter *members; /* those of a GPU follow each other and share its engine */
    int count;
    int threads; /* that work at once; 1: the caller's alone */
};

/* For so many inputs. The device "cuda:all" is every GPU there is. Errors: as segmenter_open. */
unet_status crew_open(struct crew *crew, const char *path, const struct run_settings *settings,
                      size_t inputs, unet_error *error);
void crew_close(struct crew *crew);

/* What became of one input. */
struct outcome {
    unet_status status;
    bool names_input; /* the message does so already */
    bool last;        /* no further input is begun; those that are at work are finished, and told */
    unet_error error; /* unless it is UNET_OK */
};

/* Loads the input, waits for a session (crew_enter, crew_leave), runs and saves. Called by any of
 * the crew's threads, and at most once for each input. */
struct shift;
typedef void crew_work(void *context, struct shift *shift, size_t input, struct outcome *outcome);

/* Told in the order of the inputs, from the caller's thread. */
typedef void crew_report(void *context, size_t input, const struct outcome *outcome);

/* Works on inputs 0 to `count` − 1. Returns how many were told. */
size_t crew_run(struct crew *crew, size_t count, crew_work *work, crew_report *report,
                void *context);

/* A session for this thread alone, until it leaves. */
struct segmenter *crew_enter(struct shift *shift);
void crew_leave(struct shift *shift, struct segmenter *member);

#endif
