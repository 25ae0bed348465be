/* Times of every kernel on the layers of a U-Net of width 64 at 512 × 512. Several launches between
 * two marks; the median of rounds. Inputs are zeros: what they are hardly changes the time of a
 * GPU's kernel, but for its clock. */
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAUNCHES    10
#define MOST_ROUNDS 99

static const struct layer {
    const char *name;
    enum kernel_op op;
    int sources[2], out, side; /* side: of the sources */
    int window;
    bool pool;
    int head;
    bool input; /* reads the caller's planes where it can */
} layers[] = {
    {"load", KERNEL_LOAD, {3}, 3, 512, 0, false, 0, true},
    {"first", KERNEL_CONV, {3}, 64, 512, 3, false, 0, true},
    {"64-64@512", KERNEL_CONV, {64}, 64, 512, 3, false, 0, false},
    {"64-64@512pool", KERNEL_CONV, {64}, 64, 512, 3, true, 0, false},
    {"64-64@512head", KERNEL_CONV, {64}, 64, 512, 3, false, 2, false},
    {"64+64-64@512", KERNEL_CONV, {64, 64}, 64, 512, 3, false, 0, false},
    {"64-128@256", KERNEL_CONV, {64}, 128, 256, 3, false, 0, false},
    {"128-128@256", KERNEL_CONV, {128}, 128, 256, 3, false, 0, false},
    {"256-256@128", KERNEL_CONV, {256}, 256, 128, 3, false, 0, false},
    {"512-512@64", KERNEL_CONV, {512}, 512, 64, 3, false, 0, false},
    {"512-512@32", KERNEL_CONV, {512}, 512, 32, 3, false, 0, false},
    {"512+512-512@64", KERNEL_CONV, {512, 512}, 512, 64, 3, false, 0, false},
    {"1x1", KERNEL_CONV, {64}, 2, 512, 1, false, 0, false},
    {"pool@512", KERNEL_MAX_POOL, {64}, 64, 512, 2, false, 0, false},
    {"up@256", KERNEL_UPSAMPLE, {64}, 64, 256, 0, false, 0, false},
    {"up@32", KERNEL_UPSAMPLE, {512}, 512, 32, 0, false, 0, false},
    {"transposed@256", KERNEL_CONV_TRANSPOSE, {128}, 64, 256, 2, false, 0, false},
    {"transposed@32", KERNEL_CONV_TRANSPOSE, {1024}, 512, 32, 2, false, 0, false},
    {"store", KERNEL_STORE, {2}, 2, 512, 0, false, 0, false},
};

#define LAYERS (sizeof layers / sizeof layers[0])

static struct kernel_desc describe(const struct layer *layer, const struct bench_options *options)
{
    bool first = layer->input;
    struct kernel_desc desc = {
        .op = layer->op,
        .in_type = first ? KERNEL_F32 : options->type,
        .out_type = layer->op == KERNEL_STORE ? KERNEL_F32 : options->type,
        .pooled_type = options->type,
        .source_count = layer->sources[1] > 0 ? 2 : 1,
        .source_channels = {layer->sources[0], layer->sources[1]},
        .out_channels = layer->out,
        .relu = layer->window == 3,
        .tf32 = options->tf32,
        .store_out = layer->head == 0,
        .pool = layer->pool,
        .head_channels = layer->head,
    };
    desc.kernel_h = desc.kernel_w = layer->window;
    desc.stride = layer->op == KERNEL_CONV ? 1 : 2;
    desc.padding = layer->window == 3;
    return desc;
}

/* A layer's tensors and weights in the device's memory. */
struct stage {
    const struct gpu *gpu;
    void *memory[8];
    int count;
    struct kernel_args args;
    size_t bytes; /* that are read and written */
};

static unet_status stage_alloc(struct stage *stage, size_t bytes, void **memory, unet_error *error)
{
    const struct device_backend *backend = stage->gpu->backend;
    TRY(backend->alloc(stage->gpu->device, bytes, memory, error));
    stage->memory[stage->count++] = *memory;
    stage->bytes += bytes;
    return backend->clear(stage->gpu->stream, *memory, bytes, error);
}

static unet_status stage_tensors(struct stage *stage, const struct layer *layer,
                                 const struct kernel_desc *desc, const struct kernel *kernel,
                                 int batch, unet_error *error)
{
    struct kernel_args *args = &stage->args;
    int side = layer->side, to = side;
    to = layer->op == KERNEL_UPSAMPLE || layer->op == KERNEL_CONV_TRANSPOSE ? 2 * side : to;
    to = layer->op == KERNEL_MAX_POOL ? side / 2 : to;
    args->from_input = kernel->reads_input && layer->input;
    for (int s = 0; s < desc->source_count; s++) {
        struct blocked *t = &args->sources[s];
        size_t bytes = nhwc_init(t, desc->in_type, desc->source_channels[s], side, side, batch);
        if (!args->from_input && layer->op != KERNEL_LOAD)
            TRY(stage_alloc(stage, bytes, &t->data, error));
    }
    size_t planes = (size_t)batch * (size_t)side * (size_t)side * sizeof(float);
    void *memory;
    if (args->from_input || layer->op == KERNEL_LOAD) {
        TRY(stage_alloc(stage, planes * (size_t)desc->source_channels[0], &memory, error));
        args->planar_in = memory;
    }
    if (layer->op == KERNEL_STORE || desc->head_channels > 0) {
        TRY(stage_alloc(stage, planes * (size_t)(desc->head_channels + desc->out_channels), &memory,
                        error));
        args->planar_out = memory;
    }
    if (desc->store_out && layer->op != KERNEL_STORE)
        TRY(stage_alloc(stage,
                        nhwc_init(&args->out, desc->out_type, desc->out_channels, to, to, batch),
                        &args->out.data, error));
    if (desc->pool)
        TRY(stage_alloc(stage,
                        nhwc_init(&args->pooled, desc->pooled_type, desc->out_channels, side / 2,
                                  side / 2, batch),
                        &args->pooled.data, error));
    return UNET_OK;
}

static unet_status stage_weights(struct stage *stage, const struct kernel_desc *desc,
                                 const struct kernel *kernel, unet_error *error)
{
    size_t bytes = kernel->packed_bytes(kernel, desc);
    size_t scratch = kernel->scratch_bytes(kernel, desc, &stage->args);
    void *memory;
    TRY(stage_alloc(stage, bytes + 1, &memory, error));
    stage->args.packed = memory;
    TRY(stage_alloc(stage, scratch + 1, &memory, error));
    stage->args.scratch = memory;
    struct kernel_weights none = {0};
    void *packed = need(calloc(bytes + 1, 1));
    kernel->pack(kernel, desc, &none, packed);
    unet_status status = stage->gpu->backend->upload(
        stage->gpu->stream, memory = (void *)stage->args.packed, packed, bytes + 1, error);
    if (status == UNET_OK)
        status = stage->gpu->backend->wait(stage->gpu->stream, error);
    free(packed);
    return status;
}

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static unet_status time_rounds(struct stage *stage, const struct kernel_desc *desc,
                               const struct kernel *kernel, int rounds, double *median,
                               unet_error *error)
{
    const struct device_backend *backend = stage->gpu->backend;
    struct device_stream *stream = stage->gpu->stream;
    double seconds[MOST_ROUNDS];
    TRY(kernel->launch(kernel, desc, &stage->args, stream, error));
    for (int round = 0; round < rounds; round++) {
        TRY(backend->mark(stream, 0, error));
        for (int i = 0; i < LAUNCHES; i++)
            TRY(kernel->launch(kernel, desc, &stage->args, stream, error));
        TRY(backend->mark(stream, 1, error));
        TRY(backend->wait(stream, error));
        TRY(backend->elapsed(stream, 0, 1, &seconds[round], error));
    }
    qsort(seconds, (size_t)rounds, sizeof seconds[0], by_size);
    *median = seconds[rounds / 2] / LAUNCHES;
    return UNET_OK;
}

static double operations(const struct layer *layer, int batch)
{
    double pixels = (double)layer->side * layer->side * batch;
    double inputs = layer->sources[0] + layer->sources[1];
    double taps = layer->window * layer->window;
    bool multiplies = layer->op == KERNEL_CONV || layer->op == KERNEL_CONV_TRANSPOSE;
    return multiplies ? 2.0 * pixels * inputs * layer->out * taps : 0.0;
}

static unet_status bench_one(const struct gpu *gpu, const struct layer *layer,
                             const struct kernel *kernel, const struct bench_options *options,
                             unet_error *error)
{
    struct kernel_desc desc = describe(layer, options);
    struct stage stage = {.gpu = gpu};
    double median = 0.0;
    char text[160];
    if (gpu_refuses(gpu, kernel, &desc, text, sizeof text) != NULL)
        return UNET_OK;
    unet_status status = stage_tensors(&stage, layer, &desc, kernel, options->batch, error);
    if (status == UNET_OK)
        status = stage_weights(&stage, &desc, kernel, error);
    if (status == UNET_OK)
        status = time_rounds(&stage, &desc, kernel, options->rounds, &median, error);
    for (int i = 0; i < stage.count; i++)
        gpu->backend->free(gpu->device, stage.memory[i]);
    if (status == UNET_OK)
        printf("%-16s %-4s %-28s %9.1f us %7.1f TFLOP/s %6.0f GB/s\n", layer->name,
               kernel_type_name(options->type), kernel->name, median * 1e6,
               operations(layer, options->batch) / median * 1e-12,
               (double)stage.bytes / median * 1e-9);
    return status;
}

bool bench_run(const struct gpu *gpu, const struct bench_options *options)
{
    bool all = true;
    for (size_t i = 0; i < LAYERS; i++) {
        const struct layer *layer = &layers[i];
        if (options->layer != NULL && strstr(layer->name, options->layer) == NULL)
            continue;
        for (const struct kernel *const *k = gpu->backend->kernels; *k != NULL; k++) {
            unet_error error;
            if ((*k)->op != layer->op ||
                (options->filter != NULL && strstr((*k)->name, options->filter) == NULL))
                continue;
            if (bench_one(gpu, layer, *k, options, &error) != UNET_OK) {
                printf("%-16s %-28s %s\n", layer->name, (*k)->name, error.message);
                all = false;
            }
        }
    }
    return all;
}
