#include "kernels/cuda/tensor_map.h"

#include "kernels/kernel.h"

#include <cudaTypedefs.h>
#include <string.h>

#define VERSION 12000 /* of the driver's function */

/* The driver is not linked: the runtime finds its functions. */
static cudaError_t find_encode(PFN_cuTensorMapEncodeTiled_v12000 *encode)
{
    enum cudaDriverEntryPointQueryResult found;
    void *function = NULL;
    cudaError_t result = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                          VERSION, cudaEnableDefault, &found);
    if (result == cudaSuccess && (found != cudaDriverEntryPointSuccess || function == NULL))
        result = cudaErrorSymbolNotFound;
    memcpy(encode, &function, sizeof function);
    return result;
}

cudaError_t tensor_map_encode(CUtensorMap *map, const struct gpu_tensor *t, int row_bytes,
                              int columns, int rows)
{
    static const CUtensorMapDataType types[] = {
        [GPU_F32] = CU_TENSOR_MAP_DATA_TYPE_FLOAT32,   [GPU_F16] = CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        [GPU_BF16] = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, [GPU_U8] = CU_TENSOR_MAP_DATA_TYPE_UINT8,
        [GPU_E4M3] = CU_TENSOR_MAP_DATA_TYPE_UINT8,
    };
    PFN_cuTensorMapEncodeTiled_v12000 encode;
    cudaError_t result = find_encode(&encode);
    if (result != cudaSuccess)
        return result;
    int bytes = (int)kernel_type_bytes((enum kernel_type)t->type);
    const cuuint64_t size[] = {(cuuint64_t)(t->pixel_bytes / bytes), (cuuint64_t)t->width,
                               (cuuint64_t)t->height, (cuuint64_t)t->images};
    const cuuint64_t stride[] = {(cuuint64_t)t->pixel_bytes, t->row_bytes, t->image_bytes};
    const cuuint32_t box[] = {(cuuint32_t)(row_bytes / bytes), (cuuint32_t)columns,
                              (cuuint32_t)rows, 1};
    const cuuint32_t step[] = {1, 1, 1, 1};
    CUresult encoded = encode(
        map, types[t->type], 4, t->data, size, stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
        row_bytes == 128 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B,
        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return encoded == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}
