#include "kernels/cuda/cudnn_plans.h"

#include "base/memory.h"
#include "kernels/cuda/cudnn_graph.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* A convolution's plans, found as far as they have been asked for. */
struct entry {
    struct cudnn_conv conv;
    struct cudnn_graph graph;
    int tried; /* of the graph's configurations */
    cudnnBackendDescriptor_t plans[CUDNN_PLANS];
    int plan_count;
    struct entry *next;
};

struct cudnn_plans {
    const struct cudnn_library *library;
    cudnnHandle_t handle;
    pthread_mutex_t lock; /* a handle has one stream at a time */
    struct entry *entries;
};

static unet_status check(const struct cudnn_library *library, cudnnStatus_t status,
                         const char *doing, unet_error *error)
{
    if (status == CUDNN_STATUS_SUCCESS)
        return UNET_OK;
    return error_set(error, UNET_ERROR_DEVICE, "cuDNN: %s: %s", doing,
                     library->get_error_string(status));
}

static unet_status open_plans(struct cudnn_plans **plans, unet_error *error)
{
    const struct cudnn_library *library = cudnn_library();
    if (library == NULL)
        return error_set(error, UNET_ERROR_DEVICE,
                         "cuDNN: libcudnn.so.9 is not on this machine, or UNET_CUDNN is not 1");
    struct cudnn_plans *opened = memory_calloc(1, sizeof *opened);
    if (opened == NULL)
        return error_memory(error, sizeof *opened, "cuDNN's plans");
    opened->library = library;
    unet_status status = check(library, library->create(&opened->handle), "starting", error);
    if (status != UNET_OK) {
        memory_free(opened);
        return status;
    }
    (void)pthread_mutex_init(&opened->lock, NULL);
    *plans = opened;
    return UNET_OK;
}

void cudnn_plans_version(char *text, size_t bytes)
{
    const struct cudnn_library *library = cudnn_library();
    size_t version = library != NULL ? library->get_version() : 0;
    text[0] = '\0';
    if (version > 0)
        snprintf(text, bytes, "cudnn %zu.%zu.%zu", version / 10000, version % 10000 / 100,
                 version % 100);
}

void cudnn_plans_close(struct cudnn_plans *plans)
{
    if (plans == NULL)
        return;
    for (struct entry *entry = plans->entries; entry != NULL;) {
        struct entry *next = entry->next;
        cudnn_graph_clear(&entry->graph);
        memory_free(entry);
        entry = next;
    }
    (void)plans->library->destroy(plans->handle);
    (void)pthread_mutex_destroy(&plans->lock);
    memory_free(plans);
}

/* ---------------------------------------------------------------- plans */

static struct entry *find_entry(struct cudnn_plans *plans, const struct cudnn_conv *conv)
{
    for (struct entry *entry = plans->entries; entry != NULL; entry = entry->next)
        if (memcmp(&entry->conv, conv, sizeof *conv) == 0)
            return entry;
    struct entry *entry = memory_calloc(1, sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->conv = *conv;
    cudnn_graph_make(&entry->graph, plans->library, plans->handle, conv);
    entry->next = plans->entries;
    plans->entries = entry;
    return entry;
}

/* NULL where this configuration does not run here, or wants too much memory. */
static cudnnBackendDescriptor_t plan_of(const struct cudnn_plans *plans, struct cudnn_graph *graph,
                                        cudnnBackendDescriptor_t config)
{
    const struct cudnn_library *library = plans->library;
    int64_t bytes = 0, count = 0;
    cudnnBackendDescriptor_t plan = cudnn_graph_new(graph, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    bool made =
        plan != NULL &&
        library->set_attribute(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1,
                               &plans->handle) == CUDNN_STATUS_SUCCESS &&
        library->set_attribute(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                               CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config) == CUDNN_STATUS_SUCCESS &&
        library->finalize(plan) == CUDNN_STATUS_SUCCESS &&
        library->get_attribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
                               &count, &bytes) == CUDNN_STATUS_SUCCESS;
    return made && bytes <= CUDNN_WORKSPACE ? plan : NULL;
}

/* Where there are fewer plans, the last: a kernel that was chosen for one size must run others. */
static cudnnBackendDescriptor_t find_plan(const struct cudnn_plans *plans, struct entry *entry,
                                          int plan)
{
    while (entry->plan_count <= plan && entry->tried < entry->graph.config_count) {
        cudnnBackendDescriptor_t config = entry->graph.configs[entry->tried++];
        if (!cudnn_graph_keeps_precision(&entry->graph, config))
            continue;
        cudnnBackendDescriptor_t made = plan_of(plans, &entry->graph, config);
        if (made != NULL)
            entry->plans[entry->plan_count++] = made;
    }
    if (entry->plan_count <= plan)
        plan = entry->plan_count - 1;
    return plan >= 0 ? entry->plans[plan] : NULL;
}

/* ---------------------------------------------------------------- a run */

static cudnnStatus_t execute(const struct cudnn_plans *plans, cudnnBackendDescriptor_t plan,
                             const struct cudnn_tensors *t)
{
    const struct cudnn_library *library = plans->library;
    const int64_t ids[] = {CUDNN_X, CUDNN_WEIGHTS, CUDNN_BIAS, CUDNN_Y};
    const void *data[] = {t->x, t->weights, t->bias, t->y};
    cudnnBackendDescriptor_t pack = NULL;
    cudnnStatus_t status = library->create_descriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    if (status == CUDNN_STATUS_SUCCESS)
        status = library->set_attribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64,
                                        4, ids);
    if (status == CUDNN_STATUS_SUCCESS)
        status = library->set_attribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                                        CUDNN_TYPE_VOID_PTR, 4, data);
    if (status == CUDNN_STATUS_SUCCESS)
        status = library->set_attribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE,
                                        CUDNN_TYPE_VOID_PTR, 1, &t->workspace);
    if (status == CUDNN_STATUS_SUCCESS)
        status = library->finalize(pack);
    if (status == CUDNN_STATUS_SUCCESS)
        status = library->execute(plans->handle, plan, pack);
    if (pack != NULL)
        (void)library->destroy_descriptor(pack);
    return status;
}

static unet_status run_locked(struct cudnn_plans *plans, struct device_stream *stream,
                              const struct cudnn_conv *conv, int plan,
                              const struct cudnn_tensors *tensors, unet_error *error)
{
    const struct cudnn_library *library = plans->library;
    struct entry *entry = find_entry(plans, conv);
    if (entry == NULL)
        return error_memory(error, sizeof *entry, "cuDNN's plans");
    cudnnBackendDescriptor_t found = find_plan(plans, entry, plan);
    if (found == NULL)
        return error_set(error, UNET_ERROR_DEVICE, "cuDNN offers no engine for this convolution");
    TRY(check(library, library->set_stream(plans->handle, stream->stream), "taking a stream",
              error));
    return check(library, execute(plans, found, tensors), "running", error);
}

unet_status cudnn_plans_run(struct device_stream *stream, const struct cudnn_conv *conv, int plan,
                            const struct cudnn_tensors *tensors, unet_error *error)
{
    static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
    struct device *device = stream->device;
    unet_status status = UNET_OK;
    TRY(cuda_select(device, error));
    (void)pthread_mutex_lock(&opening);
    if (device->cudnn == NULL)
        status = open_plans(&device->cudnn, error);
    (void)pthread_mutex_unlock(&opening);
    if (status != UNET_OK)
        return status;
    (void)pthread_mutex_lock(&device->cudnn->lock);
    status = run_locked(device->cudnn, stream, conv, plan, tensors, error);
    (void)pthread_mutex_unlock(&device->cudnn->lock);
    return status;
}
