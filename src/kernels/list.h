/* All kernels, by the file that defines them. */
#ifndef UNET_KERNELS_LIST_H
#define UNET_KERNELS_LIST_H

#include "kernels/kernel.h"

extern const struct kernel conv_direct_c; /* c/conv.c */
extern const struct kernel conv3x3_direct_c, conv3x3_direct_avx2, conv3x3_direct_avx512;
extern const struct kernel conv3x3_direct_bf16_c, conv3x3_direct_bf16_avx512;
extern const struct kernel conv3x3_direct_u8_c, conv3x3_direct_u8_avx2, conv3x3_direct_u8_vnni_avx2,
    conv3x3_direct_u8_avx512;
extern const struct kernel conv3x3_direct_bf16_amx, conv3x3_direct_u8_amx; /* conv3x3_amx.c */
extern const struct kernel conv3x3_winograd2_c, conv3x3_winograd2_avx2, conv3x3_winograd2_avx512;
extern const struct kernel conv3x3_winograd4_c, conv3x3_winograd4_avx2, conv3x3_winograd4_avx512;
extern const struct kernel conv3x3_winograd6_c, conv3x3_winograd6_avx2, conv3x3_winograd6_avx512;
extern const struct kernel conv3x3_winograd2_bf16_avx512, conv3x3_winograd4_bf16_avx512;
extern const struct kernel conv3x3_winograd2_u8_c, conv3x3_winograd2_u8_avx2,
    conv3x3_winograd2_u8_avx512, conv3x3_winograd4_u8_c, conv3x3_winograd4_u8_avx2,
    conv3x3_winograd4_u8_avx512, conv3x3_winograd6_u8_c, conv3x3_winograd6_u8_avx2,
    conv3x3_winograd6_u8_avx512;
extern const struct kernel conv_transpose_direct_c, conv_transpose_direct_avx2,
    conv_transpose_direct_avx512, conv_transpose_direct_bf16_c, conv_transpose_direct_bf16_avx512;
extern const struct kernel conv_transpose_direct_u8_c, conv_transpose_direct_u8_avx2,
    conv_transpose_direct_u8_vnni_avx2, conv_transpose_direct_u8_avx512;
extern const struct kernel upsample_c, upsample_avx2, upsample_avx512, upsample_bf16_avx512;
extern const struct kernel max_pool_c, max_pool_avx2, max_pool_avx512;
extern const struct kernel load_c, load_avx2, load_avx512;    /* planar.c */
extern const struct kernel store_c, store_avx2, store_avx512; /* planar.c */

#endif
