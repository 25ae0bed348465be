#include "outputs.h"

#include "message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name, *suffix;
} saves[SAVE_COUNT] = {
    [SAVE_MASK] = {"mask", ".png"},
    [SAVE_COLOR] = {"color", ".color.png"},
    [SAVE_OVERLAY] = {"overlay", ".overlay.png"},
    [SAVE_VALUES] = {"values", ".values.png"},
    [SAVE_PROB] = {"prob", ".prob.npy"},
    [SAVE_LOGITS] = {"logits", ".logits.npy"},
    [SAVE_FLIPS] = {"flips", ".flips.png"},
};

const char *save_name(enum save save)
{
    return saves[save].name;
}

char *output_path(const struct outputs *outputs, const struct input *input, enum save save)
{
    size_t length = strlen(outputs->folder);
    bool ends_in_slash = length > 0 && outputs->folder[length - 1] == '/';
    return must_format("%s%s%s%s", outputs->folder, ends_in_slash ? "" : "/", input->name,
                       saves[save].suffix);
}

/* ---------------------------------------------------------------- one file, one writer */

struct planned {
    char *path;
    const struct input *input;
};

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct planned *)a)->path, ((const struct planned *)b)->path);
}

struct identity {
    dev_t device;
    ino_t inode;
    const struct input *input;
};

static int by_identity(const void *a, const void *b)
{
    const struct identity *x = a, *y = b;
    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static unet_status fail_duplicate(const struct planned *a, const struct planned *b,
                                  unet_error *error)
{
    if (strcmp(a->input->path, b->input->path) == 0)
        return fail_with(error, UNET_ERROR_USAGE, "%s is given twice; name it once",
                         a->input->kind == INPUT_STDIN ? "standard input" : a->input->path);
    if (is_same_file(a->input->path, b->input->path))
        return fail_with(error, UNET_ERROR_USAGE, "%s and %s are one file; name it once",
                         a->input->path, b->input->path);
    return fail_with(error, UNET_ERROR_USAGE,
                     "%s and %s would both write %s; run them apart with an -o each",
                     a->input->path, b->input->path, a->path);
}

static unet_status check_duplicates(const struct planned *plan, size_t count, unet_error *error)
{
    for (size_t i = 1; i < count; i++) {
        if (strcmp(plan[i - 1].path, plan[i].path) == 0)
            return fail_duplicate(&plan[i - 1], &plan[i], error);
    }
    return UNET_OK;
}

/* A mask of cat.png in cat.png's own folder is called cat.png. */
static unet_status check_overwriting(const struct planned *plan, size_t plan_count,
                                     const struct input_list *inputs, unet_error *error)
{
    struct identity *all = must_allocate(inputs->count * sizeof *all);
    struct stat facts;
    unet_status status = UNET_OK;
    size_t count = 0;
    for (size_t i = 0; i < inputs->count; i++)
        if (stat(inputs->items[i].path, &facts) == 0)
            all[count++] = (struct identity){facts.st_dev, facts.st_ino, &inputs->items[i]};
    qsort(all, count, sizeof *all, by_identity);
    for (size_t i = 0; i < plan_count && status == UNET_OK; i++) {
        if (stat(plan[i].path, &facts) != 0)
            continue;
        struct identity key = {facts.st_dev, facts.st_ino, NULL};
        struct identity *hit = bsearch(&key, all, count, sizeof *all, by_identity);
        if (hit != NULL)
            status =
                fail_with(error, UNET_ERROR_USAGE,
                          "the result of %s would overwrite the input %s; choose another folder "
                          "for the results",
                          plan[i].input->path, hit->input->path);
    }
    free(all);
    return status;
}

static size_t make_plan(const struct outputs *outputs, const struct input_list *inputs,
                        struct planned *plan)
{
    size_t count = 0;
    for (size_t i = 0; i < inputs->count; i++)
        for (enum save save = 0; save < SAVE_COUNT; save++)
            if (outputs_has(outputs, save))
                plan[count++] = (struct planned){output_path(outputs, &inputs->items[i], save),
                                                 &inputs->items[i]};
    qsort(plan, count, sizeof *plan, by_path);
    return count;
}

/* ---------------------------------------------------------------- folders */

/* The nearest folder that exists must let us write: found out before the work, not after it. */
static unet_status check_folder(const char *folder, unet_error *error)
{
    char *path = must_format("%s", folder);
    struct stat facts;
    while (stat(path, &facts) != 0 && errno == ENOENT) {
        char *slash = strrchr(path, '/');
        if (slash == NULL)
            strcpy(path, "."); /* a folder has at least one letter */
        else if (slash == path)
            path[1] = '\0';
        else
            *slash = '\0';
    }
    unet_status status = UNET_OK;
    if (stat(path, &facts) != 0)
        status =
            fail_with(error, UNET_ERROR_OUTPUT, "cannot write to %s: %s; choose another folder",
                      folder, strerror(errno));
    else if (!S_ISDIR(facts.st_mode))
        status = fail_with(error, UNET_ERROR_OUTPUT,
                           "cannot write to %s: %s is not a folder; choose another folder", folder,
                           path);
    else if (access(path, W_OK | X_OK) != 0)
        status = fail_with(error, UNET_ERROR_OUTPUT,
                           "cannot write to the folder %s: %s; choose another folder", folder,
                           strerror(errno));
    free(path);
    return status;
}

unet_status outputs_check(const struct outputs *outputs, const struct input_list *inputs,
                          unet_error *error)
{
    struct planned *plan = must_allocate(inputs->count * SAVE_COUNT * sizeof *plan);
    size_t count = make_plan(outputs, inputs, plan);
    unet_status status = check_duplicates(plan, count, error);
    if (status == UNET_OK)
        status = check_overwriting(plan, count, inputs, error);
    if (status == UNET_OK)
        status = check_folder(outputs->folder, error);
    for (size_t i = 0; i < count; i++)
        free(plan[i].path);
    free(plan);
    return status;
}

unet_status output_make_folders(const char *path, unet_error *error)
{
    char *folder = must_format("%s", path);
    unet_status status = UNET_OK;
    for (char *slash = strchr(folder + 1, '/'); slash != NULL && status == UNET_OK;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(folder, 0777) != 0 && !is_folder(folder))
            status = fail_with(error, UNET_ERROR_OUTPUT, "cannot make the folder %s: %s", folder,
                               strerror(errno));
        *slash = '/';
    }
    free(folder);
    return status;
}
