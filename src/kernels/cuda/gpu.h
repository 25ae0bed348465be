/* What host code in C and CUDA code share: structs that go to the GPU by value, and the functions
 * that enqueue. Neither kernel.h nor C++ crosses this line. */
#ifndef UNET_KERNELS_CUDA_GPU_H
#define UNET_KERNELS_CUDA_GPU_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GPU_MAX_SOURCES 4
#define GPU_PIECE       16 /* bytes that are loaded and stored at once */

/* The same numbers as enum kernel_type. */
enum gpu_type { GPU_F32, GPU_F16, GPU_BF16, GPU_U8, GPU_E4M3 };

/* NHWC; strides in bytes. */
struct gpu_tensor {
    char *data; /* NULL: not wanted */
    size_t row_bytes, image_bytes;
    int pixel_bytes;
    int channels, height, width, images;
    int type;
    bool is_signed; /* of U8: bytes −128 … 127 */
};

/* images × height × width × step bytes, looked up in values[256 · channel + byte]. */
struct gpu_pixels {
    const uint8_t *bytes; /* NULL: there are none */
    const float *values;
    int step;
};

/* What the planes or the mask of an image come from or go to. */
struct gpu_planes {
    float *planes;    /* images × channels × height × width */
    uint8_t *classes; /* images × height × width, instead; as struct kernel_mask says */
    float above;
};

/* ---------------------------------------------------------------- planar.cu */

cudaError_t gpu_load(const struct gpu_tensor *out, const float *planes,
                     const struct gpu_pixels *pixels, cudaStream_t stream);
cudaError_t gpu_store(const struct gpu_tensor *in, const struct gpu_planes *to,
                      cudaStream_t stream);

/* ---------------------------------------------------------------- resample.cu */

cudaError_t gpu_max_pool(const struct gpu_tensor *in, const struct gpu_tensor *out,
                         cudaStream_t stream);
/* Places the result at (offset_y, offset_x) of `out`; what lies around it is gpu_clear_around's. */
cudaError_t gpu_upsample(const struct gpu_tensor *in, const struct gpu_tensor *out, int offset_y,
                         int offset_x, cudaStream_t stream);
/* Zeroes the pixels of `out` that height × width at (offset_y, offset_x) does not cover. */
cudaError_t gpu_clear_around(const struct gpu_tensor *out, int offset_y, int offset_x, int height,
                             int width, cudaStream_t stream);

/* ---------------------------------------------------------------- head.cu */

struct gpu_head {
    const float *weight; /* channels × the tensor's channels */
    const float *bias;   /* channels */
    int channels;        /* 0: none */
    struct gpu_planes to;
};

/* Of at most GPU_HEAD_INPUTS channels. */
#define GPU_HEAD_INPUTS 1024
cudaError_t gpu_apply_head(const struct gpu_tensor *in, const struct gpu_head *head,
                           cudaStream_t stream);

/* ---------------------------------------------------------------- conv_first.cu */

#define GPU_FIRST_STEPS    4  /* of 8 products: what 3×3×3 inputs and a bias fill */
#define GPU_FIRST_CHANNELS 64 /* that one pass makes */

struct gpu_first {
    struct gpu_tensor in; /* its data: NULL where planes or pixels are given */
    const float *planes;
    struct gpu_pixels pixels;
    struct gpu_tensor out;
    const float *weights; /* as conv_first.c packs them, with the bias */
    bool relu;
};

cudaError_t gpu_conv_first(const struct gpu_first *conv, cudaStream_t stream);

/* ---------------------------------------------------------------- conv_gemm.cuh */

#define GPU_GEMM_CHUNK    64 /* bytes of a pixel's channels that a step multiplies */
#define GPU_GEMM_ROWS     8  /* of a tile of pixels */
#define GPU_GEMM_COLUMNS  16
#define GPU_GEMM_CHANNELS 32 /* what a tile of outputs is a multiple of: 1, 2 or 4 times */
#define GPU_HEAD_CHANNELS 8  /* of a head that the convolution takes along, at most */

/* An implicit GEMM: rows × columns pixels times `outputs` channels. A transposed convolution has
 * four times as many outputs, a block of them for each of a pixel's four results. */
struct gpu_gemm {
    struct gpu_tensor sources[GPU_MAX_SOURCES];
    int source_count;
    int kernel_h, kernel_w, stride, padding;
    int rows, columns; /* of pixels that the products are made for */
    int outputs;       /* with padding: a multiple of the tile's */
    int block;         /* outputs of one place, a multiple of GPU_GEMM_CHANNELS; as many
                          as `outputs` unless transposed */
    int scale;         /* 1; transposed: 2 */
    int offset_y, offset_x;
    const char *weights; /* steps × outputs × GPU_GEMM_CHUNK bytes */
    const float *bias;   /* of `outputs` */
    const float *step;   /* of U8 and E4M3: that of an output's weights; else NULL */
    const int *shift;    /* of U8: sources × outputs; added for a source whose bytes are
                            signed: 128 times the sum of an output's weights */
    bool relu;
    struct gpu_tensor out, pooled;
    struct gpu_head head; /* only where one tile has all outputs */
};

/* tile_outputs: 32, 64 or 128, of which `outputs` is a multiple. */
typedef cudaError_t gpu_gemm_function(const struct gpu_gemm *gemm, int tile_outputs,
                                      cudaStream_t stream);
gpu_gemm_function gpu_gemm_f32, gpu_gemm_tf32, gpu_gemm_f16, gpu_gemm_bf16, gpu_gemm_u8,
    gpu_gemm_e4m3;

#ifdef __cplusplus
}
#endif
#endif
