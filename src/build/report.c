#include "build/report.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/options.h"

unet_status report_create(size_t layers, unet_build_report **report, unet_error *error)
{
    unet_build_report *made = memory_calloc(1, sizeof *made);
    if (made == NULL)
        return error_memory(error, sizeof *made, "a report");
    made->info.layer_count = layers;
    made->layers = arena_alloc_array(&made->arena, layers, sizeof *made->layers);
    if (made->layers == NULL) {
        unet_build_report_close(&made);
        return error_memory(error, layers * sizeof *made->layers, "a report");
    }
    *report = made;
    return UNET_OK;
}

void unet_build_report_close(unet_build_report **address)
{
    unet_build_report *report = address != NULL ? *address : NULL;
    if (report == NULL)
        return;
    *address = NULL;
    arena_clear(&report->arena);
    memory_free(report);
}

unet_status unet_build_report_get_info(const unet_build_report *report,
                                       unet_build_report_info *info, unet_error *error)
{
    if (report == NULL || info == NULL)
        return error_set(error, UNET_ERROR_USAGE,
                         "unet_build_report_get_info needs a report and info");
    return options_write(info, &report->info, sizeof report->info, "unet_build_report_info", error);
}

unet_status unet_build_report_get_layer(const unet_build_report *report, size_t index,
                                        unet_layer_report *layer, unet_error *error)
{
    if (report == NULL || layer == NULL || index >= report->info.layer_count)
        return error_set(
            error, UNET_ERROR_USAGE,
            "unet_build_report_get_layer needs a report, one of its layers and a place "
            "for it");
    return options_write(layer, &report->layers[index], sizeof *report->layers, "unet_layer_report",
                         error);
}

/* ---------------------------------------------------------------- JSON */

/* A failed json_…() yields NULL, which json_object_set_new refuses: `failed` remembers. */
struct object {
    json_t *json;
    bool failed;
};

static void put(struct object *object, const char *key, json_t *value)
{
    object->failed = json_object_set_new(object->json, key, value) != 0 || object->failed;
}

static void put_number(struct object *object, const char *key, double value)
{
    put(object, key, isfinite(value) ? json_real(value) : json_null());
}

static json_t *layer_json(const unet_layer_report *layer, bool *failed)
{
    struct object object = {json_object(), false};
    put(&object, "name", json_string(layer->name));
    put(&object, "precision", json_string(layer->precision));
    put(&object, "kernel", json_string(layer->kernel));
    put_number(&object, "scale", layer->range);
    put_number(&object, "ms", layer->milliseconds);
    put_number(&object, "ms_saved", layer->milliseconds_saved);
    put_number(&object, "flips_percent", layer->flips);
    *failed = *failed || object.failed;
    return object.json;
}

static void put_facts(struct object *object, const unet_build_report_info *info)
{
    put(object, "precision", json_string(info->precision));
    put(object, "instructions", json_string(info->instructions));
    put(object, "calibration_images", json_integer((json_int_t)info->calibration_images));
    put(object, "judged_images", json_integer((json_int_t)info->judged_images));
    put(object, "method", json_string(info->method));
    put_number(object, "share", info->share);
    put_number(object, "max_flips_percent", info->max_flips);
    put_number(object, "flips_percent", info->flips);
    put_number(object, "worst_image_flips_percent", info->worst_image_flips);
    put_number(object, "least_iou", info->least_iou);
    put_number(object, "ms", info->milliseconds);
    put(object, "wider_precision", json_string(info->wider));
    put_number(object, "wider_ms", info->wider_milliseconds);
    put(object, "evaluations", json_integer(info->evaluations));
}

static char *report_text(const unet_build_report *report)
{
    struct object object = {json_object(), false};
    json_t *layers = json_array();
    put_facts(&object, &report->info);
    for (size_t i = 0; i < report->info.layer_count; i++)
        object.failed =
            json_array_append_new(layers, layer_json(&report->layers[i], &object.failed)) != 0 ||
            object.failed;
    put(&object, "layers", layers);
    char *text =
        object.failed ? NULL : json_dumps(object.json, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(object.json);
    return text;
}

unet_status unet_build_report_save(const unet_build_report *report, const char *path,
                                   unet_error *error)
{
    if (report == NULL || path == NULL)
        return error_set(error, UNET_ERROR_USAGE,
                         "unet_build_report_save needs a report and a path");
    char *text = report_text(report);
    if (text == NULL)
        return error_memory(error, 1 << 16, "a report");
    unet_status status = file_write_whole(path, text, strlen(text), error);
    free(text); /* jansson's */
    return status;
}
