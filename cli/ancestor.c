/* unet -s and unet -d, as the ancestor of this program had them: fixed names in the working
 * directory. */
#include "build.h"
#include "cli.h"
#include "message.h"
#include "predict.h"

#include <string.h>
#include <unistd.h>

#define ENGINE_NAME "unet.engine"
#define TABLE_NAME  "unet_int8calib.table"

const struct command serialize_command = {
    .name = "-s",
    .operands = "[MODEL] [options]",
    .brief = "[MODEL]",
    .summary = "build ./" ENGINE_NAME " of ./unet.wts or ./unet.pth",
    .details =
        "Builds ./" ENGINE_NAME " from MODEL; without one from ./unet.wts, else ./unet.pth. The\n"
        "calibration table of int8 and fp8 is ./" TABLE_NAME ".",
    .examples = "  unet -s\n"
                "  unet -s checkpoint.pth --size 640x480\n",
    .min_operands = 0,
    .max_operands = 1,
};

static const char *default_model(void)
{
    static const char *const names[] = {"unet.wts", "unet.pth"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (access(names[i], F_OK) == 0)
            return names[i];
    return NULL;
}

int verb_serialize(int argc, char **argv)
{
    struct build_settings settings = {0};
    struct option_group groups[] = {build_settings_group(&settings),
                                    calibration_group(&settings.calibration),
                                    budget_group(&settings.budget)};
    struct operands operands;
    int exit_code;
    if (!arguments_read(&serialize_command, groups, 3, argc, argv, &operands, &exit_code))
        return exit_code;
    const char *model = operands.count == 1 ? operands.items[0] : default_model();
    if (model == NULL) {
        message_error("neither unet.wts nor unet.pth is in this folder; name the model: unet -s "
                      "MODEL");
        return EXIT_MODEL;
    }
    if (is_8bit(settings.precision) && settings.calibration.table == NULL)
        settings.calibration.table = TABLE_NAME;
    return build_engine_file(model, ENGINE_NAME, &settings);
}

const struct command deserialize_command = {
    .name = "-d",
    .operands = "[ENGINE] IMAGE|FOLDER... [options]",
    .brief = "[ENGINE] IMAGE|FOLDER...",
    .summary = "segment into this folder with ./" ENGINE_NAME,
    .details =
        "Segments images into the working directory. The argument that is an engine file is\n"
        "the engine; without one it is ./" ENGINE_NAME ".",
    .examples = "  unet -d samples/\n"
                "  unet -d cells.engine photo.jpg --save overlay\n",
    .min_operands = 1,
    .max_operands = -1,
};

/* Takes the engine out of the operands, wherever it stands. False if there are two. */
static bool take_engine(struct operands *operands, const char **engine)
{
    int kept = 0;
    *engine = NULL;
    for (int i = 0; i < operands->count; i++) {
        char *item = operands->items[i];
        if (!unet_is_engine_file(item)) {
            operands->items[kept++] = item;
        } else if (*engine == NULL) {
            *engine = item;
        } else {
            message_error("both %s and %s are engines; name one", *engine, item);
            return false;
        }
    }
    operands->count = kept;
    return true;
}

static bool check_deserialize(const struct operands *operands, const char **engine)
{
    if (operands->count == 0) {
        message_error("no image is named; usage: unet -d %s", deserialize_command.operands);
        return false;
    }
    if (*engine == NULL)
        *engine = ENGINE_NAME;
    return true;
}

int verb_deserialize(int argc, char **argv)
{
    struct predict_settings settings = {.outputs = {.folder = "."}};
    struct option_group groups[] = {save_group(&settings.outputs),
                                    run_settings_group(&settings.run)};
    struct operands operands;
    const char *engine;
    int exit_code;
    if (!arguments_read(&deserialize_command, groups, 2, argc, argv, &operands, &exit_code))
        return exit_code;
    if (!take_engine(&operands, &engine) || !check_deserialize(&operands, &engine))
        return EXIT_USAGE;
    if (access(engine, F_OK) != 0) {
        message_error("%s is not in this folder; build it with 'unet -s', or name an engine",
                      engine);
        return EXIT_MODEL;
    }
    return predict_arguments(engine, operands.items, operands.count, &settings);
}
