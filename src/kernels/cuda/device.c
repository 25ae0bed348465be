/* Devices and their memory. */
#include "kernels/cuda/cuda.h"

#include "base/memory.h"
#ifdef UNET_HAS_CUDNN
#include "kernels/cuda/cudnn_plans.h"
#endif

#include <stdio.h>
#include <string.h>

#define MIB 1048576.0

/* The last error of a call that only failed is forgotten: it would be the next launch's. */
unet_status cuda_check(cudaError_t result, const char *doing, unet_error *error)
{
    if (result == cudaSuccess)
        return UNET_OK;
    (void)cudaGetLastError();
    return error_set(error, UNET_ERROR_DEVICE, "CUDA: %s: %s (%s)", doing,
                     cudaGetErrorString(result), cudaGetErrorName(result));
}

unet_status cuda_select(const struct device *device, unet_error *error)
{
    TRY_CUDA(cudaSetDevice(device->index), "selecting the device");
    return UNET_OK;
}

static void version_text(int version, char *text, size_t bytes)
{
    snprintf(text, bytes, "%d.%d", version / 1000, version % 1000 / 10);
}

/* What cudaGetDeviceCount's failures mean to a user. */
static unet_status no_devices(cudaError_t result, int *count, unet_error *error)
{
    int driver = 0, runtime = 0;
    char has[24], needs[24];
    (void)cudaGetLastError();
    *count = 0;
    if (result == cudaErrorNoDevice)
        return UNET_OK;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
        return error_set(error, UNET_ERROR_DEVICE,
                         "CUDA: no NVIDIA driver is loaded: install one, or run on the CPU");
    (void)cudaRuntimeGetVersion(&runtime);
    version_text(driver, has, sizeof has);
    version_text(runtime, needs, sizeof needs);
    if (result == cudaErrorInsufficientDriver)
        return error_set(
            error, UNET_ERROR_DEVICE,
            "CUDA: the driver is for CUDA %s, this back end needs %s: update the driver", has,
            needs);
    return cuda_check(result, "counting devices", error);
}

unet_status cuda_count(int *count, unet_error *error)
{
    cudaError_t result = cudaGetDeviceCount(count);
    return result == cudaSuccess ? UNET_OK : no_devices(result, count, error);
}

static unet_status read_facts(struct device *device, unet_error *error)
{
    struct cudaDeviceProp facts;
    int driver = 0, runtime = 0;
    TRY_CUDA(cudaGetDeviceProperties(&facts, device->index), "asking for the device's properties");
    TRY_CUDA(cudaDriverGetVersion(&driver), "asking for the driver's version");
    TRY_CUDA(cudaRuntimeGetVersion(&runtime), "asking for the runtime's version");
    struct device_facts *known = &device->facts;
    snprintf(known->name, sizeof known->name, "%.*s", (int)sizeof known->name - 1, facts.name);
    known->compute = 10 * facts.major + facts.minor;
    snprintf(known->architecture, sizeof known->architecture, "sm_%d", known->compute);
    known->multiprocessors = facts.multiProcessorCount;
    known->memory_bytes = facts.totalGlobalMem;
    known->l2_bytes = (size_t)facts.l2CacheSize;
    version_text(driver, known->driver, sizeof known->driver);
    version_text(runtime, known->runtime, sizeof known->runtime);
#ifdef UNET_HAS_CUDNN
    cudnn_plans_version(known->libraries, sizeof known->libraries);
#endif
    device->shared_bytes = facts.sharedMemPerBlockOptin;
    return UNET_OK;
}

static unet_status check_index(int index, unet_error *error)
{
    int count;
    TRY(cuda_count(&count, error));
    if (count == 0)
        return error_set(error, UNET_ERROR_DEVICE, "CUDA: the driver sees no GPU on this machine");
    if (index < 0 || index >= count)
        return error_set(error, UNET_ERROR_DEVICE, "CUDA: there is no device %d: cuda:0 to cuda:%d",
                         index, count - 1);
    return UNET_OK;
}

unet_status cuda_open(int index, struct device **device, unet_error *error)
{
    *device = NULL;
    TRY(check_index(index, error));
    struct device *opened = memory_calloc(1, sizeof *opened);
    if (opened == NULL)
        return error_memory(error, sizeof *opened, "a device");
    opened->index = index;
    unet_status status;
    TRY_GOTO(cuda_select(opened, error), fail);
    TRY_GOTO(read_facts(opened, error), fail);
    *device = opened;
    return UNET_OK;
fail:
    cuda_close(opened);
    return status;
}

/* The driver's context is the process's: others may use it. */
void cuda_close(struct device *device)
{
#ifdef UNET_HAS_CUDNN
    if (device != NULL && cuda_select(device, NULL) == UNET_OK)
        cudnn_plans_close(device->cudnn);
#endif
    memory_free(device);
}

const struct device_facts *cuda_facts(const struct device *device)
{
    return &device->facts;
}

const char *cuda_refusal(const struct device *device, const struct kernel *kernel, char *text,
                         size_t bytes)
{
    int compute = device->facts.compute;
    if (compute < kernel->compute_least)
        snprintf(text, bytes, "needs sm_%d, this is sm_%d", kernel->compute_least, compute);
    else if (kernel->compute_most > 0 && compute > kernel->compute_most)
        snprintf(text, bytes, "needs sm_%d, this is sm_%d", kernel->compute_most, compute);
    else if (strncmp(kernel->name, "conv.cudnn", strlen("conv.cudnn")) == 0 &&
             device->facts.libraries[0] == '\0')
        snprintf(text, bytes, "needs libcudnn.so.9 and UNET_CUDNN=1");
    else
        return NULL;
    return text;
}

unet_status cuda_alloc(struct device *device, size_t bytes, void **memory, unet_error *error)
{
    *memory = NULL;
    TRY(cuda_select(device, error));
    cudaError_t result = cudaMalloc(memory, bytes);
    if (result != cudaErrorMemoryAllocation)
        return cuda_check(result, "allocating memory", error);
    size_t left = 0, total = 0;
    (void)cudaGetLastError();
    (void)cudaMemGetInfo(&left, &total);
    *memory = NULL;
    return error_set(error, UNET_ERROR_MEMORY,
                     "%s has no memory for %.0f MiB more: %.0f of %.0f MiB are left; run smaller "
                     "images or fewer at once",
                     device->facts.name, (double)bytes / MIB, (double)left / MIB,
                     (double)total / MIB);
}

void cuda_free(struct device *device, void *memory)
{
    if (memory != NULL && cuda_select(device, NULL) == UNET_OK)
        (void)cudaFree(memory);
}

unet_status cuda_alloc_host(struct device *device, size_t bytes, void **memory, unet_error *error)
{
    *memory = NULL;
    TRY(cuda_select(device, error));
    cudaError_t result = cudaMallocHost(memory, bytes);
    if (result != cudaErrorMemoryAllocation)
        return cuda_check(result, "allocating page-locked memory", error);
    (void)cudaGetLastError();
    *memory = NULL;
    return error_memory(error, bytes, "page-locked copies of images");
}

void cuda_free_host(struct device *device, void *memory)
{
    if (memory != NULL && cuda_select(device, NULL) == UNET_OK)
        (void)cudaFreeHost(memory);
}
