/* unet: trained U-Nets on the command line. */
#include "cli.h"
#include "message.h"
#include "signals.h"
#include "suggest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct verb {
    verb_function *run;
    const struct command *command;
} verbs[] = {
    {verb_build, &build_command},
    {verb_predict, &predict_command},
    {verb_eval, &eval_command},
    {verb_bench, &bench_command},
    {verb_inspect, &inspect_command},
    {verb_convert, &convert_command},
    {verb_doctor, &doctor_command},
    {verb_serialize, &serialize_command},
    {verb_deserialize, &deserialize_command},
};

enum { VERB_COUNT = sizeof verbs / sizeof verbs[0] };

int exit_code_of(unet_status status)
{
    switch (status) {
    case UNET_OK:
        return EXIT_DONE;
    case UNET_ERROR_USAGE:
        return EXIT_USAGE;
    case UNET_ERROR_MODEL:
        return EXIT_MODEL;
    case UNET_ERROR_INPUT:
        return EXIT_ALL_FAILED;
    case UNET_ERROR_CANCELLED:
        return EXIT_INTERRUPTED;
    case UNET_ERROR_OUTPUT:
    case UNET_ERROR_MEMORY:
    case UNET_ERROR_DEVICE:
        break;
    }
    return EXIT_SYSTEM;
}

int report_error(const unet_error *error)
{
    message_error("%s", error->message);
    return exit_code_of(error->status);
}

int require_out(const struct command *command)
{
    message_error("-o is missing, so it is not known what to write; usage: unet %s %s",
                  command->name, command->operands);
    return EXIT_USAGE;
}

static void print_help(FILE *stream)
{
    fputs("unet runs trained U-Nets: images in, masks out.\n\nusage:\n", stream);
    for (size_t i = 0; i < VERB_COUNT; i++) {
        const struct command *command = verbs[i].command;
        char left[64];
        snprintf(left, sizeof left, "%s %s", command->name, command->brief);
        fprintf(stream, "  unet %-40s %s\n", left, command->summary);
    }
    fputs("\n'unet VERB --help' tells more of each; 'unet --version'.\n", stream);
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strcmp(verbs[i].command->name, name) == 0)
            return &verbs[i];
    return NULL;
}

static int complain_unknown(const char *name)
{
    const char *names[VERB_COUNT + 2];
    for (size_t i = 0; i < VERB_COUNT; i++)
        names[i] = verbs[i].command->name;
    names[VERB_COUNT] = "--help";
    names[VERB_COUNT + 1] = "--version";
    const char *near = suggestion(name, names, VERB_COUNT + 2);
    const char *kind = name[0] == '-' ? "option" : "verb";
    if (near != NULL)
        message_error("unknown %s '%s'; did you mean '%s'? (see 'unet --help')", kind, name, near);
    else
        message_error("unknown %s '%s' (see 'unet --help')", kind, name);
    return EXIT_USAGE;
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("unet %s\n", unet_version());
        return EXIT_DONE;
    }
    const struct verb *verb = find_verb(argv[1]);
    if (verb == NULL)
        return complain_unknown(argv[1]);
    message_set_verb(verb->command->name);
    return verb->run(argc - 2, argv + 2);
}

int main(int argc, char **argv)
{
    signals_install();
    int exit_code = run(argc, argv);
    /* A full disk behind stdout shows only when the buffer is emptied. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        message_error("cannot write to standard output: %s", strerror(errno));
        return EXIT_SYSTEM;
    }
    return exit_code;
}
