#include "cli.h"
#include "message.h"
#include "segmenter.h"
#include "signals.h"

#include <string.h>
#include <strings.h>

const struct command convert_command = {
    .name = "convert",
    .operands = "MODEL -o OUT",
    .brief = "MODEL -o OUT.wts|.safetensors",
    .summary = "rewrite a checkpoint",
    .details = "Writes the tensors of a .pth, .wts or .safetensors as .wts (float32 in text, as\n"
               "gen_wts.py writes it) or .safetensors; the name of OUT decides.",
    .examples = "  unet convert checkpoint.pth -o unet.wts\n"
                "  unet convert unet.wts -o unet.safetensors\n",
    .min_operands = 1,
    .max_operands = 1,
};

static int convert(const char *from, const char *to)
{
    unet_error error;
    unet_model *model = NULL;
    unet_model_info info = {.size = sizeof info};
    unet_status status = checkpoint_open(from, &model, &error);
    if (status == UNET_OK)
        status = unet_model_get_info(model, &info, &error);
    if (status == UNET_OK) {
        signals_hold();
        status = unet_model_save(model, to, &error);
        signals_release();
    }
    if (status == UNET_OK)
        message("%s: %zu tensors, %s parameters", to, info.tensor_count,
                text_of_count(info.parameter_count));
    unet_model_close(&model);
    return status == UNET_OK ? EXIT_DONE : report_error(&error);
}

static bool ends_in(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length > end_length && strcasecmp(text + length - end_length, end) == 0;
}

int verb_convert(int argc, char **argv)
{
    const char *out = NULL;
    const struct option_spec specs[] = {
        {'o', "out", "OUT", "the file to write: NAME.wts or NAME.safetensors", read_text, 0}};
    struct option_group groups[] = {OPTION_GROUP(specs, &out)};
    struct operands operands;
    int exit_code;
    if (!arguments_read(&convert_command, groups, 1, argc, argv, &operands, &exit_code))
        return exit_code;
    if (out == NULL)
        return require_out(&convert_command);
    if (!ends_in(out, ".wts") && !ends_in(out, ".safetensors")) {
        message_error("cannot write %s: the name must end in .wts or .safetensors", out);
        return EXIT_USAGE;
    }
    if (is_same_file(operands.items[0], out)) {
        message_error("%s would overwrite its own input; give the output another name", out);
        return EXIT_USAGE;
    }
    return convert(operands.items[0], out);
}
