#include "message.h"

#include "cli.h"
#include "progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *current_verb = "";

void message_set_verb(const char *verb)
{
    current_verb = verb;
}

const char *message_verb(void)
{
    return current_verb;
}

static bool may_colour(void)
{
    const char *no_color = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    if (no_color != NULL && no_color[0] != '\0')
        return false;
    return isatty(STDERR_FILENO) && terminal != NULL && strcmp(terminal, "dumb") != 0;
}

/* One message is one line, whatever a file's name holds. */
static void replace_control_characters(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

static void print_line(bool red, const char *format, va_list arguments)
{
    char text[4096];
    vsnprintf(text, sizeof text, format, arguments);
    replace_control_characters(text);
    progress_clear();
    bool colour = red && may_colour();
    fprintf(stderr, "%sunet%s%s:%s %s\n", colour ? "\033[31m" : "", current_verb[0] ? " " : "",
            current_verb, colour ? "\033[0m" : "", text);
}

void message(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line(false, format, arguments);
    va_end(arguments);
}

void message_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line(true, format, arguments);
    va_end(arguments);
}

unet_status fail_with(unet_error *error, unet_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    error->status = status;
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return status;
}

unet_status fail_about(const char *path, unet_status status, unet_error *error)
{
    if (status != UNET_ERROR_MODEL && status != UNET_ERROR_INPUT)
        return status;
    unet_error inner = *error;
    return fail_with(error, status, "%s: %.900s", path, inner.message);
}

void message_log(void *verbose, int level, const char *line)
{
    if (level == 0 || *(const bool *)verbose)
        message("%s", line);
}

static char *next_text(void)
{
    static char texts[8][32];
    static unsigned turn;
    return texts[turn++ % 8];
}

const char *text_of_bytes(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    char *text = next_text();
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    snprintf(text, 32, value >= 100 || value == (double)(uint64_t)value ? "%.0f %s" : "%.1f %s",
             value, units[unit]);
    return text;
}

const char *text_of_count(int64_t count)
{
    char digits[24];
    char *text = next_text();
    int length = snprintf(digits, sizeof digits, "%lld", (long long)count);
    size_t used = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && digits[i - 1] != '-' && (length - i) % 3 == 0)
            text[used++] = ',';
        text[used++] = digits[i];
    }
    text[used] = '\0';
    return text;
}

static void out_of_memory(void)
{
    message_error("out of memory");
    exit(EXIT_SYSTEM);
}

void *must_allocate(size_t bytes)
{
    void *memory = calloc(1, bytes > 0 ? bytes : 1);
    if (memory == NULL)
        out_of_memory();
    return memory;
}

void *must_reallocate(void *memory, size_t bytes)
{
    void *grown = realloc(memory, bytes > 0 ? bytes : 1);
    if (grown == NULL)
        out_of_memory();
    return grown;
}

char *must_format(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        out_of_memory();
    va_end(arguments);
    return text;
}
