#include "graph/layers.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* PyTorch's default, which all the networks here keep; checkpoints do not record it. */
#define BATCH_NORM_EPSILON 1e-5

#define FAIL(layers, ...)                                                                          \
    ((void)((layers)->status = error_set((layers)->error, UNET_ERROR_MODEL, __VA_ARGS__)))

static void fail_memory(struct layers *layers, size_t bytes)
{
    layers->status = error_memory(layers->error, bytes, "the network's graph");
}

/* ---------------------------------------------------------------- names and tensors */

const char *layers_name(struct layers *layers, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    size_t bytes = (size_t)vsnprintf(NULL, 0, format, again) + 1;
    va_end(again);
    if (layers->status == UNET_OK)
        text = arena_alloc(&layers->graph->arena, bytes);
    if (text != NULL)
        vsnprintf(text, bytes, format, arguments);
    else if (layers->status == UNET_OK)
        fail_memory(layers, bytes);
    va_end(arguments);
    return text != NULL ? text : "";
}

static const char *full_name(struct layers *layers, const char *layer, const char *part)
{
    return layers_name(layers, "%s%s.%s", layers->prefix, layer, part);
}

const unet_tensor *layers_find(struct layers *layers, const char *layer, const char *part)
{
    const char *name = full_name(layers, layer, part);
    return layers->status == UNET_OK ? tensor_set_find(layers->tensors, name) : NULL;
}

bool layers_begin(struct layers *layers, const char *start)
{
    const char *whole = layers_name(layers, "%s%s", layers->prefix, start);
    if (layers->status != UNET_OK)
        return false;
    for (size_t i = 0; i < layers->tensors->count; i++)
        if (strncmp(layers->tensors->items[i].name, whole, strlen(whole)) == 0)
            return true;
    return false;
}

static int64_t value_count(const unet_tensor *tensor)
{
    int64_t count = 0;
    return tensor_count(tensor->shape, tensor->rank, &count) ? count : 0;
}

int64_t layers_count(struct layers *layers, const char *layer, const char *part)
{
    const unet_tensor *tensor = layers_find(layers, layer, part);
    return tensor != NULL ? value_count(tensor) : 0;
}

/* ---------------------------------------------------------------- constants */

struct shape {
    int rank;
    int64_t sides[4];
};

static bool has_shape(const struct layers *layers, const unet_tensor *tensor,
                      const struct shape *shape)
{
    int64_t expected = 0;
    tensor_count(shape->sides, shape->rank, &expected);
    if (layers->flat)
        return value_count(tensor) == expected;
    return tensor->rank == shape->rank &&
           memcmp(tensor->shape, shape->sides, (size_t)shape->rank * sizeof *shape->sides) == 0;
}

static void fail_shape(struct layers *layers, const unet_tensor *tensor, const char *expected)
{
    char is[128];
    if (layers->flat)
        FAIL(layers, "%s has %lld values; %s was expected", tensor->name,
             (long long)value_count(tensor), expected);
    else
        FAIL(layers, "%s is %s; %s was expected", tensor->name,
             tensor_shape_text(tensor->shape, tensor->rank, is, sizeof is), expected);
}

/* NULL and a failure if the tensor is missing or misshapen. */
static const unet_tensor *take_tensor(struct layers *layers, const char *layer, const char *part,
                                      const struct shape *shape)
{
    const unet_tensor *tensor = layers_find(layers, layer, part);
    if (layers->status != UNET_OK)
        return NULL;
    char expected[128];
    tensor_shape_text(shape->sides, shape->rank, expected, sizeof expected);
    if (tensor == NULL) {
        FAIL(layers, "%s%s.%s is missing; a tensor of %s was expected: is the file whole?",
             layers->prefix, layer, part, expected);
        return NULL;
    }
    if (!has_shape(layers, tensor, shape)) {
        fail_shape(layers, tensor, expected);
        return NULL;
    }
    layers->used[tensor - layers->tensors->items] = true;
    return tensor;
}

static void check_finite(struct layers *layers, const unet_tensor *tensor, const float *values,
                         int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (isfinite(values[i]))
            continue;
        FAIL(layers,
             "%s: value %lld is %s; finite ones were expected: take a checkpoint from before the "
             "training diverged",
             tensor->name, (long long)i, isnan(values[i]) ? "NaN" : "infinite");
        return;
    }
}

/* An empty constant after a failure. */
static struct graph_constant read_constant(struct layers *layers, const char *layer,
                                           const char *part, struct shape shape)
{
    const unet_tensor *tensor = take_tensor(layers, layer, part, &shape);
    if (tensor == NULL)
        return (struct graph_constant){0};
    int64_t count = value_count(tensor);
    float *data = arena_alloc_array(&layers->graph->arena, (size_t)count, sizeof *data);
    if (data == NULL) {
        fail_memory(layers, (size_t)count * sizeof *data);
        return (struct graph_constant){0};
    }
    tensor_to_float(tensor, 0, (size_t)count, data);
    check_finite(layers, tensor, data, count);
    return (struct graph_constant){data, count};
}

static struct graph_constant read_vector(struct layers *layers, const char *layer, const char *part,
                                         int count)
{
    return read_constant(layers, layer, part, (struct shape){1, {count}});
}

/* ---------------------------------------------------------------- widths */

int layers_width(struct layers *layers, const char *norm, int depth)
{
    int64_t a = layers_count(layers, norm, "weight"), b = layers_count(layers, norm, "bias");
    int64_t c = layers_count(layers, norm, "running_mean");
    int64_t width = a == b || a == c ? a : b;
    if (layers->status != UNET_OK)
        return 0;
    if (width == 0)
        FAIL(layers, "%s%s.weight is missing or empty; one value a channel was expected",
             layers->prefix, norm);
    else if (width > GRAPH_MAX_CHANNELS >> depth)
        FAIL(layers, "%s%s.weight has %lld values; at most %d channels are possible here",
             layers->prefix, norm, (long long)width, GRAPH_MAX_CHANNELS >> depth);
    return layers->status == UNET_OK ? (int)width : 0;
}

/* One side of a convolution's weight, the others being known; `side` 0: out, 1: in. */
static int free_side(struct layers *layers, const char *conv, int side, int other, int kernel)
{
    const unet_tensor *tensor = layers_find(layers, conv, "weight");
    if (layers->status != UNET_OK)
        return 0;
    char expected[64];
    snprintf(expected, sizeof expected, side == 0 ? "N×%d×%d×%d" : "%d×N×%d×%d", other, kernel,
             kernel);
    if (tensor == NULL) {
        FAIL(layers, "%s%s.weight is missing; a tensor of %s was expected: is the file whole?",
             layers->prefix, conv, expected);
        return 0;
    }
    int64_t rest = (int64_t)other * kernel * kernel, count = value_count(tensor);
    int64_t found = 0;
    if (!layers->flat && tensor->rank == 4)
        found = tensor->shape[side];
    else if (layers->flat && count % rest == 0)
        found = count / rest;
    if (found < 1 || found > GRAPH_MAX_CHANNELS) {
        fail_shape(layers, tensor, expected);
        return 0;
    }
    return (int)found;
}

int layers_in_channels(struct layers *layers, const char *conv, int out_channels, int kernel)
{
    return free_side(layers, conv, 1, out_channels, kernel);
}

int layers_out_channels(struct layers *layers, const char *conv, int in_channels, int kernel)
{
    return free_side(layers, conv, 0, in_channels, kernel);
}

/* ---------------------------------------------------------------- layers */

static int channels_of(const struct layers *layers, int value)
{
    return layers->graph->values[value].channels;
}

static int add_value(struct layers *layers, const char *name, int channels)
{
    int value = graph_add_value(layers->graph, name, channels);
    if (value == GRAPH_NONE)
        fail_memory(layers, sizeof(struct graph_value));
    return value;
}

/* The node with its first input and its output; NULL after a failure. */
static struct graph_node *add_node(struct layers *layers, enum graph_op op, int x, int channels,
                                   const char *name)
{
    if (layers->status != UNET_OK)
        return NULL;
    int output = add_value(layers, name, channels);
    if (output == GRAPH_NONE)
        return NULL;
    struct graph_node *node = graph_add_node(layers->graph, op, name);
    if (node == NULL) {
        fail_memory(layers, sizeof *node);
        return NULL;
    }
    node->inputs[node->input_count++] = x;
    node->output = output;
    return node;
}

int layers_input(struct layers *layers, int channels)
{
    if (layers->status != UNET_OK)
        return GRAPH_NONE;
    return layers->graph->input = add_value(layers, "input", channels);
}

/* A node with a weight of that shape, and a bias where one is wanted; NULL after a failure. */
static struct graph_node *add_weighted(struct layers *layers, enum graph_op op, int x,
                                       int out_channels, struct shape shape, bool bias,
                                       const char *name)
{
    struct graph_constant weight = read_constant(layers, name, "weight", shape), offset = {0};
    if (bias)
        offset = read_vector(layers, name, "bias", out_channels);
    struct graph_node *node = add_node(layers, op, x, out_channels, name);
    if (node == NULL)
        return NULL;
    node->weight = weight;
    node->bias = offset;
    return node;
}

int layers_conv(struct layers *layers, int x, int out_channels, int kernel, bool bias,
                const char *name)
{
    if (layers->status != UNET_OK)
        return GRAPH_NONE;
    struct shape shape = {4, {out_channels, channels_of(layers, x), kernel, kernel}};
    struct graph_node *node = add_weighted(layers, GRAPH_CONV, x, out_channels, shape, bias, name);
    if (node == NULL)
        return GRAPH_NONE;
    node->kernel_h = node->kernel_w = kernel;
    node->stride = 1;
    node->padding = kernel / 2;
    return node->output;
}

int layers_conv_transpose(struct layers *layers, int x, int out_channels, bool bias,
                          const char *name)
{
    if (layers->status != UNET_OK)
        return GRAPH_NONE;
    struct shape shape = {4, {channels_of(layers, x), out_channels, 2, 2}};
    struct graph_node *node =
        add_weighted(layers, GRAPH_CONV_TRANSPOSE, x, out_channels, shape, bias, name);
    if (node == NULL)
        return GRAPH_NONE;
    node->kernel_h = node->kernel_w = node->stride = 2;
    return node->output;
}

/* gamma, beta → scale, shift, in place. In double, so that float32 rounds but once. */
static void normalise(struct layers *layers, const char *name, float *gamma, float *beta,
                      const struct graph_constant *mean, const struct graph_constant *variance)
{
    for (int64_t i = 0; i < mean->count; i++) {
        if (variance->data[i] < 0) {
            FAIL(layers, "%s%s.running_var: value %lld is %g; a variance is not negative",
                 layers->prefix, name, (long long)i, (double)variance->data[i]);
            return;
        }
        double scale = gamma[i] / sqrt((double)variance->data[i] + BATCH_NORM_EPSILON);
        double shift = beta[i] - (double)mean->data[i] * scale;
        gamma[i] = (float)scale;
        beta[i] = (float)shift;
        if (!isfinite(gamma[i]) || !isfinite(beta[i])) {
            FAIL(layers,
                 "%s%s: channel %lld is scaled by %g and shifted by %g; float32 was "
                 "expected to hold both",
                 layers->prefix, name, (long long)i, scale, shift);
            return;
        }
    }
}

int layers_batch_norm(struct layers *layers, int x, const char *name)
{
    if (layers->status != UNET_OK)
        return GRAPH_NONE;
    int channels = channels_of(layers, x);
    struct graph_constant gamma = read_vector(layers, name, "weight", channels);
    struct graph_constant beta = read_vector(layers, name, "bias", channels);
    struct graph_constant mean = read_vector(layers, name, "running_mean", channels);
    struct graph_constant variance = read_vector(layers, name, "running_var", channels);
    const unet_tensor *tracked = layers_find(layers, name, "num_batches_tracked");
    if (tracked != NULL) /* training's, not the network's: of any shape, or not there */
        layers->used[tracked - layers->tensors->items] = true;
    if (layers->status == UNET_OK)
        normalise(layers, name, gamma.data, beta.data, &mean, &variance);
    struct graph_node *node = add_node(layers, GRAPH_BATCH_NORM, x, channels, name);
    if (node == NULL)
        return GRAPH_NONE;
    node->weight = gamma;
    node->bias = beta;
    return node->output;
}

static int add_plain(struct layers *layers, enum graph_op op, int x, const char *name)
{
    if (layers->status != UNET_OK)
        return GRAPH_NONE;
    struct graph_node *node = add_node(layers, op, x, channels_of(layers, x), name);
    return node != NULL ? node->output : GRAPH_NONE;
}

int layers_relu(struct layers *layers, int x, const char *name)
{
    return add_plain(layers, GRAPH_RELU, x, name);
}

int layers_max_pool(struct layers *layers, int x, const char *name)
{
    int output = add_plain(layers, GRAPH_MAX_POOL, x, name);
    if (output == GRAPH_NONE)
        return GRAPH_NONE;
    struct graph_node *node = &layers->graph->nodes[layers->graph->node_count - 1];
    node->kernel_h = node->kernel_w = node->stride = 2;
    return output;
}

int layers_upsample(struct layers *layers, int x, const char *name)
{
    return add_plain(layers, GRAPH_UPSAMPLE, x, name);
}

int layers_pad(struct layers *layers, int x, int like, const char *name)
{
    int output = add_plain(layers, GRAPH_PAD, x, name);
    if (output == GRAPH_NONE)
        return GRAPH_NONE;
    struct graph_node *node = &layers->graph->nodes[layers->graph->node_count - 1];
    node->inputs[node->input_count++] = like;
    return output;
}

int layers_concat(struct layers *layers, int a, int b, const char *name)
{
    if (layers->status != UNET_OK)
        return GRAPH_NONE;
    int channels = channels_of(layers, a) + channels_of(layers, b);
    struct graph_node *node = add_node(layers, GRAPH_CONCAT, a, channels, name);
    if (node == NULL)
        return GRAPH_NONE;
    node->inputs[node->input_count++] = b;
    return node->output;
}

void layers_finish(struct layers *layers)
{
    char is[128];
    for (size_t i = 0; i < layers->tensors->count && layers->status == UNET_OK; i++) {
        const unet_tensor *tensor = &layers->tensors->items[i];
        if (!layers->used[i])
            FAIL(layers,
                 "%s (%s) belongs to no layer of %s, the network that the others make; take it out "
                 "of the checkpoint if nothing needs it",
                 tensor->name, tensor_shape_text(tensor->shape, tensor->rank, is, sizeof is),
                 layers->graph->architecture);
    }
}
