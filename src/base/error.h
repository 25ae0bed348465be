/* How a failure travels: a status is returned and a line is written where the user will read it. */
#ifndef UNET_BASE_ERROR_H
#define UNET_BASE_ERROR_H

#include <unet.h>

/* Writes the line into `error` (may be NULL) and returns `status`, so that a failing function can
 * `return error_set(…)`. Control characters of file content become '?': one line stays one line. */
unet_status error_set(unet_error *error, unet_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "PREFIX: " in front of the line that a callee wrote and returns its status unchanged. */
unet_status error_prefix(unet_error *error, unet_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* MEMORY, "out of memory for WHAT (N bytes)". */
unet_status error_memory(unet_error *error, size_t bytes, const char *what);

/* Forwards a failure. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        unet_status try_status_ = (call);                                                          \
        if (try_status_ != UNET_OK)                                                                \
            return try_status_;                                                                    \
    } while (0)

/* Forwards a failure through the function's clean-up label; needs a local `status`. */
#define TRY_GOTO(call, label)                                                                      \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != UNET_OK)                                                                     \
            goto label;                                                                            \
    } while (0)

#endif
