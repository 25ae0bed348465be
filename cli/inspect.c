#include "inspect.h"

#include "cli.h"
#include "message.h"

#include <stdio.h>
#include <string.h>

const struct command inspect_command = {
    .name = "inspect",
    .operands = "FILE [options]",
    .brief = "FILE",
    .summary = "show what a checkpoint or an engine holds",
    .details =
        "Prints the network and the tensors of a .pth, .wts or .safetensors, or the facts and\n"
        "layers of an engine.",
    .examples = "  unet inspect checkpoint.pth\n"
                "  unet inspect membrane.engine --verify\n"
                "  unet inspect membrane.engine --json\n",
    .min_operands = 1,
    .max_operands = 1,
};

struct inspect_settings {
    bool verify, json;
    const char *device;
};

static const struct option_spec inspect_specs[] = {
    {'\0', "verify", NULL, "check every checksum of the file, used or not", NULL,
     offsetof(struct inspect_settings, verify)},
    {'\0', "json", NULL, "print one JSON object", NULL, offsetof(struct inspect_settings, json)},
    {'\0', "device", "D",
     "of an engine: show the kernels that run it there; default: as\nit was built", read_device,
     offsetof(struct inspect_settings, device)},
};

static unet_status inspect(const char *path, const struct inspect_settings *settings,
                           unet_error *error)
{
    if (unet_is_engine_file(path))
        return inspect_engine(path, settings->device, settings->json, settings->verify, error);
    if (settings->device != NULL)
        return fail_with(error, UNET_ERROR_USAGE, "--device is for engines; %s is none", path);
    return inspect_model(path, settings->json, settings->verify, error);
}

int verb_inspect(int argc, char **argv)
{
    struct inspect_settings settings = {false, false, NULL};
    struct option_group groups[] = {OPTION_GROUP(inspect_specs, &settings)};
    struct operands operands;
    int exit_code;
    if (!arguments_read(&inspect_command, groups, 1, argc, argv, &operands, &exit_code))
        return exit_code;
    unet_error error;
    unet_status status = inspect(operands.items[0], &settings, &error);
    return status == UNET_OK ? EXIT_DONE : report_error(&error);
}
