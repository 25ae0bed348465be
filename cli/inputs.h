/* What is to be segmented: files, folders, patterns and stdin become one list. */
#ifndef UNET_CLI_INPUTS_H
#define UNET_CLI_INPUTS_H

#include <stdbool.h>
#include <stddef.h>

enum input_kind { INPUT_IMAGE, INPUT_ARRAY, INPUT_STDIN };

struct input {
    char *path; /* what is opened; "-" for stdin */
    char *name; /* "TREE/NAME" without extension: where its outputs go, what its label is called */
    enum input_kind kind;
};

struct input_list {
    struct input *items;
    size_t count, capacity;
    const char *results; /* where results go: passed over below a folder; NULL: nowhere */
    size_t failed;       /* arguments that gave no input; each was named on stderr */
};

/* Adds what one argument stands for: "-" is stdin; a folder is searched at every depth for images
 * whose names do not begin with a dot, in the order of their names; a pattern is expanded; anything
 * else is a file. Symbolic links are followed. What is missing or empty is named on stderr and
 * counted. */
void inputs_add(struct input_list *list, const char *argument);

/* Adds one file under a name of its own. */
void inputs_add_file(struct input_list *list, const char *path, const char *name);

void inputs_clear(struct input_list *list);

/* "a/b.c.png" → "a/b.c": cuts the last extension, but not a dot that begins the name. */
char *name_without_extension(const char *path);
/* The part behind the last slash. */
const char *base_name(const char *path);
bool is_array_name(const char *path);
bool is_folder(const char *path);
/* True if both paths lead to the same existing file or folder. */
bool is_same_file(const char *a, const char *b);

#endif
