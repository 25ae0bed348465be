/* Lines for the user go through the caller's function; without one they are dropped. */
#ifndef UNET_BASE_LOG_H
#define UNET_BASE_LOG_H

#include "base/error.h"

struct log {
    unet_log_function function;
    void *user;
};

enum { LOG_NOTICE = 0, LOG_DETAIL = 1 };

void log_line(const struct log *log, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
