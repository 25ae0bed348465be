/* For modules above: a session's engine, and what the public header does not show. */
#ifndef UNET_RUN_SESSION_H
#define UNET_RUN_SESSION_H

#include "engine/engine.h"

/* One image's input and output: planes or pixels, logits or a mask. */
struct session_io {
    const float *input;          /* planar; NULL: pixels are given */
    struct kernel_pixels pixels; /* with values for each of the network's channels */
    float *logits;               /* planar; NULL: a mask is wanted */
    struct kernel_mask mask;     /* of a network of at most KERNEL_MASK_CLASSES classes */
};

const struct unet_engine *session_engine(const unet_session *session);

/* As unet_session_run, whose bits these are: a mask is what its logits say. Input and output must
 * not overlap. */
unet_status session_run(unet_session *session, const struct session_io *io, int height, int width,
                        unet_error *error);

/* Called after each step that runs, from the caller's thread: what the step wrote lies in its
 * tensors until the next one begins. It must leave them as they are, and may use session_threads.
 * On a device `out` and `pooled` are copies in the host's memory (NHWC), which stay until the call
 * for the next step returns, and all other pointers are the device's.
 */
typedef void session_observer(void *context, const struct plan_step *step,
                              const struct layout_step *laid);

/* From now on; NULL: nobody. */
void session_observe(unet_session *session, session_observer *observer, void *context);

/* The session's threads, to run other work of one prediction (resize, argmax) on. */
struct thread_pool *session_threads(unet_session *session);

#endif
