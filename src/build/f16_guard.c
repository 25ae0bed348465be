#include "build/f16_guard.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "build/calibrate.h"
#include "build/trial.h"

/* Other images may reach further than those that were looked at; patterns tell less than images. */
#define F16_MOST           65504.0
#define MARGIN_OF_IMAGES   4.0
#define MARGIN_OF_PATTERNS 16.0

#define PATTERNS     3
#define PATTERN_SIDE 256
#define SQUARE       16 /* of the chequered one */

bool f16_holds(double largest)
{
    return largest * MARGIN_OF_IMAGES <= F16_MOST;
}

/* ---------------------------------------------------------------- patterns */

/* In [0, 1]: noise, slow waves, squares of black and white. */
static float pattern_value(int pattern, int channel, int y, int x, uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
    if (pattern == 0)
        return (float)(*state >> 8) * 0x1p-24f;
    if (pattern == 1)
        return 0.5f + 0.25f * (sinf((float)x * 0.05f + (float)channel) + cosf((float)y * 0.03f));
    return (float)((x / SQUARE + y / SQUARE) % 2);
}

/* As images that are normalised would be. */
static float normalized(const unet_preprocess *preprocess, int channel, float value)
{
    if (preprocess->normalize == UNET_NORMALIZE_ZSCORE)
        return (value - 0.5f) * sqrtf(12.0f);
    if (preprocess->normalize == UNET_NORMALIZE_MEAN_STD)
        return (value - preprocess->mean[channel]) / preprocess->std[channel];
    return value;
}

static unet_status make_pattern(const struct engine_facts *facts, int pattern, int height,
                                int width, unet_array *array, unet_error *error)
{
    size_t count = (size_t)facts->in_channels * (size_t)height * (size_t)width;
    float *at = memory_alloc_array(count, sizeof *at);
    uint32_t state = 1;
    if (at == NULL)
        return error_memory(error, count * sizeof *at, "patterns");
    *array = (unet_array){
        .dtype = UNET_F32, .rank = 3, .shape = {facts->in_channels, height, width}, .data = at};
    for (int c = 0; c < facts->in_channels; c++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                *at++ = normalized(&facts->preprocess, c, pattern_value(pattern, c, y, x, &state));
    return UNET_OK;
}

/* ---------------------------------------------------------------- how far values reach */

static unet_status run_images(const struct f16_guard_request *request, const struct trial *trial,
                              struct calibration *calibration, unet_error *error)
{
    struct calibration_request images =
        calibration_request_of(request->options, request->resize, request->log);
    images.method = UNET_CALIBRATION_MINMAX;
    return calibrate(&trial->engine, &images, calibration, error);
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* At the size to tune for, which the network takes, where that is not large. */
static unet_status run_patterns(const struct f16_guard_request *request, const struct trial *trial,
                                struct calibration *calibration, unet_error *error)
{
    const unet_build_options *options = request->options;
    unet_array arrays[PATTERNS] = {{.data = NULL}};
    unet_status status = UNET_OK;
    for (int i = 0; i < PATTERNS && status == UNET_OK; i++)
        status = make_pattern(request->facts, i, least(options->height, PATTERN_SIDE),
                              least(options->width, PATTERN_SIDE), &arrays[i], error);
    const struct calibration_request patterns = {.arrays = arrays,
                                                 .count = PATTERNS,
                                                 .method = UNET_CALIBRATION_MINMAX,
                                                 .all = true,
                                                 .threads = options->threads,
                                                 .log = request->log};
    if (status == UNET_OK)
        status = calibrate(&trial->engine, &patterns, calibration, error);
    for (int i = 0; i < PATTERNS; i++)
        memory_free(arrays[i].data);
    return status;
}

static unet_status run_network(const struct f16_guard_request *request,
                               struct calibration *calibration, unet_error *error)
{
    size_t nodes = (size_t)request->graph->node_count;
    enum graph_type *types = memory_calloc(nodes, sizeof *types); /* float32 */
    struct trial *trial = NULL;
    if (types == NULL)
        return error_memory(error, nodes * sizeof *types, "types");
    const struct trial_request float32 = {.graph = request->graph,
                                          .types = types,
                                          .facts = request->facts,
                                          .target = *request->target,
                                          .threads = request->options->threads,
                                          .apart = true};
    unet_status status = trial_create(&float32, &trial, error);
    if (status == UNET_OK)
        status = (request->options->calibration_count > 0 ? run_images : run_patterns)(
            request, trial, calibration, error);
    trial_free(&trial);
    memory_free(types);
    return status;
}

static float largest_of(const struct calibrated_value *value)
{
    float largest = 0;
    for (int c = 0; value->counted && c < value->channels; c++)
        largest = fmaxf(largest, calibration_max(value, c));
    return largest;
}

/* What is not counted is derived from something that is: no larger than that. */
static void follow_nodes(const struct graph *graph, float *largest)
{
    for (int n = 0; n < graph->node_count; n++) {
        const struct graph_node *node = &graph->nodes[n];
        int from = trial_is_layer(node) ? node->output : node->inputs[0];
        int to[] = {node->output, node->pooled};
        for (int i = 0; i < 2 && from != GRAPH_NONE; i++)
            if (to[i] != GRAPH_NONE)
                largest[to[i]] = fmaxf(largest[to[i]], largest[from]);
    }
}

/* ---------------------------------------------------------------- the layers */

static float weight_of(const struct graph_node *node)
{
    float largest = 0;
    for (int64_t i = 0; i < node->weight.count; i++)
        largest = fmaxf(largest, fabsf(node->weight.data[i]));
    return largest;
}

static void tell(const struct f16_guard_request *request, const struct graph_node *node,
                 double reach, bool weights, enum graph_type type)
{
    log_line(request->log, LOG_NOTICE,
             "layer %s stays in %s: %s reach %.4g, and fp16 ends at 65504", node->name,
             type == GRAPH_BF16 ? "bf16" : "fp32",
             weights ? "its weights" : "the values that it reads", reach);
}

static void decide(const struct f16_guard_request *request, const float *largest,
                   enum graph_type *types, int *wider)
{
    char text[160];
    double margin = request->options->calibration_count > 0 ? MARGIN_OF_IMAGES : MARGIN_OF_PATTERNS;
    enum graph_type wide =
        target_type_refusal(request->target, KERNEL_BF16, false, text, sizeof text) == NULL
            ? GRAPH_BF16
            : GRAPH_F32;
    *wider = 0;
    for (int n = 0; n < request->graph->node_count; n++) {
        const struct graph_node *node = &request->graph->nodes[n];
        double reach = 0, weights = (double)weight_of(node);
        types[n] = GRAPH_F16;
        if (!trial_is_layer(node) || request->graph->values[node->inputs[0]].type == GRAPH_F32)
            continue;
        int read = node->op == GRAPH_CONV ? node->input_count : 1;
        for (int i = 0; i < read; i++)
            reach = fmax(reach, (double)largest[node->inputs[i]]);
        if (reach * margin <= F16_MOST && weights <= F16_MOST)
            continue;
        types[n] = wide;
        ++*wider;
        bool of_weights = weights > F16_MOST;
        tell(request, node, of_weights ? weights : reach, of_weights, wide);
    }
}

unet_status f16_guard(const struct f16_guard_request *request, enum graph_type *types, int *wider,
                      unet_error *error)
{
    struct calibration calibration = {0};
    size_t count = (size_t)request->graph->value_count;
    float *largest = memory_calloc(count, sizeof *largest);
    if (largest == NULL)
        return error_memory(error, count * sizeof *largest, "ranges");
    unet_status status = run_network(request, &calibration, error);
    if (status == UNET_OK) {
        for (int v = 0; v < calibration.value_count; v++)
            largest[v] = largest_of(&calibration.values[v]);
        follow_nodes(request->graph, largest);
        decide(request, largest, types, wider);
    }
    calibration_clear(&calibration);
    memory_free(largest);
    return status;
}
