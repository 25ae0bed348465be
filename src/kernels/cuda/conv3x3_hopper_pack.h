/* The packed weights of conv3x3_hopper.c, and what follows from a description alone. */
#ifndef UNET_KERNELS_CUDA_CONV3X3_HOPPER_PACK_H
#define UNET_KERNELS_CUDA_CONV3X3_HOPPER_PACK_H

#include "kernels/cuda/conv3x3_hopper.h"
#include "kernels/kernel.h"

#define HOPPER_WIDE   128
#define HOPPER_NARROW 64

/* Chunks of a source, of all sources; how wide they are. */
int hopper_source_chunks(const struct kernel_desc *desc, int source, int row_bytes);
int hopper_chunks(const struct kernel_desc *desc, int row_bytes);
int hopper_row_bytes(const struct kernel_desc *desc);
int hopper_output_tiles(const struct kernel_desc *desc);
/* Whether each output's weights are multiples of a step. */
bool hopper_has_steps(const struct kernel_desc *desc);

/* Rows are those of all output tiles. `shift` is, for each source of bytes, what its rows' sums
 * lose where its bytes are stored 128 less. */
struct hopper_packing {
    int row_bytes, chunks, rows;
    size_t piece, bias, step, shift, head_weight, head_bias, bytes;
};

struct hopper_packing hopper_packing_of(const struct kernel_desc *desc);
size_t hopper_packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc);
void hopper_pack(const struct kernel *kernel, const struct kernel_desc *desc,
                 const struct kernel_weights *weights, void *packed);

#endif
