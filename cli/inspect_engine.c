#include "inspect.h"

#include "json.h"
#include "message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct opened {
    const char *path;
    unet_engine *engine;
    unet_engine_info info;
    unet_layer_info *layers;
    bool verified;
};

/* ---------------------------------------------------------------- preprocessing in words */

static int mean_channels(const unet_engine_info *info)
{
    return info->in_channels < UNET_MAX_MEAN_CHANNELS ? info->in_channels : UNET_MAX_MEAN_CHANNELS;
}

static const char *normalize_name(unet_normalize normalize)
{
    switch (normalize) {
    case UNET_NORMALIZE_255:
        return "255";
    case UNET_NORMALIZE_ZSCORE:
        return "zscore";
    case UNET_NORMALIZE_MEAN_STD:
        return "mean_std";
    case UNET_NORMALIZE_DEFAULT:
        break;
    }
    return "default";
}

static void print_list(const char *name, const float *values, int count)
{
    printf("%s", name);
    for (int i = 0; i < count; i++)
        printf("%s%g", i > 0 ? "," : "", (double)values[i]);
}

static void print_preprocess(const unet_engine_info *info)
{
    const unet_preprocess *preprocess = &info->preprocess;
    printf("normalize    ");
    if (preprocess->normalize == UNET_NORMALIZE_MEAN_STD) {
        print_list("mean=", preprocess->mean, mean_channels(info));
        print_list(",std=", preprocess->std, mean_channels(info));
        putchar('\n');
    } else {
        printf("%s\n", normalize_name(preprocess->normalize));
    }
    printf("scale        %g\n", preprocess->scale == 0 ? 1.0 : preprocess->scale);
}

/* ---------------------------------------------------------------- text */

static int widest(const struct opened *opened, size_t member)
{
    size_t most = 6;
    for (size_t i = 0; i < opened->info.layer_count; i++) {
        const char *text = *(const char *const *)((const char *)&opened->layers[i] + member);
        most = strlen(text) > most ? strlen(text) : most;
    }
    return (int)most;
}

static void print_layers(const struct opened *opened)
{
    int names = widest(opened, offsetof(unet_layer_info, name));
    int ops = widest(opened, offsetof(unet_layer_info, op));
    int kernels = widest(opened, offsetof(unet_layer_info, kernel));
    int fused = widest(opened, offsetof(unet_layer_info, fused));
    printf("\n%-*s  %-*s  %11s  %-*s  %-*s  %10s\n", names, "layer", ops, "op", "channels", kernels,
           "kernel", fused, "fused", "weights");
    for (size_t i = 0; i < opened->info.layer_count; i++) {
        const unet_layer_info *layer = &opened->layers[i];
        char channels[32];
        snprintf(channels, sizeof channels, "%d > %d", layer->in_channels, layer->out_channels);
        printf("%-*s  %-*s  %11s  %-*s  %-*s  %10s\n", names, layer->name, ops, layer->op, channels,
               kernels, layer->kernel, fused, layer->fused, text_of_bytes(layer->weight_bytes));
    }
}

static void print_text(const struct opened *opened)
{
    const unet_engine_info *info = &opened->info;
    printf("file         %s\n", opened->path);
    printf("format       engine, version %d, %s\n", info->format_version,
           text_of_bytes(info->file_bytes));
    printf("network      %s, %d channel%s in, %d class%s\n", info->architecture, info->in_channels,
           info->in_channels == 1 ? "" : "s", info->classes, info->classes == 1 ? "" : "es");
    printf("parameters   %s\n", text_of_count(info->parameter_count));
    bool differs = strcmp(info->precision, info->built_precision) != 0;
    printf("precision    %s%s%s\n", info->precision, differs ? " here, built in " : "",
           differs ? info->built_precision : "");
    printf("built for    %s, %dx%d%s\n", info->built_for, info->tuned_width, info->tuned_height,
           info->repacked ? " (packed anew in memory for this machine)" : "");
    printf("runs on      %s%s%s\n", info->device, info->device_name[0] != '\0' ? ", " : "",
           info->device_name);
    print_preprocess(info);
    if (info->mask_value_count > 0)
        printf("mask values  %s\n", text_of_mask_values(info->mask_values, info->mask_value_count,
                                                        info->mask_value_channels));
    if (opened->verified)
        printf("verified     every section is intact\n");
    print_layers(opened);
}

/* ---------------------------------------------------------------- JSON */

static json_t *floats_json(const float *values, int count)
{
    json_t *array = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(array, json_real((double)values[i]));
    return array;
}

static json_t *preprocess_json(const unet_engine_info *info)
{
    const unet_preprocess *preprocess = &info->preprocess;
    json_t *object = json_object();
    json_put_text(object, "normalize", normalize_name(preprocess->normalize));
    if (preprocess->normalize == UNET_NORMALIZE_MEAN_STD) {
        json_put(object, "mean", floats_json(preprocess->mean, mean_channels(info)));
        json_put(object, "std", floats_json(preprocess->std, mean_channels(info)));
    }
    json_put_number(object, "scale", preprocess->scale == 0 ? 1.0 : preprocess->scale);
    return object;
}

static json_t *layer_json(const unet_layer_info *layer)
{
    json_t *object = json_object();
    json_put_text(object, "name", layer->name);
    json_put_text(object, "op", layer->op);
    json_put_text(object, "fused", layer->fused);
    json_put_text(object, "kernel", layer->kernel);
    json_put_text(object, "type", layer->type);
    json_put_integer(object, "in_channels", layer->in_channels);
    json_put_integer(object, "out_channels", layer->out_channels);
    json_put_integer(object, "weight_bytes", (int64_t)layer->weight_bytes);
    return object;
}

static void put_facts(json_t *object, const unet_engine_info *info)
{
    json_put_integer(object, "format_version", info->format_version);
    json_put_integer(object, "bytes", (int64_t)info->file_bytes);
    json_put_text(object, "architecture", info->architecture);
    json_put_integer(object, "in_channels", info->in_channels);
    json_put_integer(object, "classes", info->classes);
    json_put_integer(object, "parameter_count", info->parameter_count);
    json_put_text(object, "precision", info->precision);
    json_put_text(object, "built_precision", info->built_precision);
    json_put_text(object, "device", info->device);
    json_put_text(object, "device_name", info->device_name);
    json_put_text(object, "built_for", info->built_for);
    json_put_bool(object, "repacked", info->repacked);
    json_put_integer(object, "tuned_width", info->tuned_width);
    json_put_integer(object, "tuned_height", info->tuned_height);
    json_put(object, "preprocess", preprocess_json(info));
    json_put(
        object, "mask_values",
        json_of_mask_values(info->mask_values, info->mask_value_count, info->mask_value_channels));
}

static void print_json(const struct opened *opened)
{
    json_t *object = json_object(), *layers = json_array();
    json_put_text(object, "file", opened->path);
    json_put_text(object, "format", "engine");
    put_facts(object, &opened->info);
    if (opened->verified)
        json_put_bool(object, "verified", true);
    for (size_t i = 0; i < opened->info.layer_count; i++)
        json_array_append_new(layers, layer_json(&opened->layers[i]));
    json_put(object, "layers", layers);
    json_print(object);
}

/* ---------------------------------------------------------------- */

static unet_status read_layers(struct opened *opened, unet_error *error)
{
    unet_status status = UNET_OK;
    opened->layers = must_allocate(opened->info.layer_count * sizeof *opened->layers);
    for (size_t i = 0; i < opened->info.layer_count && status == UNET_OK; i++) {
        opened->layers[i].size = sizeof opened->layers[i];
        status = unet_engine_get_layer(opened->engine, i, &opened->layers[i], error);
    }
    return status;
}

unet_status inspect_engine(const char *path, const char *device, bool json, bool verify,
                           unet_error *error)
{
    unet_engine_options options = UNET_ENGINE_OPTIONS_INIT;
    options.device = device;
    struct opened opened = {.path = path, .info = {.size = sizeof opened.info}};
    unet_status status = unet_engine_open(path, &options, &opened.engine, error);
    if (status == UNET_OK && verify) {
        status = fail_about(path, unet_engine_verify(opened.engine, error), error);
        opened.verified = status == UNET_OK;
    }
    if (status == UNET_OK)
        status = unet_engine_get_info(opened.engine, &opened.info, error);
    if (status == UNET_OK)
        status = read_layers(&opened, error);
    if (status == UNET_OK && json)
        print_json(&opened);
    else if (status == UNET_OK)
        print_text(&opened);
    free(opened.layers);
    unet_engine_close(&opened.engine);
    return status;
}
