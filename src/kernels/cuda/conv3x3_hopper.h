/* The 3x3 convolution of compute capability 9.0: what host code and its kernels share. Stride 1,
 * padding 1, up to four sources side by side, bias, ReLU, 2x2 max-pool, head. conv3x3_hopper.cuh
 * says how it works. */
#ifndef UNET_KERNELS_CUDA_CONV3X3_HOPPER_H
#define UNET_KERNELS_CUDA_CONV3X3_HOPPER_H

#include "kernels/cuda/gpu.h"

#include <cuda.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HOPPER_MAX_CHUNKS 128
#define HOPPER_OUTPUTS    64 /* channels of an output tile */
#define HOPPER_TAPS       9
#define HOPPER_HEAD       8 /* channels of a head, at most */

/* STREAMED: weights pass through a ring; the blocks of a cluster have the same output channels
 * and fetch a part each for all. RESIDENT: all weights stay in shared memory. SPLIT: the chunks
 * of a tile are shared out among the blocks of a cluster and their two multiplying warpgroups,
 * which add up their sums in the end; no head. */
enum hopper_mode { HOPPER_STREAMED, HOPPER_RESIDENT, HOPPER_SPLIT };

/* How. A chunk is `row_bytes` of a pixel's channels, 128 or 64; a tile has 8 columns and `pixels`
 * pixels, 64, 128 or 256. */
struct hopper_shape {
    enum hopper_mode mode;
    int pixels, row_bytes, cluster;
};

/* What a tile's sums are made into at a time: results of one type. */
struct hopper_result {
    int type;
    bool out, pool; /* which */
};

/* Everything that a launch needs to know. An item is one output tile of `cluster` pixel tiles
 * (SPLIT: of one). */
struct hopper_conv {
    CUtensorMap source[GPU_MAX_SOURCES], output, pooled; /* boxes: see conv3x3_hopper.c */
    /* [output tile][chunk][tap] pieces: HOPPER_OUTPUTS rows of row_bytes, swizzled like the
     * pixels. */
    const uint8_t *weights;
    const float *bias;    /* of all rows of the output tiles */
    const float *step;    /* of their weights, of bytes; else NULL */
    const int32_t *shift; /* NULL or [source][row]: added to sums where the source is signed */
    int source_chunks[GPU_MAX_SOURCES];
    bool source_signed[GPU_MAX_SOURCES];
    int chunks, output_tiles, tiles_x, tiles_y, items;
    bool chunk_signed[HOPPER_MAX_CHUNKS]; /* where it is bytes -128 ... 127 */
    bool relu;
    struct gpu_tensor out, pool;
    struct hopper_result results[2]; /* more than one where their types differ */
    int result_count;
    /* Only of one output tile, and nothing else is stored then; rows of HOPPER_OUTPUTS weights. */
    struct gpu_head head;
    int head_type;             /* that of the tensor that it sees: it is clipped, but not rounded */
    int width, height, images; /* of all sources and results */
};

/* How many pieces of weights can stay in shared memory. */
int hopper_resident(struct hopper_shape shape);

/* BLOCKS: how many, a multiple of the cluster; EARLY: may begin while the launch before still
 * runs. */
typedef cudaError_t hopper_function(const struct hopper_conv *conv, struct hopper_shape shape,
                                    int blocks, bool early, cudaStream_t stream);
hopper_function hopper_conv_f16, hopper_conv_bf16, hopper_conv_tf32, hopper_conv_u8,
    hopper_conv_e4m3;

#ifdef __cplusplus
}
#endif
#endif
