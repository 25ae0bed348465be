#include "cli.h"
#include "devices.h"
#include "json.h"
#include "kernels.h"
#include "message.h"

#include <stdio.h>
#include <string.h>

struct doctor_settings {
    bool json;
};

enum { MOST_FAST = 3 };

/* What multiplies 8-bit numbers four times as fast as float32, bf16 twice; the fastest first. */
static const char *const fast_int8[MOST_FAST] = {"amx_int8", "avx512_vnni", "avx_vnni"};
static const char *const fast_bf16[MOST_FAST] = {"amx_bf16", "avx512_bf16"};

/* The first of them that is among the features; NULL: none. */
static const char *fast_feature(const char *features, const char *const fast[MOST_FAST])
{
    for (size_t i = 0; i < MOST_FAST && fast[i] != NULL; i++) {
        size_t length = strlen(fast[i]);
        for (const char *word = features; word != NULL; word = strchr(word, ' ')) {
            word += *word == ' ';
            if (strncmp(word, fast[i], length) == 0 && (word[length] == ' ' || !word[length]))
                return fast[i];
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- text */

static void print_threads(const unet_machine_info *machine)
{
    printf("threads    %d usable of %d", machine->usable_threads, machine->hardware_threads);
    if (machine->cgroup_cpus > 0)
        printf(" (a quota of %g CPUs is set)", machine->cgroup_cpus);
    putchar('\n');
}

static void print_caches(const unet_machine_info *machine)
{
    static const char *const names[] = {"L1d", "L2", "L3"};
    const char *comma = "";
    printf("caches     ");
    for (int i = 0; i < 3; i++) {
        if (machine->cache_bytes[i] == 0)
            continue;
        printf("%s%s %s", comma, names[i], text_of_bytes(machine->cache_bytes[i]));
        comma = ", ";
    }
    printf("%s\n", comma[0] == '\0' ? "unknown" : "");
}

static void print_fast(const char *title, const unet_machine_info *machine,
                       const char *const fast[MOST_FAST])
{
    const char *feature = fast_feature(machine->usable_features, fast);
    printf("%s  %s%s\n", title, feature != NULL ? "yes, by " : "no",
           feature != NULL ? feature : "");
}

static unet_status print_text(const unet_machine_info *machine, unet_error *error)
{
    printf("unet       %s\n", unet_version());
    printf("cpu        %s\n", machine->cpu);
    printf("features   %s\n", machine->features);
    printf("tier       %s", machine->tier);
    if (machine->tier_limit != NULL)
        printf(" (UNET_CPU=%s)", machine->tier_limit);
    putchar('\n');
    print_threads(machine);
    printf("memory     %s\n", text_of_bytes(machine->memory_bytes));
    print_caches(machine);
    print_fast("fast BF16", machine, fast_bf16);
    print_fast("fast INT8", machine, fast_int8);
    printf("kernels\n");
    unet_status status = kernels_print(KERNELS_OF_CPU, error);
    return status == UNET_OK ? devices_print(error) : status;
}

/* ---------------------------------------------------------------- JSON */

static json_t *words_json(const char *words)
{
    json_t *array = json_array();
    while (*words != '\0') {
        size_t length = strcspn(words, " ");
        if (length > 0)
            json_array_append_new(array, json_stringn(words, length));
        words += length + (words[length] == ' ');
    }
    return array;
}

static unet_status print_json(const unet_machine_info *machine, unet_error *error)
{
    json_t *object = json_object(), *caches = json_array();
    for (int i = 0; i < 3; i++)
        json_array_append_new(caches, json_integer((json_int_t)machine->cache_bytes[i]));
    json_put_text(object, "version", unet_version());
    json_put_text(object, "cpu", machine->cpu);
    json_put(object, "features", words_json(machine->features));
    json_put_text(object, "tier", machine->tier);
    json_put_text(object, "tier_limit", machine->tier_limit);
    json_put_integer(object, "hardware_threads", machine->hardware_threads);
    json_put_integer(object, "usable_threads", machine->usable_threads);
    json_put(object, "cgroup_cpus",
             machine->cgroup_cpus > 0 ? json_real(machine->cgroup_cpus) : NULL);
    json_put_integer(object, "memory_bytes", (int64_t)machine->memory_bytes);
    json_put(object, "cache_bytes", caches);
    json_put(object, "usable_features", words_json(machine->usable_features));
    json_put_text(object, "fast_bf16", fast_feature(machine->usable_features, fast_bf16));
    json_put_text(object, "fast_int8", fast_feature(machine->usable_features, fast_int8));
    unet_status status = kernels_put_json(object, KERNELS_OF_CPU, error);
    if (status == UNET_OK)
        status = devices_put_json(object, error);
    if (status == UNET_OK)
        json_print(object);
    else
        json_decref(object);
    return status;
}

/* ---------------------------------------------------------------- the verb */

const struct command doctor_command = {
    .name = "doctor",
    .operands = "[options]",
    .brief = "",
    .summary = "show what this machine can run",
    .details =
        "Prints the processor, what this process may use of it, and which kernels run here;\n"
        "for the others, why they do not; then the same of each GPU. The environment variable\n"
        "UNET_CPU (c, avx2, avx512, avx512_vnni, avx512_bf16) holds the program to lower\n"
        "instructions, UNET_CUDA_LIBRARY names the file that runs networks on GPUs.",
    .examples = "  unet doctor\n"
                "  UNET_CPU=avx2 unet doctor --json\n",
    .min_operands = 0,
    .max_operands = 0,
};

int verb_doctor(int argc, char **argv)
{
    struct doctor_settings settings = {false};
    const struct option_spec specs[] = {{'\0', "json", NULL, "print one JSON object", NULL,
                                         offsetof(struct doctor_settings, json)}};
    struct option_group groups[] = {OPTION_GROUP(specs, &settings)};
    struct operands operands;
    int exit_code;
    if (!arguments_read(&doctor_command, groups, 1, argc, argv, &operands, &exit_code))
        return exit_code;
    unet_machine_info machine = {.size = sizeof machine};
    unet_error error;
    unet_status status = unet_machine_get_info(&machine, &error);
    if (status == UNET_OK)
        status = settings.json ? print_json(&machine, &error) : print_text(&machine, &error);
    return status == UNET_OK ? EXIT_DONE : report_error(&error);
}
