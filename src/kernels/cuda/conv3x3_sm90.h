/* The host's side of the 3x3 convolution of compute capability 9.0a: stride 1, padding 1, up to four
 * sources side by side, bias and ReLU, and the 2x2 max-pool of what comes out. */
#ifndef UNET_KERNELS_CUDA_CONV3X3_SM90_H
#define UNET_KERNELS_CUDA_CONV3X3_SM90_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CONV3X3_SM90_SOURCES 4

/* Tensors are NHWC of 16-bit floats; a pixel's channels are padded to a multiple of 8 with zeros. */
struct conv3x3_sm90 {
    int images, height, width, source_count;
    int channels[CONV3X3_SM90_SOURCES];
    const void *source[CONV3X3_SM90_SOURCES];
    int out_channels;
    void *out, *pooled;  /* NULL: not wanted */
    const void *weights; /* what conv3x3_sm90_pack wrote */
    bool relu;
};

/* How: the width of a product, who shares what, and the blocks of a cluster. */
enum conv3x3_sm90_way { CONV3X3_WAY_STREAMED, CONV3X3_WAY_RESIDENT, CONV3X3_WAY_SPLIT };

struct conv3x3_sm90_choice {
    int pixels; /* 256, 128 or 64 */
    enum conv3x3_sm90_way way;
    int cluster; /* 1, 2 or 4 */
};

size_t conv3x3_sm90_packed_bytes(const struct conv3x3_sm90 *conv);
/* WEIGHTS as PyTorch has them: [out channel][channel][3][3]; BIAS may be NULL. */
void conv3x3_sm90_pack(const struct conv3x3_sm90 *conv, const float *weights, const float *bias,
                       void *packed);

bool conv3x3_sm90_can(const struct conv3x3_sm90 *conv, struct conv3x3_sm90_choice choice);
/* EARLY: the kernel may begin while the one before it in the stream still runs. */
cudaError_t conv3x3_sm90_launch(const struct conv3x3_sm90 *conv, struct conv3x3_sm90_choice choice,
                                int multiprocessors, bool early, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
