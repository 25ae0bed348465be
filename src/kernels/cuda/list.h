/* All of the GPU's kernels, by the file that defines them. */
#ifndef UNET_KERNELS_CUDA_LIST_H
#define UNET_KERNELS_CUDA_LIST_H

#include "kernels/kernel.h"

extern const struct kernel cuda_conv_first; /* conv_first.c */
extern const struct kernel cuda_conv_f16, cuda_conv_bf16, cuda_conv_u8, cuda_conv_e4m3,
    cuda_conv_tf32, cuda_conv_f32; /* conv.c */
extern const struct kernel cuda_conv_transpose_f16, cuda_conv_transpose_bf16,
    cuda_conv_transpose_u8, cuda_conv_transpose_e4m3, cuda_conv_transpose_tf32,
    cuda_conv_transpose_f32; /* conv_transpose.c */
extern const struct kernel cuda_conv_transpose_wgmma_f16, cuda_conv_transpose_wgmma_bf16,
    cuda_conv_transpose_wgmma_u8, cuda_conv_transpose_wgmma_e4m3,
    cuda_conv_transpose_wgmma_tf32; /* conv_transpose_hopper.c */
extern const struct kernel cuda_conv_cudnn[]; /* cudnn_conv.c, where cuDNN's headers are */
extern const struct kernel cuda_upsample, cuda_max_pool, cuda_load, cuda_store; /* pointwise.c */

/* conv3x3_hopper.c */
#define CUDA_CONV3X3_HOPPER(type)                                                                  \
    extern const struct kernel cuda_conv3x3_s256_##type, cuda_conv3x3_r256_##type,                 \
        cuda_conv3x3_k256_##type, cuda_conv3x3_s128_##type, cuda_conv3x3_k128_##type,              \
        cuda_conv3x3_s64_##type
CUDA_CONV3X3_HOPPER(f16);
CUDA_CONV3X3_HOPPER(bf16);
CUDA_CONV3X3_HOPPER(tf32);
CUDA_CONV3X3_HOPPER(u8);
CUDA_CONV3X3_HOPPER(e4m3);

#endif
