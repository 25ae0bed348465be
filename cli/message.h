/* Words for people: stderr, one line each. Data goes to stdout and is not printed from here. */
#ifndef UNET_CLI_MESSAGE_H
#define UNET_CLI_MESSAGE_H

#include <unet.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Stands at the head of every line from now on: "unet predict: …". */
void message_set_verb(const char *verb);
const char *message_verb(void);

/* A notice. Control characters, of a file's name for example, are shown as '?'. */
void message(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for what went wrong; red where stderr is a terminal that may be coloured. */
void message_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Fills an error as the library would, and returns its status. */
unet_status fail_with(unet_error *error, unet_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts the path before the message of a model or input error that names only a layer or a section;
 * passes `status` through. */
unet_status fail_about(const char *path, unet_status status, unet_error *error);

/* A unet_log_function; `user` points to a bool: details are wanted too. */
void message_log(void *verbose, int level, const char *line);

/* "51.2 MiB" and "13,395,329": one of several static buffers in turn. */
const char *text_of_bytes(uint64_t bytes);
const char *text_of_count(int64_t count);

/* Allocate or exit with a message: where a few bytes for a name are not to be had, there is
 * nothing better to do. */
void *must_allocate(size_t bytes); /* zeroed */
void *must_reallocate(void *memory, size_t bytes);
char *must_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
