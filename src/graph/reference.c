#include "graph/reference.h"

#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "base/e4m3.h"
#include "base/f16.h"
#include "base/u8.h"

struct run {
    const struct graph *graph;
    const struct graph_size *sizes;
    float **data; /* a value each; NULL: not written yet, or nobody reads it any more */
    int *readers; /* how many are still to come; the caller is one of the graph's output */
    unet_error *error;
};

/* One tensor, with what an op needs to walk it. */
struct tensor {
    float *data;
    int channels, height, width;
};

static size_t plane_size(const struct tensor *t)
{
    return (size_t)t->height * (size_t)t->width;
}

static float *plane(const struct tensor *t, int channel)
{
    return t->data + (size_t)channel * plane_size(t);
}

static unet_status new_tensor(struct tensor *t, int channels, struct graph_size size,
                              unet_error *error)
{
    *t = (struct tensor){NULL, channels, size.height, size.width};
    size_t count = (size_t)channels * plane_size(t);
    t->data = memory_alloc_array(count, sizeof *t->data);
    if (t->data == NULL)
        return error_memory(error, count * sizeof *t->data, "a tensor of the reference");
    return UNET_OK;
}

static struct tensor value_tensor(const struct run *run, int value)
{
    return (struct tensor){run->data[value], run->graph->values[value].channels,
                           run->sizes[value].height, run->sizes[value].width};
}

static void round_to_type(const struct tensor *t, enum graph_type type)
{
    size_t count = (size_t)t->channels * plane_size(t);
    for (size_t i = 0; i < count && type == GRAPH_F16; i++)
        t->data[i] = f16_round(t->data[i]);
    for (size_t i = 0; i < count && type == GRAPH_BF16; i++)
        t->data[i] = bf16_round(t->data[i]);
    for (size_t i = 0; i < count && type == GRAPH_U8; i++)
        t->data[i] = (float)u8_from_float(t->data[i]);
    for (size_t i = 0; i < count && type == GRAPH_E4M3; i++)
        t->data[i] = e4m3_round(t->data[i]);
}

/* ---------------------------------------------------------------- weights as they are
 * multiplied */

struct layer_weights {
    double *weight, *bias; /* as node->weight; O × taps, a tap's own where an output has but one */
};

/* Where the taps from input channel i to output channel o lie, one behind the other. */
struct weight_place {
    size_t first, taps;
};

static struct weight_place place_of(const struct graph_node *node, size_t outs, size_t ins,
                                    size_t o, size_t i)
{
    size_t taps = (size_t)node->kernel_h * (size_t)node->kernel_w;
    bool transposed = node->op == GRAPH_CONV_TRANSPOSE;
    size_t first = transposed ? i * outs + o : o * ins + i;
    return (struct weight_place){first * taps, taps};
}

static double step_of(const struct graph_node *node, enum graph_type type, size_t outs, size_t ins,
                      size_t o)
{
    float range = type == GRAPH_E4M3 ? E4M3_MOST : 127.0f;
    if (node->weight_step.data != NULL)
        return (double)node->weight_step.data[o];
    float most = 0;
    for (size_t i = 0; i < ins; i++) {
        struct weight_place place = place_of(node, outs, ins, o, i);
        for (size_t t = 0; t < place.taps; t++)
            most = fmaxf(most, fabsf(node->weight.data[place.first + t]));
    }
    return most > 0 ? (double)(most / range) : 1.0;
}

static double round_level(double level, enum graph_type type)
{
    return type == GRAPH_E4M3 ? (double)e4m3_round((float)level)
                              : fmax(-127.0, fmin(127.0, nearbyint(level)));
}

/* To the multiples that 8 bits hold; what is lost of the mean goes into the bias. */
static void round_weights(const struct graph_node *node, enum graph_type type, size_t outs,
                          size_t ins, size_t o, struct layer_weights *layer)
{
    double step = step_of(node, type, outs, ins, o);
    for (size_t i = 0; i < ins; i++) {
        struct weight_place place = place_of(node, outs, ins, o, i);
        double mean = node->mean.data != NULL ? (double)node->mean.data[i] : 0.0;
        for (size_t t = 0; t < place.taps; t++) {
            double *weight = &layer->weight[place.first + t];
            double kept = round_level(*weight / step, type) * step;
            size_t tap = node->op == GRAPH_CONV_TRANSPOSE ? t : 0;
            layer->bias[o * place.taps + tap] += (*weight - kept) * mean;
            *weight = kept;
        }
    }
}

static void free_weights(struct layer_weights *layer)
{
    memory_free(layer->weight);
    memory_free(layer->bias);
}

static float round_weight(float weight, enum graph_type type)
{
    return type == GRAPH_F16 ? f16_round(weight) : type == GRAPH_BF16 ? bf16_round(weight) : weight;
}

static unet_status make_weights(const struct run *run, const struct graph_node *node,
                                struct layer_weights *layer)
{
    const struct graph *graph = run->graph;
    enum graph_type type = graph->values[node->inputs[0]].type;
    size_t outs = (size_t)graph_node_channels(graph, node), count = (size_t)node->weight.count;
    size_t taps = (size_t)node->kernel_h * (size_t)node->kernel_w, ins = count / (outs * taps);
    layer->weight = memory_alloc_array(count, sizeof *layer->weight);
    layer->bias = memory_alloc_array(outs * taps, sizeof *layer->bias);
    if (layer->weight == NULL || layer->bias == NULL)
        return error_memory(run->error, count * sizeof *layer->weight, "weights of the reference");
    for (size_t i = 0; i < count; i++)
        layer->weight[i] = (double)round_weight(node->weight.data[i], type);
    for (size_t i = 0; i < outs * taps; i++)
        layer->bias[i] = node->bias.data != NULL ? (double)node->bias.data[i / taps] : 0.0;
    for (size_t o = 0; o < outs && graph_is_8bit(type); o++)
        round_weights(node, type, outs, ins, o, layer);
    return UNET_OK;
}

/* ---------------------------------------------------------------- up-sampling and padding */

/* Where an output index falls between two input indices. Positions and weights are float32, as
 * PyTorch computes them: else they differ in the last bits on large images. */
static void locate(int out_index, int in, int *low, int *high, float *weight)
{
    int out = 2 * in;
    float ratio = (float)(in - 1) / (float)(out - 1);
    float position = ratio * (float)out_index;
    *low = (int)position < in - 1 ? (int)position : in - 1;
    *high = *low < in - 1 ? *low + 1 : *low;
    *weight = position - (float)*low;
}

static void run_upsample(const struct tensor *x, const struct tensor *y)
{
    for (int oy = 0; oy < y->height; oy++) {
        int top, bottom, left, right;
        float v, u;
        locate(oy, x->height, &top, &bottom, &v);
        for (int ox = 0; ox < y->width; ox++) {
            locate(ox, x->width, &left, &right, &u);
            for (int c = 0; c < y->channels; c++) {
                const float *in = plane(x, c);
                const float *upper = in + (ptrdiff_t)top * x->width;
                const float *lower = in + (ptrdiff_t)bottom * x->width;
                double above = (1.0 - u) * upper[left] + (double)u * upper[right];
                double below = (1.0 - u) * lower[left] + (double)u * lower[right];
                plane(y, c)[(size_t)oy * (size_t)y->width + (size_t)ox] =
                    (float)((1.0 - v) * above + (double)v * below);
            }
        }
    }
}

static int floor_half(int n)
{
    return n >= 0 ? n / 2 : -((1 - n) / 2);
}

/* Pads, or crops where x is the larger. */
static void run_pad(const struct tensor *x, uint8_t zero, const struct tensor *y)
{
    int top = floor_half(y->height - x->height), left = floor_half(y->width - x->width);
    for (int c = 0; c < y->channels; c++) {
        for (int oy = 0; oy < y->height; oy++) {
            for (int ox = 0; ox < y->width; ox++) {
                int iy = oy - top, ix = ox - left;
                bool inside = iy >= 0 && iy < x->height && ix >= 0 && ix < x->width;
                plane(y, c)[(size_t)oy * (size_t)y->width + (size_t)ox] =
                    inside ? plane(x, c)[(size_t)iy * (size_t)x->width + (size_t)ix] : zero;
            }
        }
    }
}

static unet_status pad_like(struct tensor *y, uint8_t zero, struct graph_size like,
                            unet_error *error)
{
    struct tensor padded;
    TRY(new_tensor(&padded, y->channels, like, error));
    run_pad(y, zero, &padded);
    memory_free(y->data);
    *y = padded;
    return UNET_OK;
}

/* ---------------------------------------------------------------- convolutions */

/* First and one past the last output column (or row) whose tap lies inside the input. */
static void valid_range(int in, int out, int tap, const struct graph_node *node, int *first,
                        int *last)
{
    int shift = node->padding - tap; /* input index = output index · stride − shift */
    *first = shift <= 0 ? 0 : (shift + node->stride - 1) / node->stride;
    int reach = in - 1 + shift;
    *last = reach < 0 ? 0 : reach / node->stride + 1;
    if (*last > out)
        *last = out;
}

/* sums += one channel's window; `weight` holds its KH × KW taps. `zero` lies around the channel: it
 * is taken off all that is read, and the caller adds what it would be everywhere. */
static void add_plane(const struct graph_node *node, const struct tensor *x, uint8_t zero,
                      int channel, const double *weight, const struct tensor *y, double *sums)
{
    const float *in = plane(x, channel);
    for (int ky = 0; ky < node->kernel_h; ky++) {
        for (int kx = 0; kx < node->kernel_w; kx++) {
            double w = weight[ky * node->kernel_w + kx];
            int top, bottom, left, right;
            valid_range(x->height, y->height, ky, node, &top, &bottom);
            valid_range(x->width, y->width, kx, node, &left, &right);
            for (int oy = top; oy < bottom; oy++) {
                int iy = oy * node->stride + ky - node->padding;
                ptrdiff_t start = (ptrdiff_t)iy * x->width + kx - node->padding;
                double *row = sums + (ptrdiff_t)oy * y->width;
                for (int ox = left; ox < right; ox++)
                    row[ox] += w * ((double)in[start + (ptrdiff_t)ox * node->stride] - zero);
            }
        }
    }
}

static void round_plane(const double *sums, const struct tensor *y, int channel, bool relu)
{
    float *out = plane(y, channel);
    for (size_t i = 0; i < plane_size(y); i++)
        out[i] = (float)(relu && sums[i] < 0 ? 0 : sums[i]);
}

static double bias_with_zeros(const struct run *run, const struct graph_node *node, double bias,
                              const double *weight)
{
    int taps = node->kernel_h * node->kernel_w;
    for (int s = 0; s < node->input_count; s++) {
        const struct graph_value *value = &run->graph->values[node->inputs[s]];
        for (int i = 0; i < value->channels * taps; i++)
            bias += *weight++ * value->zero;
    }
    return bias;
}

/* `up`: what is read in the up-sampled input's place; `sums`: a plane. */
static void sum_conv(const struct run *run, const struct graph_node *node, const struct tensor *up,
                     const struct layer_weights *layer, struct tensor *y, double *sums)
{
    size_t pixels = plane_size(y), taps = (size_t)node->kernel_h * (size_t)node->kernel_w;
    const double *weight = layer->weight;
    for (int o = 0; o < y->channels; o++) {
        double bias = bias_with_zeros(run, node, layer->bias[(size_t)o * taps], weight);
        for (size_t i = 0; i < pixels; i++)
            sums[i] = bias;
        for (int s = 0; s < node->input_count; s++) {
            struct tensor x = value_tensor(run, node->inputs[s]);
            uint8_t zero = run->graph->values[node->inputs[s]].zero;
            x = s > 0 && s == node->upsampled ? *up : x;
            for (int c = 0; c < x.channels; c++, weight += taps)
                add_plane(node, &x, zero, c, weight, y, sums);
        }
        round_plane(sums, y, o, node->relu);
    }
}

static unet_status make_upsampled(struct run *run, const struct graph_node *node, struct tensor *up)
{
    struct tensor x = value_tensor(run, node->inputs[node->upsampled]);
    TRY(new_tensor(up, x.channels, (struct graph_size){2 * x.height, 2 * x.width}, run->error));
    run_upsample(&x, up);
    TRY(pad_like(up, run->graph->values[node->inputs[node->upsampled]].zero,
                 run->sizes[node->inputs[0]], run->error));
    round_to_type(up, run->graph->values[node->inputs[node->upsampled]].type);
    return UNET_OK;
}

static unet_status run_conv(struct run *run, const struct graph_node *node, struct tensor *y)
{
    struct tensor up = {0};
    struct layer_weights layer = {0};
    double *sums = memory_alloc_array(plane_size(y), sizeof *sums);
    unet_status status = make_weights(run, node, &layer);
    if (status == UNET_OK && sums == NULL)
        status = error_memory(run->error, plane_size(y) * sizeof *sums, "a plane of the reference");
    if (status == UNET_OK && node->upsampled > 0)
        status = make_upsampled(run, node, &up);
    if (status == UNET_OK)
        sum_conv(run, node, &up, &layer, y, sums);
    free_weights(&layer);
    memory_free(sums);
    memory_free(up.data);
    return status;
}

/* Kernel = stride: each output pixel has one input pixel and one tap. */
static void sum_conv_transpose(const struct graph_node *node, const struct layer_weights *layer,
                               const struct tensor *x, const struct tensor *y)
{
    int stride = node->stride;
    for (int o = 0; o < y->channels; o++) {
        for (int oy = 0; oy < y->height; oy++) {
            for (int ox = 0; ox < y->width; ox++) {
                ptrdiff_t first =
                    (ptrdiff_t)o * stride * stride + oy % stride * stride + ox % stride;
                double sum = layer->bias[first];
                const double *tap = layer->weight + first;
                size_t at = (size_t)(oy / stride) * (size_t)x->width + (size_t)(ox / stride);
                for (int c = 0; c < x->channels; c++, tap += y->channels * stride * stride)
                    sum += *tap * (double)plane(x, c)[at];
                plane(y, o)[(size_t)oy * (size_t)y->width + (size_t)ox] = (float)sum;
            }
        }
    }
}

static unet_status run_conv_transpose(const struct run *run, const struct graph_node *node,
                                      const struct tensor *x, const struct tensor *y)
{
    struct layer_weights layer = {0};
    unet_status status = make_weights(run, node, &layer);
    if (status == UNET_OK)
        sum_conv_transpose(node, &layer, x, y);
    free_weights(&layer);
    return status;
}

/* A 1×1 convolution of y. */
static void run_head(const struct graph_node *node, const struct tensor *y,
                     const struct tensor *head)
{
    for (int o = 0; o < head->channels; o++) {
        const float *weight = node->head_weight.data + (size_t)o * (size_t)y->channels;
        for (size_t i = 0; i < plane_size(y); i++) {
            double sum = node->head_bias.data != NULL ? node->head_bias.data[o] : 0;
            for (int c = 0; c < y->channels; c++)
                sum += (double)weight[c] * plane(y, c)[i];
            plane(head, o)[i] = (float)sum;
        }
    }
}

/* ---------------------------------------------------------------- the rest */

static void run_batch_norm(const struct graph_node *node, const struct tensor *x,
                           const struct tensor *y)
{
    for (int c = 0; c < y->channels; c++) {
        double scale = node->weight.data[c], shift = node->bias.data[c];
        for (size_t i = 0; i < plane_size(y); i++)
            plane(y, c)[i] = (float)(scale * plane(x, c)[i] + shift);
    }
}

static void run_relu(const struct tensor *x, const struct tensor *y)
{
    for (size_t i = 0; i < (size_t)y->channels * plane_size(y); i++)
        y->data[i] = x->data[i] > 0 ? x->data[i] : 0;
}

static void run_max_pool(const struct tensor *x, int stride, const struct tensor *y)
{
    for (int c = 0; c < y->channels; c++) {
        for (int oy = 0; oy < y->height; oy++) {
            for (int ox = 0; ox < y->width; ox++) {
                float largest = -INFINITY;
                for (int k = 0; k < stride * stride; k++) {
                    int iy = oy * stride + k / stride, ix = ox * stride + k % stride;
                    float v = plane(x, c)[(size_t)iy * (size_t)x->width + (size_t)ix];
                    largest = v > largest ? v : largest;
                }
                plane(y, c)[(size_t)oy * (size_t)y->width + (size_t)ox] = largest;
            }
        }
    }
}

static void run_concat(struct run *run, const struct graph_node *node, const struct tensor *y)
{
    float *to = y->data;
    for (int s = 0; s < node->input_count; s++) {
        struct tensor x = value_tensor(run, node->inputs[s]);
        size_t count = (size_t)x.channels * plane_size(&x);
        memcpy(to, x.data, count * sizeof *to);
        to += count;
    }
}

/* ---------------------------------------------------------------- nodes */

/* y as the op itself yields it, before a padding to `like`. */
static unet_status run_op(struct run *run, const struct graph_node *node, struct tensor *y)
{
    struct tensor x = value_tensor(run, node->inputs[0]);
    switch (node->op) {
    case GRAPH_CONV:
        return run_conv(run, node, y);
    case GRAPH_CONV_TRANSPOSE:
        return run_conv_transpose(run, node, &x, y);
    case GRAPH_BATCH_NORM:
        run_batch_norm(node, &x, y);
        break;
    case GRAPH_RELU:
        run_relu(&x, y);
        break;
    case GRAPH_MAX_POOL:
        run_max_pool(&x, node->stride, y);
        break;
    case GRAPH_UPSAMPLE:
        run_upsample(&x, y);
        break;
    case GRAPH_PAD:
        run_pad(&x, run->graph->values[node->inputs[0]].zero, y);
        break;
    case GRAPH_CONCAT:
        run_concat(run, node, y);
        break;
    case GRAPH_OP_COUNT:
        break;
    }
    return UNET_OK;
}

/* The op's result, padded where it is to be. On failure y->data may still have to be freed. */
static unet_status compute(struct run *run, const struct graph_node *node, struct tensor *y)
{
    struct graph_node own = *node;
    bool pads = node->op != GRAPH_PAD && node->op != GRAPH_CONV && node->op != GRAPH_CONCAT &&
                node->input_count == 2;
    if (pads)
        own.input_count = 1;
    TRY(new_tensor(y, graph_node_channels(run->graph, node), graph_node_size(&own, run->sizes),
                   run->error));
    TRY(run_op(run, &own, y));
    uint8_t zero = node->output != GRAPH_NONE ? run->graph->values[node->output].zero : 0;
    return pads ? pad_like(y, zero, run->sizes[node->inputs[1]], run->error) : UNET_OK;
}

static unet_status add_fused(struct run *run, const struct graph_node *node, const struct tensor *y)
{
    struct tensor result;
    if (node->pooled != GRAPH_NONE) {
        TRY(new_tensor(&result, y->channels, run->sizes[node->pooled], run->error));
        run->data[node->pooled] = result.data;
        run_max_pool(y, 2, &result);
        round_to_type(&result, run->graph->values[node->pooled].type);
    }
    if (node->head != GRAPH_NONE) {
        int channels = run->graph->values[node->head].channels;
        TRY(new_tensor(&result, channels, run->sizes[node->head], run->error));
        run->data[node->head] = result.data;
        run_head(node, y, &result);
    }
    return UNET_OK;
}

static void free_if_unread(struct run *run, int value)
{
    if (value == GRAPH_NONE || run->readers[value] > 0)
        return;
    memory_free(run->data[value]);
    run->data[value] = NULL;
}

static unet_status run_node(struct run *run, const struct graph_node *node)
{
    struct tensor y = {0};
    unet_status status = compute(run, node, &y);
    if (status == UNET_OK)
        status = add_fused(run, node, &y);
    if (node->output != GRAPH_NONE) {
        run->data[node->output] = y.data;
        if (status == UNET_OK)
            round_to_type(&y, run->graph->values[node->output].type);
    } else {
        memory_free(y.data);
    }
    TRY(status);
    for (int i = 0; i < node->input_count; i++)
        run->readers[node->inputs[i]]--;
    for (int i = 0; i < node->input_count; i++)
        free_if_unread(run, node->inputs[i]);
    free_if_unread(run, node->output);
    free_if_unread(run, node->pooled);
    free_if_unread(run, node->head);
    return UNET_OK;
}

static void count_readers(struct run *run)
{
    run->readers[run->graph->output]++;
    for (int i = 0; i < run->graph->node_count; i++)
        for (int k = 0; k < run->graph->nodes[i].input_count; k++)
            run->readers[run->graph->nodes[i].inputs[k]]++;
}

static unet_status run_all(struct run *run, const float *input, float *output)
{
    int first = run->graph->input, last = run->graph->output;
    struct tensor x;
    TRY(new_tensor(&x, run->graph->values[first].channels, run->sizes[first], run->error));
    run->data[first] = x.data;
    memcpy(x.data, input, (size_t)x.channels * plane_size(&x) * sizeof *input);
    for (int i = 0; i < run->graph->node_count; i++)
        TRY(run_node(run, &run->graph->nodes[i]));
    struct tensor y = value_tensor(run, last);
    memcpy(output, y.data, (size_t)y.channels * plane_size(&y) * sizeof *output);
    return UNET_OK;
}

unet_status graph_reference_run(const struct graph *graph, const float *input, int height,
                                int width, float *output, unet_error *error)
{
    size_t count = (size_t)graph->value_count;
    struct graph_size *sizes = memory_alloc_array(count, sizeof *sizes);
    struct run run = {.graph = graph,
                      .sizes = sizes,
                      .data = memory_calloc(count, sizeof *run.data),
                      .readers = memory_calloc(count, sizeof *run.readers),
                      .error = error};
    unet_status status = UNET_ERROR_MEMORY;
    if (sizes == NULL || run.data == NULL || run.readers == NULL)
        error_memory(error, count * sizeof *sizes, "the reference");
    else
        status = graph_infer(graph, height, width, sizes, error);
    if (status == UNET_OK) {
        count_readers(&run);
        status = run_all(&run, input, output);
    }
    for (size_t i = 0; run.data != NULL && i < count; i++)
        memory_free(run.data[i]);
    memory_free(run.readers);
    memory_free(run.data);
    memory_free(sizes);
    return status;
}
