/* A network as nodes that read and write values. General: nothing here knows U-Nets.
 *
 * Values are tensors of channels × height × width (the batch is outside the graph). Channels
 * are fixed; height and width follow from the input's size by graph_infer. Node i reads only values
 * that earlier nodes wrote: the order of `nodes` is a valid order of execution. */
#ifndef UNET_GRAPH_GRAPH_H
#define UNET_GRAPH_GRAPH_H

#include "base/memory.h"

#define GRAPH_MAX_INPUTS   8
#define GRAPH_NONE         (-1)
#define GRAPH_MAX_NODES    4096
#define GRAPH_MAX_VALUES   (3 * GRAPH_MAX_NODES + 1)
#define GRAPH_MAX_CHANNELS 65536
#define GRAPH_MAX_KERNEL   15        /* also of stride and padding */
#define GRAPH_MAX_SIDE     (1 << 20) /* of any value: counts and bytes stay within 64 bits */

enum graph_op {
    GRAPH_CONV,           /* inputs: 1…n sources, read as if concatenated along the channels */
    GRAPH_CONV_TRANSPOSE, /* inputs: x [, like]; kernel = stride, no padding */
    GRAPH_BATCH_NORM,     /* y = scale[c] · x + shift[c], made by the reader from mean, var, … */
    GRAPH_RELU,
    GRAPH_MAX_POOL, /* kernel = stride; an odd last row or column is dropped */
    GRAPH_UPSAMPLE, /* bilinear ×2, align_corners: inputs: x [, like] */
    GRAPH_PAD,      /* inputs: x, like: zero-padded to like's height and width, as
                       Pytorch-UNet's Up: floor((like − x) / 2) above and left. Where x is
                       the larger, it is cropped by the same rule (as F.pad does) */
    GRAPH_CONCAT,   /* along the channels, same height and width */
    GRAPH_OP_COUNT
};

/* Row-major constants of a node. Convolution: O × I × KH × KW; transposed: I × O × KH × KW, as in
 * PyTorch; bias, scale, shift: O. No two nodes share one: passes rewrite them in place. */
struct graph_constant {
    float *data;
    int64_t count;
};

struct graph_node {
    enum graph_op op;
    const char *name; /* the checkpoint's layer, without ".weight" */
    int inputs[GRAPH_MAX_INPUTS], input_count;
    /* What passes have fused into a node, in the order of execution:
     *   y = conv(x) + bias; relu; → output;  2×2 max-pool of y → pooled;  1×1 of y → head. */
    int output;                              /* GRAPH_NONE where nobody reads y itself any more */
    int pooled;                              /* GRAPH_NONE: no pool fused */
    int head;                                /* GRAPH_NONE: no head fused */
    int kernel_h, kernel_w, stride, padding; /* conv, conv_transpose, max_pool */
    bool relu;
    /* CONV: the input, never the first, that is read as GRAPH_UPSAMPLE and then GRAPH_PAD like the
     * first would make it, rounded to its own type; 0: none. Nobody stores that. */
    int upsampled;
    /* With a second input `like` (UPSAMPLE, CONV_TRANSPOSE): the result is padded (or cropped) to
     * like's height and width as GRAPH_PAD does. */
    struct graph_constant weight, bias; /* bias.data may be NULL: zero; BATCH_NORM: scale, shift */
    struct graph_constant head_weight, head_bias; /* head channels × O, head channels */
    /* CONV, CONV_TRANSPOSE of 8-bit inputs: for kernels of 8-bit products. Weights of output
     * channel o become multiples of weight_step[o]: of U8 inputs by whole numbers up to 127 either
     * way, of E4M3 ones by what an e4m3 holds; without data, of its largest magnitude / 127, or /
     * 448. What rounding leaves, times `mean`, the inputs' mean channel by channel as they are
     * stored, goes into the bias; without data, nothing does. */
    struct graph_constant weight_step, mean;
};

/* What a value is stored as, from the widest to the narrowest. A convolution sums in float32; the
 * weights that meet f16 or bf16 inputs are rounded to it too. U8: whole numbers, to the nearest,
 * ties to even, from 0 to 255; what is beyond is clipped (docs/int8.md). E4M3: base/e4m3.h's, what
 * is beyond 448 clipped. */
enum graph_type { GRAPH_F32, GRAPH_F16, GRAPH_BF16, GRAPH_U8, GRAPH_E4M3, GRAPH_TYPE_COUNT };

/* The types of 8-bit products, for which a graph is rescaled. */
static inline bool graph_is_8bit(enum graph_type type)
{
    return type == GRAPH_U8 || type == GRAPH_E4M3;
}

struct graph_value {
    const char *name;
    int channels;
    enum graph_type type;
    uint8_t zero; /* of U8, else 0: what stands around it where it is padded, in the place of 0 */
};

struct graph {
    struct arena arena; /* owns everything below */
    struct graph_node *nodes;
    int node_count, node_capacity;
    struct graph_value *values;
    int value_count, value_capacity;
    int input, output;        /* values */
    const char *architecture; /* static or in the arena */
    bool sigmoid_output;      /* the checkpoint's own program ends in a sigmoid: brain */
    bool tf32; /* convolutions may round the float32 values that they multiply to 11 bits */
    unet_normalize normalize; /* what it was trained with; never DEFAULT */
};

struct graph_size {
    int height, width;
};

/* Append; GRAPH_NONE on lack of memory. */
int graph_add_value(struct graph *graph, const char *name, int channels);
/* The node is zeroed but for op, name and GRAPH_NONE outputs; NULL on lack of memory. The pointer
 * holds until the next node is added. */
struct graph_node *graph_add_node(struct graph *graph, enum graph_op op, const char *name);

/* Sizes of all values for one size of the input: `sizes` has value_count members. USAGE if a layer
 * would yield an empty tensor (names it and the least input size) or one beyond GRAPH_MAX_SIDE.
 * MODEL if shapes contradict. After a failure `sizes` is undefined. */
unet_status graph_infer(const struct graph *graph, int height, int width, struct graph_size *sizes,
                        unet_error *error);

/* Checks what graph_infer and every later reader rely on: indices, order, channel counts, constant
 * sizes, finite constants. An engine file's graph goes through it before use. MODEL. */
unet_status graph_check(const struct graph *graph, unet_error *error);
/* The same without reading the constants' values: all that memory safety needs, and it touches no
 * page of mapped weights. */
unet_status graph_check_structure(const struct graph *graph, unet_error *error);

/* NULL, or why the types of what a node reads and writes do not fit together: "reads values of …".
 * Its values must exist. */
const char *graph_type_fault(const struct graph *graph, const struct graph_node *node);
/* The narrowest type of all values. */
enum graph_type graph_precision(const struct graph *graph);

/* Channels of y, the node's own result, which may be stored nowhere (only pooled or a head). */
int graph_node_channels(const struct graph *graph, const struct graph_node *node);
/* Height and width of y before a fused pool; where y is padded to `like`: like's. */
struct graph_size graph_node_size(const struct graph_node *node, const struct graph_size *sizes);

/* Multiply-adds of a node at these sizes, heads included. Convolutions, plain and transposed, have
 * them; what the other nodes do counts as none. */
double graph_node_macs(const struct graph *graph, const struct graph_node *node,
                       const struct graph_size *sizes);

const char *graph_op_name(enum graph_op op);
/* "concat+upsample+relu+pool+head": what is fused into the node, "" if nothing. Returns `text`. */
char *graph_fused_text(const struct graph_node *node, char *text, size_t bytes);

/* A graph of its own, constants included; `to` is overwritten, and left empty on failure.
 * MEMORY. */
unet_status graph_copy(const struct graph *from, struct graph *to, unet_error *error);

/* Frees all and zeroes the struct. NULL is accepted. */
void graph_clear(struct graph *graph);

#endif
