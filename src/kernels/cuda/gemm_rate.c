/* What large matrix products reach by cuBLAS, which is looked for at run time and never required: a
 * layer's rate is told as a share of it. */
#include "base/f16.h"
#include "base/bf16.h"
#include "base/memory.h"
#include "kernels/cuda/cuda.h"

#include <dlfcn.h>
#include <math.h>

#if __has_include(<cublas_v2.h>)

#include <cublas_v2.h>

#define SIDE        8192 /* of square matrices */
#define SIDE_F32    4096
#define ROUNDS      7
#define NOISE_BYTES ((size_t)1 << 20)

struct blas {
    void *library;
    __typeof__(cublasCreate_v2) *create;
    __typeof__(cublasDestroy_v2) *destroy;
    __typeof__(cublasGemmEx) *multiply;
    cublasHandle_t handle;
};

struct product {
    cudaDataType_t in, out;
    cublasComputeType_t compute;
    int side;
    size_t in_bytes, out_bytes; /* of an element */
};

/* cuBLAS multiplies e4m3 through another library alone; its tensor cores do as many of them as of
 * whole numbers of 8 bits, which stand for them here. */
static bool find_product(enum kernel_type type, bool tf32, struct product *product)
{
    static const struct product products[KERNEL_TYPE_COUNT] = {
        [KERNEL_F32] = {CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F, SIDE_F32, 4, 4},
        [KERNEL_F16] = {CUDA_R_16F, CUDA_R_16F, CUBLAS_COMPUTE_32F, SIDE, 2, 2},
        [KERNEL_BF16] = {CUDA_R_16BF, CUDA_R_16BF, CUBLAS_COMPUTE_32F, SIDE, 2, 2},
        [KERNEL_U8] = {CUDA_R_8I, CUDA_R_32I, CUBLAS_COMPUTE_32I, SIDE, 1, 4},
        [KERNEL_E4M3] = {CUDA_R_8I, CUDA_R_32I, CUBLAS_COMPUTE_32I, SIDE, 1, 4},
    };
    *product = products[type];
    if (type == KERNEL_F32 && tf32)
        product->compute = CUBLAS_COMPUTE_32F_FAST_TF32;
    return product->side > 0;
}

/* ---------------------------------------------------------------- the library */

static void *symbol(const struct blas *blas, const char *name)
{
    return dlsym(blas->library, name);
}

static bool open_blas(struct blas *blas)
{
    static const char *const names[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so"};
    *blas = (struct blas){.library = NULL};
    for (size_t i = 0; i < sizeof names / sizeof names[0] && blas->library == NULL; i++)
        blas->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (blas->library == NULL)
        return false;
    *(void **)&blas->create = symbol(blas, "cublasCreate_v2");
    *(void **)&blas->destroy = symbol(blas, "cublasDestroy_v2");
    *(void **)&blas->multiply = symbol(blas, "cublasGemmEx");
    if (blas->create == NULL || blas->destroy == NULL || blas->multiply == NULL ||
        blas->create(&blas->handle) != CUBLAS_STATUS_SUCCESS) {
        dlclose(blas->library);
        return false;
    }
    return true;
}

static void close_blas(struct blas *blas)
{
    blas->destroy(blas->handle);
    dlclose(blas->library);
}

/* ---------------------------------------------------------------- matrices */

/* In (−1, 1): a GPU takes less power, and less time, for zeros. */
static void make_noise(enum kernel_type type, void *noise)
{
    uint32_t state = 1;
    for (size_t i = 0; i < NOISE_BYTES / kernel_type_bytes(type); i++) {
        state = state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        float value = (float)(int32_t)state * 0x1p-31f;
        if (type == KERNEL_F16)
            ((uint16_t *)noise)[i] = f16_from_float(value);
        else if (type == KERNEL_BF16)
            ((uint16_t *)noise)[i] = bf16_from_float(value);
        else if (type == KERNEL_F32)
            ((float *)noise)[i] = value;
        else
            ((uint8_t *)noise)[i] = (uint8_t)(state >> 24);
    }
}

static unet_status fill(enum kernel_type type, char *matrix, size_t bytes, unet_error *error)
{
    void *noise = memory_alloc(NOISE_BYTES);
    if (noise == NULL)
        return error_memory(error, NOISE_BYTES, "noise");
    make_noise(type, noise);
    cudaError_t result = cudaSuccess;
    for (size_t at = 0; at + NOISE_BYTES <= bytes && result == cudaSuccess; at += NOISE_BYTES)
        result = cudaMemcpy(matrix + at, noise, NOISE_BYTES, cudaMemcpyHostToDevice);
    memory_free(noise);
    return cuda_check(result, "copying noise", error);
}

/* ---------------------------------------------------------------- the rate */

static bool multiply(const struct blas *blas, const struct product *product, char *matrices)
{
    static const float one = 1, zero = 0;
    static const int32_t whole_one = 1, whole_zero = 0;
    bool whole = product->compute == CUBLAS_COMPUTE_32I;
    int side = product->side;
    size_t bytes = (size_t)side * (size_t)side * product->in_bytes;
    const void *alpha = whole ? (const void *)&whole_one : &one;
    const void *beta = whole ? (const void *)&whole_zero : &zero;
    return blas->multiply(blas->handle, CUBLAS_OP_T, CUBLAS_OP_N, side, side, side, alpha, matrices,
                          product->in, side, matrices + bytes, product->in, side, beta,
                          matrices + 2 * bytes, product->out, side, product->compute,
                          CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS;
}

static double best_seconds(const struct blas *blas, const struct product *product, char *matrices,
                           cudaEvent_t marks[2])
{
    double best = INFINITY;
    for (int round = -1; round < ROUNDS; round++) { /* the first is to warm up */
        float milliseconds = INFINITY;
        cudaEventRecord(marks[0], NULL);
        if (!multiply(blas, product, matrices))
            return INFINITY;
        cudaEventRecord(marks[1], NULL);
        if (cudaEventSynchronize(marks[1]) != cudaSuccess ||
            cudaEventElapsedTime(&milliseconds, marks[0], marks[1]) != cudaSuccess)
            return INFINITY;
        if (round >= 0)
            best = fmin(best, 1e-3 * (double)milliseconds);
    }
    return best;
}

static unet_status measure(const struct blas *blas, const struct product *product, char *matrices,
                           double *flops, unet_error *error)
{
    cudaEvent_t marks[2] = {NULL, NULL};
    TRY_CUDA(cudaEventCreate(&marks[0]), "timing products");
    unet_status status = cuda_check(cudaEventCreate(&marks[1]), "timing products", error);
    if (status == UNET_OK) {
        double seconds = best_seconds(blas, product, matrices, marks), side = product->side;
        *flops = isfinite(seconds) ? 2 * side * side * side / seconds : 0;
        cudaEventDestroy(marks[1]);
    }
    cudaEventDestroy(marks[0]);
    return status;
}

static unet_status measure_with(struct device *device, const struct blas *blas,
                                enum kernel_type type, const struct product *product, double *flops,
                                unet_error *error)
{
    size_t count = (size_t)product->side * (size_t)product->side;
    size_t in = 2 * count * product->in_bytes;
    void *matrices;
    TRY(cuda_alloc(device, in + count * product->out_bytes, &matrices, error));
    unet_status status = fill(type, matrices, in, error);
    if (status == UNET_OK)
        status = measure(blas, product, matrices, flops, error);
    cuda_free(device, matrices);
    return status;
}

unet_status cuda_gemm_rate(struct device *device, enum kernel_type type, bool tf32, double *flops,
                           unet_error *error)
{
    struct product product;
    struct blas blas;
    *flops = 0;
    TRY(cuda_select(device, error));
    if (!find_product(type, tf32, &product) || !open_blas(&blas))
        return UNET_OK;
    unet_status status = measure_with(device, &blas, type, &product, flops, error);
    close_blas(&blas);
    return status;
}

#else

unet_status cuda_gemm_rate(struct device *device, enum kernel_type type, bool tf32, double *flops,
                           unet_error *error)
{
    (void)device, (void)type, (void)tf32, (void)error;
    *flops = 0;
    return UNET_OK;
}

#endif
