#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void log_line(const struct log *log, int level, const char *format, ...)
{
    if (log == NULL || log->function == NULL)
        return;
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    log->function(log->user, level, line);
}
