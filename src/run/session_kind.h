/* What sessions on the CPU and on a device have in common, and what each does in its own way.
 * Private to run/. */
#ifndef UNET_RUN_SESSION_KIND_H
#define UNET_RUN_SESSION_KIND_H

#include "base/threads.h"
#include "run/session.h"

struct step_time {
    double seconds;
    long images;
};

struct unet_session {
    const unet_engine *engine;
    const struct session_kind *kind;
    void *own; /* the kind's */
    struct thread_pool *pool;
    struct step_time *times;    /* one a step; NULL: no profile wanted */
    int input_reader;           /* as plan_input_reader */
    session_observer *observer; /* NULL: nobody observes */
    void *observer_context;
};

/* `io` is of the first image; those of the others follow each other without gaps. */
struct session_kind {
    unet_status (*open)(unet_session *session, unet_error *error); /* fills `own` */
    void (*close)(unet_session *session);                          /* also what is half open */
    unet_status (*reserve)(unet_session *session, int height, int width, unet_error *error);
    /* Pointers of the host; returns when all is done. */
    unet_status (*run)(unet_session *session, const struct session_io *io, int batch, int height,
                       int width, unet_error *error);
    /* Pointers of the device. */
    unet_status (*enqueue)(unet_session *session, const struct session_io *io, int batch,
                           int height, int width, unet_error *error);
    unet_status (*wait)(unet_session *session, unet_error *error);
    unet_status (*memory_new)(unet_session *session, size_t bytes, void **memory,
                              unet_error *error);
    void (*memory_free)(unet_session *session, void *memory);
    unet_status (*write)(unet_session *session, void *memory, const void *from, size_t bytes,
                         unet_error *error);
    unet_status (*read)(unet_session *session, const void *memory, void *to, size_t bytes,
                        unet_error *error);
    const struct layout *(*layout)(const unet_session *session); /* the last; no steps: none yet */
    size_t (*booked_bytes)(const unet_session *session);
    /* Flops a second that a step's instructions reach at best: 0: not measured, or not known. */
    double (*peak)(const unet_session *session, const struct plan_step *step);
    unet_status (*measure_peak)(unet_session *session, unet_error *error);
};

extern const struct session_kind session_on_cpu, session_on_device;

/* The first step that runs: load, or what reads the input itself. */
int session_first_step(const unet_session *session);
/* Points the step's arguments to the caller's input and output, if it touches them. */
void session_bind_io(const unet_session *session, int step, const struct session_io *io,
                     struct kernel_args *args);

/* Bytes of one image's input and output. */
size_t session_input_bytes(const unet_session *session, const struct session_io *io, int height,
                           int width);
size_t session_output_bytes(const unet_session *session, const struct session_io *io, int height,
                            int width);
/* The same of an image further on. */
struct session_io session_io_at(const unet_session *session, const struct session_io *io, int image,
                                int height, int width);

#endif
