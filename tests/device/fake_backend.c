/* Streams of the device that is none. What is enqueued runs when somebody waits, not before: who
 * reads too early reads what was there. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "fake.h"

struct device {
    int index;
    struct device_facts facts;
};

enum op_kind { OP_LAUNCH, OP_COPY, OP_CLEAR, OP_MARK, OP_GRAPH };

struct op {
    enum op_kind kind;
    const struct kernel *kernel;
    struct kernel_desc desc;
    struct kernel_args args;
    void *to;         /* of the host, translated */
    const void *from; /* the same */
    void *held;       /* what an upload took out of memory that is not page-locked */
    size_t bytes;
    int mark;
    struct device_graph *graph;
};

struct queue {
    struct op *ops;
    int count, capacity;
};

struct device_graph {
    struct queue queue;
    int waiting; /* launches that have not run yet */
};

struct device_stream {
    struct queue queue;
    struct device_graph *capturing;
    double marks[DEVICE_MARKS];
    double clock; /* in seconds; what is launched moves it on, by what it does and nothing else */
};

/* Many threads have streams of their own. */
static struct {
    atomic_long launches, captures, replays, uploads, downloads, live_objects;
} counts;

__attribute__((visibility("default"))) fake_counts_function fake_counts_now;

struct fake_counts fake_counts_now(void)
{
    return (struct fake_counts){counts.launches,    counts.captures,  counts.replays,
                                counts.uploads,     counts.downloads, fake_live_bytes(),
                                counts.live_objects};
}

/* ---------------------------------------------------------------- devices */

static unet_status count_devices(int *count, unet_error *error)
{
    (void)error;
    const char *text = getenv("UNET_FAKE_DEVICES");
    *count = text != NULL ? atoi(text) : 1;
    return UNET_OK;
}

static unet_status open_device(int index, struct device **device, unet_error *error)
{
    struct device *made = calloc(1, sizeof *made);
    if (made == NULL)
        return error_set(error, UNET_ERROR_MEMORY, "no memory for a device");
    made->index = index;
    made->facts = (struct device_facts){.name = "A device of the tests",
                                        .architecture = "sm_90",
                                        .compute = FAKE_COMPUTE,
                                        .multiprocessors = 1,
                                        .memory_bytes = (size_t)1 << 32,
                                        .l2_bytes = (size_t)1 << 16,
                                        .driver = "1.0",
                                        .runtime = "1.1",
                                        .libraries = "none 0"};
    counts.live_objects++;
    *device = made;
    return UNET_OK;
}

static void close_device(struct device *device)
{
    counts.live_objects -= device != NULL;
    free(device);
}

static const struct device_facts *facts_of(const struct device *device)
{
    return &device->facts;
}

static const char *refusal(const struct device *device, const struct kernel *kernel, char *text,
                           size_t bytes)
{
    if (kernel->compute_least <= device->facts.compute)
        return NULL;
    snprintf(text, bytes, "needs sm_%d, this is %s", kernel->compute_least,
             device->facts.architecture);
    return text;
}

/* ---------------------------------------------------------------- memory */

static unet_status given(void *made, size_t bytes, void **memory, unet_error *error)
{
    if (made == NULL)
        return error_set(error, UNET_ERROR_MEMORY,
                         "the device has no %zu bytes left: use smaller images", bytes);
    *memory = made;
    return UNET_OK;
}

static unet_status alloc(struct device *device, size_t bytes, void **memory, unet_error *error)
{
    (void)device;
    return given(fake_memory_new(bytes), bytes, memory, error);
}

static void release(struct device *device, void *memory)
{
    (void)device;
    fake_memory_free(memory);
}

static unet_status alloc_host(struct device *device, size_t bytes, void **memory, unet_error *error)
{
    (void)device;
    return given(fake_locked_new(bytes), bytes, memory, error);
}

static void free_host(struct device *device, void *memory)
{
    (void)device;
    fake_locked_free(memory);
}

/* ---------------------------------------------------------------- running */

static void run_queue(struct device_stream *stream, struct queue *queue);

static void run_op(struct device_stream *stream, struct op *op)
{
    switch (op->kind) {
    case OP_LAUNCH:
        counts.launches++;
        stream->clock += fake_seconds(op->kernel, &op->desc, &op->args);
        fake_execute(op->kernel, &op->desc, &op->args);
        break;
    case OP_COPY:
        memcpy(op->to, op->held != NULL ? op->held : op->from, op->bytes);
        break;
    case OP_CLEAR:
        memset(op->to, 0, op->bytes);
        break;
    case OP_MARK:
        stream->marks[op->mark] = stream->clock;
        break;
    case OP_GRAPH:
        counts.replays++;
        op->graph->waiting--;
        run_queue(stream, &op->graph->queue);
        break;
    }
}

static void run_queue(struct device_stream *stream, struct queue *queue)
{
    for (int i = 0; i < queue->count; i++)
        run_op(stream, &queue->ops[i]);
}

static void empty(struct queue *queue)
{
    for (int i = 0; i < queue->count; i++)
        free(queue->ops[i].held);
    queue->count = 0;
}

static unet_status wait(struct device_stream *stream, unet_error *error)
{
    if (stream->capturing != NULL)
        return error_set(error, UNET_ERROR_DEVICE, "who captures cannot wait");
    run_queue(stream, &stream->queue);
    empty(&stream->queue);
    return UNET_OK;
}

/* ---------------------------------------------------------------- enqueueing */

static unet_status push(struct device_stream *stream, const struct op *op, unet_error *error)
{
    struct queue *queue = &stream->queue;
    if (stream->capturing != NULL) {
        if (op->kind != OP_LAUNCH)
            return error_set(error, UNET_ERROR_DEVICE, "kernels alone can be captured here");
        queue = &stream->capturing->queue;
    }
    if (queue->count == queue->capacity) {
        queue->capacity = 2 * queue->capacity + 16;
        queue->ops = realloc(queue->ops, (size_t)queue->capacity * sizeof *queue->ops);
    }
    queue->ops[queue->count++] = *op;
    return UNET_OK;
}

unet_status fake_enqueue(const struct kernel *kernel, const struct kernel_desc *desc,
                         const struct kernel_args *args, struct device_stream *stream,
                         unet_error *error)
{
    const char *fails = getenv("UNET_FAKE_FAILS");
    if (fails != NULL && strcmp(fails, kernel->name) == 0)
        return error_set(error, UNET_ERROR_DEVICE, "it was told to fail");
    if (stream->capturing != NULL && getenv("UNET_FAKE_NO_CAPTURE") != NULL)
        return error_set(error, UNET_ERROR_DEVICE, "it cannot be captured");
    const struct op op = {.kind = OP_LAUNCH, .kernel = kernel, .desc = *desc, .args = *args};
    return push(stream, &op, error);
}

/* Memory that is not page-locked is free again on return, as on a real device. */
static unet_status upload(struct device_stream *stream, void *to, const void *from, size_t bytes,
                          unet_error *error)
{
    struct op op = {.kind = OP_COPY, .to = fake_host_address(to), .from = from, .bytes = bytes};
    if (!fake_is_locked(from, bytes)) {
        op.held = malloc(bytes);
        memcpy(op.held, from, bytes);
    }
    counts.uploads++;
    return push(stream, &op, error);
}

static unet_status download(struct device_stream *stream, void *to, const void *from, size_t bytes,
                            unet_error *error)
{
    struct op op = {.kind = OP_COPY, .to = to, .from = fake_host_address(from), .bytes = bytes};
    unet_status status = push(stream, &op, error);
    counts.downloads++;
    if (status == UNET_OK && !fake_is_locked(to, bytes))
        return wait(stream, error);
    return status;
}

static unet_status copy(struct device_stream *stream, void *to, const void *from, size_t bytes,
                        unet_error *error)
{
    const struct op op = {.kind = OP_COPY,
                          .to = fake_host_address(to),
                          .from = fake_host_address(from),
                          .bytes = bytes};
    return push(stream, &op, error);
}

static unet_status clear(struct device_stream *stream, void *memory, size_t bytes,
                         unet_error *error)
{
    const struct op op = {.kind = OP_CLEAR, .to = fake_host_address(memory), .bytes = bytes};
    return push(stream, &op, error);
}

static unet_status mark(struct device_stream *stream, int index, unet_error *error)
{
    const struct op op = {.kind = OP_MARK, .mark = index};
    if (index < 0 || index >= DEVICE_MARKS)
        return error_set(error, UNET_ERROR_DEVICE, "there is no mark %d", index);
    return push(stream, &op, error);
}

static unet_status elapsed(struct device_stream *stream, int from, int to, double *seconds,
                           unet_error *error)
{
    (void)error;
    *seconds = stream->marks[to] - stream->marks[from];
    return UNET_OK;
}

/* ---------------------------------------------------------------- streams and graphs */

static unet_status stream_open(struct device *device, struct device_stream **stream,
                               unet_error *error)
{
    (void)device;
    struct device_stream *made = calloc(1, sizeof *made);
    if (made == NULL)
        return error_set(error, UNET_ERROR_MEMORY, "no memory for a stream");
    counts.live_objects++;
    *stream = made;
    return UNET_OK;
}

static void stream_close(struct device_stream *stream)
{
    if (stream == NULL)
        return;
    empty(&stream->queue);
    free(stream->queue.ops);
    free(stream);
    counts.live_objects--;
}

static void graph_free(struct device_graph *graph)
{
    if (graph == NULL)
        return;
    if (graph->waiting > 0) {
        fprintf(stderr, "fake device: a graph is freed that has yet to run\n");
        abort();
    }
    free(graph->queue.ops);
    free(graph);
    counts.live_objects--;
}

static unet_status capture_begin(struct device_stream *stream, unet_error *error)
{
    if (stream->capturing != NULL)
        return error_set(error, UNET_ERROR_DEVICE, "it captures already");
    stream->capturing = calloc(1, sizeof *stream->capturing);
    counts.live_objects++;
    return UNET_OK;
}

static unet_status capture_end(struct device_stream *stream, struct device_graph **graph,
                               unet_error *error)
{
    if (stream->capturing == NULL)
        return error_set(error, UNET_ERROR_DEVICE, "nothing is captured");
    *graph = stream->capturing;
    stream->capturing = NULL;
    counts.captures++;
    return UNET_OK;
}

static unet_status graph_launch(struct device_stream *stream, struct device_graph *graph,
                                unet_error *error)
{
    const struct op op = {.kind = OP_GRAPH, .graph = graph};
    graph->waiting++;
    return push(stream, &op, error);
}

/* Twice what its kernels reach by its own clock. */
static unet_status gemm_rate(struct device *device, enum kernel_type type, bool tf32, double *flops,
                             unet_error *error)
{
    (void)device, (void)tf32, (void)error;
    *flops = 4e9 / (double)kernel_type_bytes(type);
    return UNET_OK;
}

/* ---------------------------------------------------------------- the table */

__attribute__((visibility("default"))) device_backend_function device_backend_table;

#ifndef FAKE_ABI
#define FAKE_ABI DEVICE_ABI
#endif

const struct device_backend *device_backend_table(void)
{
    static const struct device_backend table = {
        .abi = FAKE_ABI,
        .kernel_bytes = sizeof(struct kernel),
        .desc_bytes = sizeof(struct kernel_desc),
        .args_bytes = sizeof(struct kernel_args),
        .name = "fake",
        .kernels = fake_kernels,
        .count = count_devices,
        .open = open_device,
        .close = close_device,
        .facts = facts_of,
        .refusal = refusal,
        .alloc = alloc,
        .free = release,
        .alloc_host = alloc_host,
        .free_host = free_host,
        .stream_open = stream_open,
        .stream_close = stream_close,
        .upload = upload,
        .download = download,
        .copy = copy,
        .clear = clear,
        .wait = wait,
        .capture_begin = capture_begin,
        .capture_end = capture_end,
        .graph_launch = graph_launch,
        .graph_free = graph_free,
        .mark = mark,
        .elapsed = elapsed,
        .gemm_rate = gemm_rate,
    };
    return &table;
}
