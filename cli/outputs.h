/* Where the results of each input go, and what must be true before work starts. */
#ifndef UNET_CLI_OUTPUTS_H
#define UNET_CLI_OUTPUTS_H

#include "inputs.h"

#include <unet.h>

enum save {
    SAVE_MASK,
    SAVE_COLOR,
    SAVE_OVERLAY,
    SAVE_VALUES,
    SAVE_PROB,
    SAVE_LOGITS,
    SAVE_PREDICT_COUNT, /* those above are predict's --save */
    SAVE_FLIPS = SAVE_PREDICT_COUNT,
    SAVE_COUNT
};

struct outputs {
    const char *folder; /* "." by default */
    unsigned saves;     /* bits 1 << SAVE_… */
};

static inline bool outputs_has(const struct outputs *outputs, enum save save)
{
    return (outputs->saves >> save & 1) != 0;
}

/* "mask", "color", … */
const char *save_name(enum save save);

/* FOLDER/NAME.color.png; the caller frees it. */
char *output_path(const struct outputs *outputs, const struct input *input, enum save save);

/* USAGE if two inputs would write the same file, or one would overwrite an input. OUTPUT if the
 * folder is not one or cannot be written to. Creates nothing. */
unet_status outputs_check(const struct outputs *outputs, const struct input_list *inputs,
                          unet_error *error);

/* Creates the folders that an output path needs. */
unet_status output_make_folders(const char *path, unet_error *error);

#endif
