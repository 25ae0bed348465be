/* What convolutions and transposed ones share on the host: both are the same GEMM
 * (conv_gemm.cuh). */
#ifndef UNET_KERNELS_CUDA_GEMM_H
#define UNET_KERNELS_CUDA_GEMM_H

#include "kernels/byte_weights.h"
#include "kernels/cuda/cuda.h"

/* What sets the kernels of one op apart. */
struct gemm_method {
    enum kernel_type in;
    bool tf32;
    gpu_gemm_function *enqueue;
};

extern const struct gemm_method gemm_f16, gemm_bf16, gemm_tf32, gemm_f32, gemm_u8, gemm_e4m3;

/* Why not: types, up-sampled sources, numbers out of range. NULL: it can. */
const char *gemm_refuse(const struct gemm_method *method, const struct kernel_desc *desc);

/* Where the parts of packed weights begin. */
struct gemm_layout {
    int outputs, block; /* see struct gpu_gemm */
    size_t bias, head_weight, head_bias;
    size_t step, shift; /* of U8 and E4M3; of U8 alone */
    size_t bytes;
};

struct gemm_layout gemm_layout(const struct kernel_desc *desc);
size_t gemm_packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc);
void gemm_pack(const struct kernel *kernel, const struct kernel_desc *desc,
               const struct kernel_weights *weights, void *packed);

/* What other packings of the same GEMM share with gemm_pack. */
struct gemm_packing {
    const struct gemm_method *method;
    const struct kernel_desc *desc;
    const struct kernel_weights *weights;
    struct gemm_layout layout;
    const float *steps; /* of U8 and E4M3: an output's; else NULL */
    int32_t *shifts;    /* of U8: a source's and an output's; else NULL */
};

/* Writes all that lies behind the weights in `packed`, but for the shifts, which begin as zeros. */
struct gemm_packing gemm_begin_packing(const struct gemm_method *method,
                                       const struct kernel_desc *desc,
                                       const struct kernel_weights *weights, void *packed);
/* `bytes` bytes of output n's weights for inputs [first, last) of all, of one tap, zeros past them;
 * adds to the shift of source s. */
void gemm_pack_row(const struct gemm_packing *packing, int s, size_t n, size_t tap, size_t first,
                   size_t last, size_t bytes, char *to);

/* All of it but what `out`, `pooled` and `head` are, and which pixels there are. */
struct gpu_gemm gemm_begin(const struct kernel_desc *desc, const struct kernel_args *args);
/* With the largest tile that gives each multiprocessor one. */
unet_status gemm_enqueue(const struct kernel *kernel, const struct gpu_gemm *gemm,
                         struct device_stream *stream, unet_error *error);

/* Products of 10 bits of mantissa, where the description asks for them, and where they err less
 * than storing the result does. */
bool gemm_may_use_tf32(const struct kernel_desc *desc);

/* To 10 bits of mantissa, ties away from zero. */
float gemm_round_tf32(float value);

#endif
