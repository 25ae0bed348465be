/* Command lines: tables of options, read strictly, with help and "did you mean". */
#ifndef UNET_CLI_OPTIONS_H
#define UNET_CLI_OPTIONS_H

#include <unet.h>

#include <stdbool.h>
#include <stddef.h>

/* Why a value was refused, as the end of a sentence: "is not a whole number from 1 to 64". */
struct problem {
    char text[256];
};

/* Returns false, for a reader to end with. */
bool problem_set(struct problem *problem, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Reads an option's text into the member it belongs to. */
typedef bool option_reader(const char *text, void *member, struct problem *problem);

struct option_spec {
    char letter;       /* "-o"; '\0' where there is none */
    const char *name;  /* "threads", without dashes */
    const char *value; /* the value's name in help, "N"; NULL for a flag, whose member is a bool */
    const char *help;
    option_reader *read; /* NULL for a flag */
    size_t offset;       /* of the member in the group's target */
};

/* Options that several verbs share come as a group with a struct of their own. */
struct option_group {
    const struct option_spec *specs;
    size_t count;
    void *target;
};

#define OPTION_GROUP(specs, target)                                                                \
    {                                                                                              \
        specs, sizeof(specs) / sizeof((specs)[0]), target                                          \
    }

struct command {
    const char *name;     /* "predict" */
    const char *operands; /* "ENGINE|MODEL INPUT..." */
    const char *brief;    /* the operands that matter most, for `unet --help` */
    const char *summary;  /* a few words, for the same */
    const char *details;  /* lines below the usage line of `unet VERB --help` */
    const char *examples;
    int min_operands, max_operands; /* max < 0: any number */
};

struct operands {
    char **items; /* point into argv's strings */
    int count;
};

/* Reads the arguments behind the verb. Where false comes back there is nothing left to do but to
 * exit with `*exit_code`: help was printed, or a line that says what is wrong. Options may stand
 * before, between and after the operands; "--" ends them. `operands` uses argv's own storage. */
bool arguments_read(const struct command *command, const struct option_group *groups,
                    size_t group_count, int argc, char **argv, struct operands *operands,
                    int *exit_code);

/* Whole numbers and decimals, nothing before or behind them, within [low, high]. */
bool parse_integer(const char *text, long low, long high, int *value, struct problem *problem);
bool parse_number(const char *text, double *value);

/* Readers for members of type int, double, const char * and struct image_size. */
option_reader read_threads, read_batch, read_text, read_size, read_scale, read_precision,
    read_device, read_devices;

struct image_size {
    int width, height; /* 0: not given */
};

/* Of the precisions that need calibration. */
bool is_8bit(unet_precision precision);

#endif
