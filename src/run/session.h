/* For modules above: a session's engine, and what the public header does not show. */
#ifndef UNET_RUN_SESSION_H
#define UNET_RUN_SESSION_H

#include "engine/engine.h"

const struct unet_engine *session_engine(const unet_session *session);

/* The session's threads, to run other work of one prediction (resize, argmax) on. */
struct thread_pool *session_threads(unet_session *session);

#endif
