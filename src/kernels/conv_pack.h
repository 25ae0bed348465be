/* Packed weights of the direct convolutions, and what every convolution must refuse.
 *
 *     | bias: 16 floats a block | head bias | head weights | steps | weights: group 0 | group 1 | …
 * |
 *
 * Each part begins on a multiple of 16 floats; what pads it is zero. A GROUP is the up to
 * `most_blocks` blocks of 16 output channels that one tile computes together; groups are as even as
 * can be. In a group, weights lie in the order in which a tile reads them:
 *
 *     source, block of 16 channels, tap (ky, kx), channel, block of the group, lane
 *
 * with the real channels of each source only: 3 input channels take 27 steps, not 144. Where the
 * inputs are bf16, so are the weights, and for each lane the pair of channels 2c and 2c + 1 lies
 * together in the 32 bits of one float: in a word. Where they are U8, a word holds the weights of
 * four channels as byte_weights.h rounds them, and there are STEPS, 16 floats a block, by which an
 * output's sum of whole numbers is multiplied before the bias is added; else there are none. */
#ifndef UNET_KERNELS_CONV_PACK_H
#define UNET_KERNELS_CONV_PACK_H

#include "kernels/kernel.h"

/* The floats of a packed convolution. */
struct conv_packed {
    const float *bias, *head_bias, *head_weights, *steps, *weights;
};

/* Blocks [first, first + count). */
struct conv_group {
    int first, count;
};

/* NULL, or why no kernel runs this: contradictions and numbers out of range. */
const char *conv_refuse_numbers(const struct kernel_desc *desc);
/* Whether products of bytes might leave the 32 bits of their sums: 255 · 127 a product. */
bool conv_may_overflow(const struct kernel_desc *desc);
/* conv_refuse_numbers for kernels whose inputs are of this type and whose outputs of any. */
const char *conv_refuse_inputs(const struct kernel_desc *desc, enum kernel_type type);

/* The same for the kernels of 3×3 convolutions with stride 1 and padding 1. */
const char *conv3x3_refuse(const struct kernel_desc *desc, enum kernel_type type);

int conv_group_count(const struct kernel_desc *desc, int most_blocks);
struct conv_group conv_group(const struct kernel_desc *desc, int most_blocks, int group);

/* Taps × words of channels: the steps of a tile over all sources. */
size_t conv_steps(const struct kernel_desc *desc);

/* What stands before the weights, of whatever method: its floats; and writes it, returns its end.
 * The bias is the layer's own: see conv_correct_bias. */
size_t conv_constant_floats(const struct kernel_desc *desc);
float *conv_pack_constants(const struct kernel_desc *desc, const struct kernel_weights *weights,
                           void *packed);

/* Of packed constants whose inputs are U8: adds to the bias what byte_weights.h rounds away of the
 * weights, times the means of the inputs. For methods that multiply those weights. */
void conv_correct_bias(const struct kernel_desc *desc, const struct kernel_weights *weights,
                       void *packed);

/* F32 and BF16: a word of weights of as many channels as it holds: `from` is the first one's, the
 * next lies `stride` further; `count` of them, perhaps none, are there; zeros stand for the
 * others. */
float conv_pack_word(enum kernel_type type, const float *from, size_t stride, int count);

size_t conv_packed_bytes(const struct kernel_desc *desc);
void conv_pack(const struct kernel_desc *desc, const struct kernel_weights *weights,
               int most_blocks, void *packed);
struct conv_packed conv_packed_parts(const struct kernel_desc *desc, const void *packed);

#endif
