#include "options.h"

#include "cli.h"
#include "message.h"
#include "suggest.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool problem_set(struct problem *problem, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem->text, sizeof problem->text, format, arguments);
    va_end(arguments);
    return false;
}

/* ---------------------------------------------------------------- help */

enum { HELP_COLUMN = 28 };

/* "  -o, --out DIR", then the help behind it, or below where that is too long. */
static void print_option(char letter, const char *name, const char *value, const char *help)
{
    char left[128];
    char short_form[8] = "";
    if (letter != '\0')
        snprintf(short_form, sizeof short_form, "-%c, ", letter);
    snprintf(left, sizeof left, "  %s--%s%s%s", short_form, name, value != NULL ? " " : "",
             value != NULL ? value : "");
    printf("%-*s", HELP_COLUMN, left);
    if (strlen(left) >= HELP_COLUMN)
        printf("\n%*s", HELP_COLUMN, "");
    for (; *help != '\0'; help++) {
        putchar(*help);
        if (*help == '\n')
            printf("%*s", HELP_COLUMN, "");
    }
    putchar('\n');
}

static void print_help(const struct command *command, const struct option_group *groups,
                       size_t group_count)
{
    printf("usage: unet %s %s\n\n%s\n\noptions:\n", command->name, command->operands,
           command->details);
    for (size_t g = 0; g < group_count; g++) {
        for (size_t i = 0; i < groups[g].count; i++) {
            const struct option_spec *spec = &groups[g].specs[i];
            print_option(spec->letter, spec->name, spec->value, spec->help);
        }
    }
    print_option('h', "help", NULL, "show this");
    printf("\nexamples:\n%s", command->examples);
}

/* ---------------------------------------------------------------- finding */

struct found {
    const struct option_spec *spec;
    const struct option_group *group;
};

struct reading {
    const struct command *command;
    const struct option_group *groups;
    size_t group_count;
    int argc, next;
    char **argv;
    bool help, failed;
};

static void complain(struct reading *reading, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void complain(struct reading *reading, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    message_error("%s (see 'unet %s --help')", text, reading->command->name);
    reading->failed = true;
}

static bool name_is(const struct option_spec *spec, const char *name, size_t length)
{
    return strlen(spec->name) == length && memcmp(spec->name, name, length) == 0;
}

/* By letter, or by name where `letter` is '\0'. */
static bool find_option(const struct reading *reading, char letter, const char *name, size_t length,
                        struct found *found)
{
    for (size_t g = 0; g < reading->group_count; g++) {
        const struct option_group *group = &reading->groups[g];
        for (size_t i = 0; i < group->count; i++) {
            const struct option_spec *spec = &group->specs[i];
            bool fits = letter != '\0' ? spec->letter == letter : name_is(spec, name, length);
            if (fits) {
                *found = (struct found){spec, group};
                return true;
            }
        }
    }
    return false;
}

static void complain_unknown(struct reading *reading, const char *name, size_t length)
{
    enum { MOST = 64 };
    const char *names[MOST];
    size_t count = 0;
    char typed[64];
    for (size_t g = 0; g < reading->group_count; g++)
        for (size_t i = 0; i < reading->groups[g].count && count < MOST; i++)
            names[count++] = reading->groups[g].specs[i].name;
    snprintf(typed, sizeof typed, "%.*s", (int)(length < 63 ? length : 63), name);
    const char *near = suggestion(typed, names, count);
    if (near != NULL)
        complain(reading, "unknown option '--%s'; did you mean '--%s'?", typed, near);
    else
        complain(reading, "unknown option '--%s'", typed);
}

/* ---------------------------------------------------------------- reading */

/* `shown` is the option as it was typed, "-o" or "--out". */
static void take_option(struct reading *reading, const struct found *found, const char *shown,
                        const char *attached)
{
    const struct option_spec *spec = found->spec;
    char *member = (char *)found->group->target + spec->offset;
    struct problem problem = {""};
    if (spec->value == NULL) {
        if (attached != NULL)
            complain(reading, "%s takes no value", shown);
        else
            *(bool *)member = true;
        return;
    }
    const char *text = attached;
    if (text == NULL && reading->next < reading->argc) {
        text = reading->argv[reading->next++];
        /* "--out --size 64x64": the value was forgotten. */
        if (text[0] == '-' && text[1] == '-')
            text = NULL;
    }
    if (text == NULL || text[0] == '\0')
        complain(reading, "%s needs a value: %s %s", shown, shown, spec->value);
    else if (!spec->read(text, member, &problem))
        complain(reading, "%s: '%s' %s", shown, text, problem.text);
}

static void read_long(struct reading *reading, const char *argument)
{
    const char *name = argument + 2;
    const char *equals = strchr(name, '=');
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    struct found found;
    char shown[80];
    if (length == 4 && memcmp(name, "help", 4) == 0) {
        reading->help = true;
    } else if (find_option(reading, '\0', name, length, &found)) {
        snprintf(shown, sizeof shown, "--%s", found.spec->name);
        take_option(reading, &found, shown, equals != NULL ? equals + 1 : NULL);
    } else {
        complain_unknown(reading, name, length);
    }
}

static void read_short(struct reading *reading, const char *argument)
{
    struct found found;
    char shown[3] = {'-', argument[1], '\0'};
    if (strcmp(argument, "-h") == 0) {
        reading->help = true;
    } else if (find_option(reading, '\0', argument + 1, strlen(argument + 1), &found)) {
        complain(reading, "unknown option '%s'; did you mean '-%s'?", argument, argument);
    } else if (find_option(reading, argument[1], NULL, 0, &found)) {
        const char *attached = argument + 2 + (argument[2] == '='); /* -oDIR and -o=DIR */
        take_option(reading, &found, shown, argument[2] != '\0' ? attached : NULL);
    } else {
        complain(reading, "unknown option '%s'", argument);
    }
}

static bool has_empty(const struct operands *operands)
{
    for (int i = 0; i < operands->count; i++)
        if (operands->items[i][0] == '\0')
            return true;
    return false;
}

static bool check_operands(const struct command *command, const struct operands *operands)
{
    if (command->max_operands >= 0 && operands->count > command->max_operands)
        message_error("'%s' is one argument too many; usage: unet %s %s",
                      operands->items[command->max_operands], command->name, command->operands);
    else if (has_empty(operands))
        message_error("an argument is empty; usage: unet %s %s", command->name, command->operands);
    else if (operands->count < command->min_operands)
        message_error("an argument is missing; usage: unet %s %s", command->name,
                      command->operands);
    else
        return true;
    return false;
}

bool arguments_read(const struct command *command, const struct option_group *groups,
                    size_t group_count, int argc, char **argv, struct operands *operands,
                    int *exit_code)
{
    struct reading reading = {command, groups, group_count, argc, 0, argv, false, false};
    bool only_operands = false;
    *operands = (struct operands){argv, 0};
    while (reading.next < argc && !reading.help && !reading.failed) {
        char *argument = argv[reading.next++];
        if (only_operands || argument[0] != '-' || argument[1] == '\0')
            argv[operands->count++] = argument;
        else if (strcmp(argument, "--") == 0)
            only_operands = true;
        else if (argument[1] == '-')
            read_long(&reading, argument);
        else
            read_short(&reading, argument);
    }
    *exit_code = EXIT_USAGE;
    if (!reading.help)
        return !reading.failed && check_operands(command, operands);
    print_help(command, groups, group_count);
    *exit_code = EXIT_DONE;
    return false;
}
