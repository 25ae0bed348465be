#include "build/keep.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"

#define NAME_BYTES 128 /* what is compared of a name */
#define NAMED      6   /* layers that a refusal lists */

const char *precision_name(enum graph_type type)
{
    static const char *const names[GRAPH_TYPE_COUNT] = {[GRAPH_F32] = "fp32",
                                                        [GRAPH_F16] = "fp16",
                                                        [GRAPH_BF16] = "bf16",
                                                        [GRAPH_U8] = "int8",
                                                        [GRAPH_E4M3] = "fp8"};
    return names[type];
}

/* ---------------------------------------------------------------- names */

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance. */
static int distance(const char *a, const char *b)
{
    int row[NAME_BYTES + 1], length = (int)strnlen(b, NAME_BYTES);
    for (int j = 0; j <= length; j++)
        row[j] = j;
    for (int i = 0; a[i] != '\0' && i < NAME_BYTES; i++) {
        int diagonal = row[0];
        row[0] = i + 1;
        for (int j = 0; j < length; j++) {
            int replaced = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = least(replaced, 1 + least(row[j], row[j + 1]));
        }
    }
    return row[length];
}

static int nearest(const struct layer_costs *costs, const char *name)
{
    int best = 0;
    for (int l = 1; l < costs->count; l++)
        if (distance(name, costs->layers[l].name) < distance(name, costs->layers[best].name))
            best = l;
    return best;
}

static unet_status refuse_name(const struct layer_costs *costs, const char *name, unet_error *error)
{
    char list[512] = "";
    int near = costs->count > 0 ? nearest(costs, name) : -1;
    if (near >= 0 && distance(name, costs->layers[near].name) <= 1 + (int)strlen(name) / 4)
        return error_set(error, UNET_ERROR_USAGE,
                         "keep: there is no layer '%s'; did you mean '%s'?", name,
                         costs->layers[near].name);
    for (int l = 0; l < costs->count && l < NAMED; l++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", l > 0 ? ", " : "", costs->layers[l].name);
    }
    return error_set(error, UNET_ERROR_USAGE,
                     "keep: there is no layer '%s'; its %d layers are %s%s", name, costs->count,
                     list, costs->count > NAMED ? ", …" : "");
}

/* ---------------------------------------------------------------- one entry */

static unet_status find_type(const unet_keep *keep, enum graph_type *type, unet_error *error)
{
    switch (keep->precision) {
    case UNET_PRECISION_FP32:
        *type = GRAPH_F32;
        return UNET_OK;
    case UNET_PRECISION_BF16:
        *type = GRAPH_BF16;
        return UNET_OK;
    case UNET_PRECISION_FP16:
        *type = GRAPH_F16;
        return UNET_OK;
    case UNET_PRECISION_INT8:
        *type = GRAPH_U8;
        return UNET_OK;
    case UNET_PRECISION_FP8:
        *type = GRAPH_E4M3;
        return UNET_OK;
    default:
        return error_set(error, UNET_ERROR_USAGE,
                         "keep: layer %s: give fp32, bf16, int8, or on a GPU fp16 or fp8",
                         keep->layer);
    }
}

/* A machine may have both types of 8 bits, an engine has one. */
static unet_status check_type(const unet_keep *keep, enum graph_type type, enum graph_type narrow,
                              const bool available[GRAPH_TYPE_COUNT], unet_error *error)
{
    if (graph_is_8bit(type) && type != narrow)
        return error_set(
            error, UNET_ERROR_USAGE,
            "keep: layer %s: no layer of this build can be %s; give %s, or a wider one",
            keep->layer, precision_name(type), precision_name(narrow));
    if (!available[type])
        return error_set(error, UNET_ERROR_DEVICE,
                         "keep: layer %s: no instructions here gain by %s", keep->layer,
                         precision_name(type));
    return UNET_OK;
}

static unet_status keep_one(const unet_keep *keep, const struct layer_costs *costs,
                            enum graph_type narrow, const bool available[GRAPH_TYPE_COUNT],
                            struct kept *kept, unet_error *error)
{
    enum graph_type type;
    int found = -1;
    for (int l = 0; l < costs->count && keep->layer != NULL; l++)
        if (strcmp(costs->layers[l].name, keep->layer) == 0)
            found = l;
    if (found < 0)
        return refuse_name(costs, keep->layer != NULL ? keep->layer : "", error);
    TRY(find_type(keep, &type, error));
    TRY(check_type(keep, type, narrow, available, error));
    if (costs->layers[found].fixed && type != GRAPH_F32)
        return error_set(error, UNET_ERROR_USAGE,
                         "keep: layer %s reads the network's input, which is float32; leave it out",
                         keep->layer);
    if (kept->types[found] != GRAPH_TYPE_COUNT)
        return error_set(error, UNET_ERROR_USAGE, "keep: layer %s is named twice", keep->layer);
    kept->types[found] = type;
    return UNET_OK;
}

unet_status keep_find(const unet_build_options *options, const struct layer_costs *costs,
                      enum graph_type narrow, const bool available[GRAPH_TYPE_COUNT],
                      struct kept *kept, unet_error *error)
{
    size_t count = (size_t)costs->count;
    kept->types = memory_alloc_array(count, sizeof *kept->types);
    if (kept->types == NULL)
        return error_memory(error, count * sizeof *kept->types, "layers");
    for (size_t l = 0; l < count; l++)
        kept->types[l] = GRAPH_TYPE_COUNT;
    for (size_t i = 0; i < options->keep_count; i++)
        TRY(keep_one(&options->keep[i], costs, narrow, available, kept, error));
    return UNET_OK;
}

void keep_clear(struct kept *kept)
{
    memory_free(kept->types);
    *kept = (struct kept){0};
}
