#include "kernels/cuda/cudnn_graph.h"

#include <string.h>

#define ALIGNMENT 16 /* bytes, of all tensors */
#define MOST_OPS  3

cudnnBackendDescriptor_t cudnn_graph_new(struct cudnn_graph *graph,
                                         cudnnBackendDescriptorType_t type)
{
    cudnnBackendDescriptor_t made = NULL;
    if (graph->status != CUDNN_STATUS_SUCCESS)
        return NULL;
    if (graph->made_count == CUDNN_MOST_MADE) {
        graph->status = CUDNN_STATUS_INTERNAL_ERROR;
        return NULL;
    }
    graph->status = graph->library->create_descriptor(type, &made);
    if (graph->status == CUDNN_STATUS_SUCCESS)
        graph->made[graph->made_count++] = made;
    return made;
}

static void set(struct cudnn_graph *graph, cudnnBackendDescriptor_t of,
                cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                const void *values)
{
    if (graph->status == CUDNN_STATUS_SUCCESS)
        graph->status = graph->library->set_attribute(of, name, type, count, values);
}

static void set_descriptor(struct cudnn_graph *graph, cudnnBackendDescriptor_t of,
                           cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value)
{
    set(graph, of, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void set_number(struct cudnn_graph *graph, cudnnBackendDescriptor_t of,
                       cudnnBackendAttributeName_t name, int64_t value)
{
    set(graph, of, name, CUDNN_TYPE_INT64, 1, &value);
}

static void set_type(struct cudnn_graph *graph, cudnnBackendDescriptor_t of,
                     cudnnBackendAttributeName_t name, cudnnDataType_t value)
{
    set(graph, of, name, CUDNN_TYPE_DATA_TYPE, 1, &value);
}

static void finish(struct cudnn_graph *graph, cudnnBackendDescriptor_t made)
{
    if (graph->status == CUDNN_STATUS_SUCCESS)
        graph->status = graph->library->finalize(made);
}

/* ---------------------------------------------------------------- tensors */

static cudnnDataType_t data_type(const struct cudnn_conv *conv)
{
    return conv->type == KERNEL_F16    ? CUDNN_DATA_HALF
           : conv->type == KERNEL_BF16 ? CUDNN_DATA_BFLOAT16
                                       : CUDNN_DATA_FLOAT;
}

/* Sizes and strides in the order N, C, H, W. Virtual: between two operations, never in memory. */
static cudnnBackendDescriptor_t tensor(struct cudnn_graph *graph, int64_t id, cudnnDataType_t type,
                                       const int64_t size[4], const int64_t stride[4],
                                       bool is_virtual)
{
    cudnnBackendDescriptor_t made = cudnn_graph_new(graph, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set_type(graph, made, CUDNN_ATTR_TENSOR_DATA_TYPE, type);
    set(graph, made, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, size);
    set(graph, made, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride);
    set_number(graph, made, CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
    set_number(graph, made, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, ALIGNMENT);
    set(graph, made, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    finish(graph, made);
    return made;
}

static cudnnBackendDescriptor_t input(struct cudnn_graph *graph, const struct cudnn_conv *c)
{
    const int64_t size[] = {c->images, c->in_channels, c->in_height, c->in_width};
    const int64_t stride[] = {c->x_stride[0], 1, c->x_stride[1], c->x_stride[2]};
    return tensor(graph, CUDNN_X, data_type(c), size, stride, false);
}

static cudnnBackendDescriptor_t weights(struct cudnn_graph *graph, const struct cudnn_conv *c)
{
    const int64_t size[] = {c->out_channels, c->in_channels, c->kernel_h, c->kernel_w};
    const int64_t stride[] = {c->kernel_h * c->kernel_w * c->in_channels, 1,
                              c->kernel_w * c->in_channels, c->in_channels};
    return tensor(graph, CUDNN_WEIGHTS, data_type(c), size, stride, false);
}

static cudnnBackendDescriptor_t bias(struct cudnn_graph *graph, const struct cudnn_conv *c)
{
    const int64_t size[] = {1, c->out_channels, 1, 1};
    const int64_t stride[] = {c->out_channels, 1, c->out_channels, c->out_channels};
    return tensor(graph, CUDNN_BIAS, CUDNN_DATA_FLOAT, size, stride, false);
}

static cudnnBackendDescriptor_t result(struct cudnn_graph *graph, const struct cudnn_conv *c,
                                       int64_t id)
{
    const int64_t size[] = {c->images, c->out_channels, c->out_height, c->out_width};
    const int64_t stride[] = {c->y_stride[0], 1, c->y_stride[1], c->y_stride[2]};
    bool last = id == CUDNN_Y;
    return tensor(graph, id, last ? data_type(c) : CUDNN_DATA_FLOAT, size, stride, !last);
}

/* ---------------------------------------------------------------- operations */

static cudnnBackendDescriptor_t window(struct cudnn_graph *graph, const struct cudnn_conv *conv)
{
    const int64_t padding[] = {conv->padding, conv->padding};
    const int64_t stride[] = {conv->stride, conv->stride}, dilation[] = {1, 1};
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    cudnnBackendDescriptor_t made = cudnn_graph_new(graph, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set_number(graph, made, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 2);
    set_type(graph, made, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    set(graph, made, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(graph, made, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, padding);
    set(graph, made, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, padding);
    set(graph, made, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    set(graph, made, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation);
    finish(graph, made);
    return made;
}

static cudnnBackendDescriptor_t
convolution(struct cudnn_graph *graph, const struct cudnn_conv *conv, cudnnBackendDescriptor_t to)
{
    const float one = 1.0f, zero = 0.0f;
    cudnnBackendDescriptor_t x = input(graph, conv), w = weights(graph, conv);
    cudnnBackendDescriptor_t how = window(graph, conv);
    cudnnBackendDescriptor_t made =
        cudnn_graph_new(graph, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    set_descriptor(graph, made, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, how);
    set_descriptor(graph, made, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
    set_descriptor(graph, made, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w);
    set_descriptor(graph, made, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, to);
    set(graph, made, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &one);
    set(graph, made, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &zero);
    finish(graph, made);
    return made;
}

/* `beside`: the second operand, of those that have one. */
static cudnnBackendDescriptor_t pointwise(struct cudnn_graph *graph, cudnnPointwiseMode_t mode,
                                          cudnnBackendDescriptor_t from,
                                          cudnnBackendDescriptor_t beside,
                                          cudnnBackendDescriptor_t to)
{
    cudnnBackendDescriptor_t how = cudnn_graph_new(graph, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(graph, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set_type(graph, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
    finish(graph, how);
    cudnnBackendDescriptor_t made =
        cudnn_graph_new(graph, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_descriptor(graph, made, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    set_descriptor(graph, made, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, from);
    if (beside != NULL)
        set_descriptor(graph, made, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, beside);
    set_descriptor(graph, made, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, to);
    finish(graph, made);
    return made;
}

static cudnnBackendDescriptor_t operations(struct cudnn_graph *graph, cudnnHandle_t handle,
                                           const struct cudnn_conv *conv)
{
    bool relu = conv->relu != 0;
    cudnnBackendDescriptor_t ops[MOST_OPS];
    cudnnBackendDescriptor_t y = result(graph, conv, CUDNN_Y);
    cudnnBackendDescriptor_t sum = result(graph, conv, CUDNN_BEFORE_BIAS);
    cudnnBackendDescriptor_t biased = relu ? result(graph, conv, CUDNN_BEFORE_RELU) : y;
    ops[0] = convolution(graph, conv, sum);
    ops[1] = pointwise(graph, CUDNN_POINTWISE_ADD, sum, bias(graph, conv), biased);
    if (relu)
        ops[2] = pointwise(graph, CUDNN_POINTWISE_RELU_FWD, biased, NULL, y);
    cudnnBackendDescriptor_t made = cudnn_graph_new(graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(graph, made, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, relu ? 3 : 2,
        ops);
    set(graph, made, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    finish(graph, made);
    return made;
}

/* ---------------------------------------------------------------- engines */

static void add_configs(struct cudnn_graph *graph, cudnnBackendDescriptor_t ops,
                        cudnnBackendHeurMode_t mode)
{
    int64_t count = 0, room = CUDNN_MOST_CONFIGS - graph->config_count;
    cudnnBackendDescriptor_t *configs = graph->configs + graph->config_count;
    cudnnBackendDescriptor_t asked = cudnn_graph_new(graph, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set_descriptor(graph, asked, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, ops);
    set(graph, asked, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    finish(graph, asked);
    for (int64_t i = 0; i < room && graph->status == CUDNN_STATUS_SUCCESS; i++) {
        graph->status =
            graph->library->create_descriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &configs[i]);
        graph->config_count += graph->status == CUDNN_STATUS_SUCCESS;
    }
    if (graph->status == CUDNN_STATUS_SUCCESS)
        graph->status =
            graph->library->get_attribute(asked, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, room, &count, configs);
    while (configs + (count < room ? count : room) < graph->configs + graph->config_count)
        (void)graph->library->destroy_descriptor(graph->configs[--graph->config_count]);
}

/* What an engine says of its arithmetic; none where it says nothing. */
static int64_t notes_of(const struct cudnn_library *library, cudnnBackendDescriptor_t config,
                        cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT])
{
    int64_t count = 0, engines = 0;
    cudnnBackendDescriptor_t engine = NULL;
    if (library->create_descriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) !=
        CUDNN_STATUS_SUCCESS)
        return 0;
    if (library->get_attribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                               1, &engines, &engine) != CUDNN_STATUS_SUCCESS ||
        library->get_attribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                               CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count,
                               notes) != CUDNN_STATUS_SUCCESS)
        count = 0;
    (void)library->destroy_descriptor(engine);
    return count < CUDNN_NUMERICAL_NOTE_TYPE_COUNT ? count : CUDNN_NUMERICAL_NOTE_TYPE_COUNT;
}

bool cudnn_graph_keeps_precision(const struct cudnn_graph *graph, cudnnBackendDescriptor_t config)
{
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t count = notes_of(graph->library, config, notes);
    for (int64_t i = 0; i < count; i++)
        switch (notes[i]) {
        case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
        case CUDNN_NUMERICAL_NOTE_FFT:
        case CUDNN_NUMERICAL_NOTE_WINOGRAD:
        case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4:
        case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
        case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13:
            return false;
        default:
            break;
        }
    return true;
}

void cudnn_graph_make(struct cudnn_graph *graph, const struct cudnn_library *library,
                      cudnnHandle_t handle, const struct cudnn_conv *conv)
{
    static const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    *graph = (struct cudnn_graph){.library = library, .status = CUDNN_STATUS_SUCCESS};
    cudnnBackendDescriptor_t ops = operations(graph, handle, conv);
    if (graph->status != CUDNN_STATUS_SUCCESS)
        return;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        add_configs(graph, ops, modes[i]);
        graph->status = CUDNN_STATUS_SUCCESS; /* a mode that knows nothing is none */
    }
}

void cudnn_graph_clear(struct cudnn_graph *graph)
{
    while (graph->config_count > 0)
        (void)graph->library->destroy_descriptor(graph->configs[--graph->config_count]);
    while (graph->made_count > 0)
        (void)graph->library->destroy_descriptor(graph->made[--graph->made_count]);
}
