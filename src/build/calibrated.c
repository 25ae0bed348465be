#include "build/calibrated.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/memory.h"
#include "quant/table.h"

#define KEY_BYTES 1200

bool calibrated_has_table(const unet_build_options *options)
{
    return options->calibration_table != NULL && access(options->calibration_table, F_OK) == 0;
}

void calibrated_clear(struct calibrated *calibrated)
{
    for (int m = 0; m < QUANT_METHOD_COUNT; m++)
        quant_ranges_clear(&calibrated->methods[m]);
    memory_free(calibrated->types);
    *calibrated = (struct calibrated){0};
}

/* ---------------------------------------------------------------- images */

static bool wanted(unet_calibration method, enum quant_method candidate)
{
    static const unet_calibration of[QUANT_METHOD_COUNT] = {
        [QUANT_ENTROPY] = UNET_CALIBRATION_ENTROPY,
        [QUANT_MSE] = UNET_CALIBRATION_MSE,
        [QUANT_PERCENTILE] = UNET_CALIBRATION_PERCENTILE,
        [QUANT_MINMAX] = UNET_CALIBRATION_MINMAX,
    };
    return method == UNET_CALIBRATION_AUTO || method == of[candidate];
}

static unet_status make_ranges(const struct calibrated_request *request, const struct graph *graph,
                               const struct calibration *calibration, struct calibrated *calibrated,
                               unet_error *error)
{
    calibrated->images = calibration->images;
    for (int m = 0; m < QUANT_METHOD_COUNT; m++) {
        if (!wanted(request->options->calibration_method, (enum quant_method)m))
            continue;
        TRY(ranges_of_calibration(graph, calibration, (enum quant_method)m, &calibrated->methods[m],
                                  error));
        calibrated->known[m] = true;
    }
    return UNET_OK;
}

static unet_status count(const struct calibrated_request *request, const struct trial *trial,
                         struct calibration *calibration, unet_error *error)
{
    struct calibration_request images =
        calibration_request_of(request->options, request->resize, request->log);
    images.images = request->images;
    images.count = request->count;
    return calibrate(&trial->engine, &images, calibration, error);
}

unet_status calibrated_by_images(const struct calibrated_request *request,
                                 const struct graph *graph, const struct kernel_target *target,
                                 struct calibrated *calibrated, unet_error *error)
{
    *calibrated = (struct calibrated){.flips = NAN};
    enum graph_type *types = memory_calloc((size_t)graph->node_count, sizeof *types);
    if (types == NULL)
        return error_memory(error, (size_t)graph->node_count * sizeof *types, "types");
    const struct trial_request float32 = {.graph = graph,
                                          .types = types,
                                          .facts = request->facts,
                                          .target = *target,
                                          .threads = request->options->threads,
                                          .apart = true};
    struct trial *trial = NULL;
    struct calibration calibration = {0};
    unet_status status = trial_create(&float32, &trial, error);
    if (status == UNET_OK)
        status = count(request, trial, &calibration, error);
    trial_free(&trial);
    if (status == UNET_OK)
        status = make_ranges(request, graph, &calibration, calibrated, error);
    calibration_clear(&calibration);
    memory_free(types);
    return status;
}

/* ---------------------------------------------------------------- a table */

/* Ranges serve both types of 8 bits, what was decided by masks is of one. */
static const char *decisions_of(enum graph_type narrow)
{
    return narrow == GRAPH_E4M3 ? QUANT_TABLE_OWN "fp8/" : QUANT_TABLE_OWN;
}

static const char *flips_key(char key[KEY_BYTES], enum graph_type narrow)
{
    snprintf(key, KEY_BYTES, "%sflips", decisions_of(narrow));
    return key;
}

static const char *bits_key(char key[KEY_BYTES], enum graph_type narrow, const char *layer)
{
    snprintf(key, KEY_BYTES, "%sbits/%s", decisions_of(narrow), layer);
    return key;
}

static const float bits_of[GRAPH_TYPE_COUNT] = {
    [GRAPH_F32] = 32, [GRAPH_F16] = 16, [GRAPH_BF16] = 16, [GRAPH_U8] = 8, [GRAPH_E4M3] = 8};

static void read_decisions(const struct quant_table *table, const struct layer_costs *costs,
                           enum graph_type narrow, struct calibrated *calibrated)
{
    char key[KEY_BYTES];
    float value;
    calibrated->flips =
        quant_table_find(table, flips_key(key, narrow), &value) ? (double)value : NAN;
    calibrated->decided = true;
    for (int l = 0; l < costs->count; l++) {
        bool found = quant_table_find(table, bits_key(key, narrow, costs->layers[l].name), &value);
        calibrated->types[l] = !found        ? GRAPH_TYPE_COUNT
                               : value == 8  ? narrow
                               : value == 16 ? GRAPH_BF16
                                             : GRAPH_F32;
        calibrated->decided = calibrated->decided && found;
    }
}

static unet_status use_table(const struct quant_table *table, const struct graph *graph,
                             const struct layer_costs *costs, enum graph_type narrow,
                             struct calibrated *calibrated, unet_error *error)
{
    size_t layers = (size_t)costs->count;
    calibrated->types = memory_alloc_array(layers, sizeof *calibrated->types);
    if (calibrated->types == NULL)
        return error_memory(error, layers * sizeof *calibrated->types, "layers");
    TRY(quant_table_get_ranges(table, graph, &calibrated->methods[0], &calibrated->foreign, error));
    calibrated->known[0] = true;
    read_decisions(table, costs, narrow, calibrated);
    return UNET_OK;
}

unet_status calibrated_by_table(const struct calibrated_request *request, const struct graph *graph,
                                const struct layer_costs *costs, struct calibrated *calibrated,
                                unet_error *error)
{
    const char *path = request->options->calibration_table;
    struct quant_table table = {0};
    *calibrated = (struct calibrated){.from_table = true, .flips = NAN};
    unet_status status = quant_table_read(&table, path, error);
    if (status == UNET_OK) {
        status = use_table(&table, graph, costs, request->narrow, calibrated, error);
        if (status == UNET_ERROR_MODEL)
            error_prefix(error, status, "%s", path);
    }
    quant_table_clear(&table);
    return status;
}

static unet_status put_decisions(struct quant_table *table, const struct layer_costs *costs,
                                 enum graph_type narrow, const enum graph_type *types, double flips,
                                 unet_error *error)
{
    char key[KEY_BYTES];
    if (isfinite(flips))
        TRY(quant_table_put(table, flips_key(key, narrow), (float)flips, error));
    for (int l = 0; l < costs->count; l++)
        TRY(quant_table_put(table, bits_key(key, narrow, costs->layers[l].name), bits_of[types[l]],
                            error));
    return UNET_OK;
}

unet_status calibrated_write(const unet_build_options *options, const struct graph *graph,
                             const struct quant_ranges *ranges, const struct layer_costs *costs,
                             enum graph_type narrow, const enum graph_type *types, double flips,
                             unet_error *error)
{
    struct quant_table table = {0};
    unet_status status = quant_table_put_ranges(&table, graph, ranges, error);
    if (status == UNET_OK)
        status = put_decisions(&table, costs, narrow, types, flips, error);
    if (status == UNET_OK)
        status = quant_table_write(&table, options->calibration_table, error);
    quant_table_clear(&table);
    return status;
}
