/* What all verbs share: the exit codes, and one function and one description a verb. */
#ifndef UNET_CLI_H
#define UNET_CLI_H

#include "options.h"

#include <unet.h>

enum exit_code {
    EXIT_DONE = 0,         /* all done */
    EXIT_SOME_FAILED = 1,  /* some inputs failed, the others were done */
    EXIT_USAGE = 2,        /* wrong arguments */
    EXIT_MODEL = 3,        /* bad model, engine or table */
    EXIT_ALL_FAILED = 4,   /* every input was bad */
    EXIT_SYSTEM = 5,       /* device, memory, disk */
    EXIT_INTERRUPTED = 130 /* SIGINT or SIGTERM */
};

/* The exit code of a run that ended with this status. */
int exit_code_of(unet_status status);

/* Prints the error's line and returns its exit code. */
int report_error(const unet_error *error);

/* Says that -o is missing; returns the exit code. */
int require_out(const struct command *command);

/* Each takes the arguments behind the verb and returns an exit code. */
typedef int verb_function(int argc, char **argv);

verb_function verb_convert, verb_build, verb_predict, verb_eval, verb_bench, verb_inspect,
    verb_doctor, verb_serialize, verb_deserialize;

extern const struct command convert_command, build_command, predict_command, eval_command,
    bench_command, inspect_command, doctor_command, serialize_command, deserialize_command;

#endif
