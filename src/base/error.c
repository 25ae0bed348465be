#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_SIZE sizeof(((unet_error *)0)->message)

static void make_one_line(char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f)
            *text = '?';
    }
}

unet_status error_set(unet_error *error, unet_status status, const char *format, ...)
{
    if (error == NULL)
        return status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, MESSAGE_SIZE, format, arguments);
    va_end(arguments);
    make_one_line(error->message);
    error->status = status;
    return status;
}

unet_status error_prefix(unet_error *error, unet_status status, const char *format, ...)
{
    if (error == NULL)
        return status;
    char prefix[MESSAGE_SIZE / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    make_one_line(prefix);
    size_t used = strlen(prefix), room = MESSAGE_SIZE - used - 3;
    size_t kept = strnlen(error->message, room);
    memmove(error->message + used + 2, error->message, kept);
    memcpy(error->message, prefix, used);
    memcpy(error->message + used, ": ", 2);
    error->message[used + 2 + kept] = '\0';
    return status;
}

unet_status error_memory(unet_error *error, size_t bytes, const char *what)
{
    return error_set(error, UNET_ERROR_MEMORY, "out of memory for %s (%zu bytes)", what, bytes);
}

const char *unet_status_name(unet_status status)
{
    switch (status) {
    case UNET_OK:
        return "ok";
    case UNET_ERROR_USAGE:
        return "usage error";
    case UNET_ERROR_MODEL:
        return "model error";
    case UNET_ERROR_INPUT:
        return "input error";
    case UNET_ERROR_OUTPUT:
        return "output error";
    case UNET_ERROR_MEMORY:
        return "out of memory";
    case UNET_ERROR_DEVICE:
        return "device error";
    case UNET_ERROR_CANCELLED:
        return "cancelled";
    }
    return "unknown status";
}

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)

const char *unet_version(void)
{
    return TEXT(UNET_VERSION_MAJOR) "." TEXT(UNET_VERSION_MINOR) "." TEXT(UNET_VERSION_PATCH);
}
