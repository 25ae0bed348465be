/* What a kernel is: one way to run one operation on tensors. Kernels know no graph.
 *
 * BLOCKED LAYOUT, the CPU's. A tensor of C channels is stored row by row; in a row, blocks of 16
 * channels; in a block, columns; in a column, 16 floats:
 *
 *     row y:   | block 0: col −1 | col 0 | … | col W−1 | col W | block 1: col −1 | … |
 *                        └ 16 channels of one pixel, 64 bytes, 64-byte aligned
 *
 *     at(y, b, x) = data + y · row_stride + b · block_stride + x · 16
 *
 * Every tensor has a BORDER of one pixel on each side (rows −1 and H, columns −1 and W) that holds
 * zeros, so that a 3×3 window never needs a test. Whoever writes a tensor writes its border too
 * (kernel_zero_border). Lanes past the last channel hold zeros: weights there are packed as
 * zero. A kernel may read what lies inside the bordered tensor, and nothing else. Elements of
 * another type than float lie the same way, 16 to a pixel of a block; strides count elements, and a
 * pixel of bf16 is 32 bytes, of U8 16, aligned to its size. U8 is what docs/int8.md says: whole
 * numbers; where this file says that there are zeros around a tensor, there is its `zero`.
 *
 * NHWC LAYOUT, the GPU's: images × rows × columns × channels, without border. A pixel is its
 * channels, padded with zeros to a multiple of 16 bytes (pixel_stride); a tensor begins at a
 * multiple of 256 bytes. What stands for zero (`zero`) is stored as 0: bytes of a U8 tensor whose
 * zero is 128 are signed, 128 less.
 *
 * PLANAR LAYOUT, for the caller's tensors: (images ×) channels × height × width floats without
 * border.
 *
 * The caller may also give 8-bit PIXELS for an input and take a MASK, a byte a pixel, for an
 * output: then no planes are made. */
#ifndef UNET_KERNELS_KERNEL_H
#define UNET_KERNELS_KERNEL_H

#include "base/cpu.h"
#include "base/error.h"

#define KERNEL_BLOCK       16
#define KERNEL_BORDER      1
#define KERNEL_MAX_SOURCES 4

/* Of a tensor's elements. Sums are float32 for all of them. F16 and E4M3 are the GPU's alone. E4M3
 * is base/e4m3.h's: what is beyond 448 is stored as 448; of weights it holds multiples of a step,
 * as of U8, that of struct kernel_weights or the largest magnitude's 448th part. */
enum kernel_type { KERNEL_F32, KERNEL_F16, KERNEL_BF16, KERNEL_U8, KERNEL_E4M3, KERNEL_TYPE_COUNT };

enum kernel_format { KERNEL_BLOCKED, KERNEL_NHWC };

struct blocked {
    void *data; /* pixel (0, 0) of block 0, or of image 0 */
    enum kernel_type type;
    int channels, height, width;
    size_t row_stride, block_stride;   /* in elements; block_stride is BLOCKED's alone */
    uint8_t zero;                      /* of U8, else 0: see above */
    int images;                        /* 1 where BLOCKED */
    size_t pixel_stride, image_stride; /* in elements; 0 where BLOCKED */
};

enum kernel_op {
    KERNEL_CONV,           /* + bias, relu, pool, head */
    KERNEL_CONV_TRANSPOSE, /* 2×2, stride 2, + bias; padded into a larger output */
    KERNEL_UPSAMPLE,       /* bilinear ×2, align_corners; padded into a larger output */
    KERNEL_MAX_POOL,       /* 2×2, stride 2 */
    KERNEL_LOAD,           /* planar → blocked */
    KERNEL_STORE,          /* blocked → planar */
    KERNEL_OP_COUNT
};

/* Everything about an operation but its size: what a choice of kernel and the packing of weights
 * may depend on. */
struct kernel_desc {
    enum kernel_op op;
    enum kernel_type in_type, out_type; /* of all sources; of `out`. Planes are F32 */
    enum kernel_type pooled_type;       /* CONV: of `pooled`; else F32 */
    int source_count, source_channels[KERNEL_MAX_SOURCES];
    /* CONV: the source, never the first, that is given at its own size and read as UPSAMPLE would
     * make it, in the first one's size; 0: none. To the bits that UPSAMPLE of its tier stores. */
    int upsampled;
    int out_channels;
    int kernel_h, kernel_w, stride, padding; /* CONV; CONV_TRANSPOSE and MAX_POOL: 2, 2, 2, 0 */
    bool relu;
    bool tf32;         /* F32 sources may be multiplied with 10 bits of mantissa */
    bool store_out;    /* CONV: y itself is wanted */
    bool pool;         /* CONV: 2×2 max-pool of y is wanted */
    int head_channels; /* CONV: a 1×1 convolution of y is wanted, planar; 0: none */
};

/* height × width × `step` bytes: channel c of a pixel is values[256 · c + byte], of the pixel's
 * byte c, or of its only one where step is 1. At most KERNEL_BLOCK channels. */
struct kernel_pixels {
    const uint8_t *bytes; /* NULL: there are none */
    int step;
    const float *values;
};

/* height × width classes. Of several: the first whose logit is not less than any after it, where a
 * NaN is greater than nothing. A single one: 1 where its logit is > above, else 0. */
struct kernel_mask {
    uint8_t *classes; /* NULL: none is wanted */
    float above;
};

/* The most classes that a mask tells apart. */
#define KERNEL_MASK_CLASSES 256

struct device_stream;

/* The tensors of one call. The kernel writes `out` (unless !store_out), `pooled`, `planar_out` or
 * `mask_out` in full, borders of blocked tensors included, and never reads them. No buffer overlaps
 * another. */
struct kernel_args {
    struct blocked sources[KERNEL_MAX_SOURCES];
    struct blocked out, pooled;
    int offset_y, offset_x; /* UPSAMPLE, CONV_TRANSPOSE: where the result lies in `out`; may be
                               negative (then it is cropped); the rest of `out` is zero. CONV:
                               where that of an up-sampled source lies in what is read */
    const float *planar_in; /* LOAD, CONV from_input */
    struct kernel_pixels pixels_in; /* instead of planar_in, where there are pixels */
    bool from_input;                /* CONV that reads_input: from there, instead of sources[0] */
    float *planar_out;              /* STORE, CONV head */
    struct kernel_mask mask_out; /* STORE, CONV head: instead of planar_out, where it is wanted */
    const void *packed;          /* what pack() wrote */
    void *scratch;               /* launch: as many bytes as scratch_bytes says */
    int threads;                 /* that share out the tasks; no bit depends on it */
    size_t cache_bytes;          /* tensors of so many are taken for LARGE; 0: of 24 MiB */
    int phases;                  /* of struct kernel_share, where there are several; else 0 */
    void *shared;                /* then its shared_bytes, 64-byte aligned */
};

/* LARGE: would not wait in a last-level cache until the next layer reads it. Such outputs may be
 * stored past the caches, such inputs fetched early; no bit depends on it. */
bool kernel_is_large(const struct kernel_args *args, const struct blocked *t);

/* How a call's work is shared out: each phase is so many tasks, independent of each other, and
 * begins when all of the phase before have ended. Together they write everything, each its own
 * part. */
struct kernel_share {
    int phases, tasks;
    size_t scratch_bytes; /* of each thread */
    size_t shared_bytes;  /* of all together: what one phase leaves to the next */
};

/* Row-major float32 constants in PyTorch's layouts; any may be NULL (bias: zeros). */
struct kernel_weights {
    const float *weight, *bias; /* O × I × KH × KW (transposed: I × O × KH × KW); O */
    const float *head_weight, *head_bias; /* head × O; head */
    /* For products of 8 bits: O; a mean for each channel of all sources, in the unit of the stored
     * bytes. struct graph_node says what they do. */
    const float *weight_step, *mean;
};

/* Its functions get the kernel itself first: kernels that differ in their tier alone share them,
 * and find in `method` what sets them apart. */
struct kernel {
    const char *name; /* "conv3x3.direct.avx512": OPERATION.METHOD.TIER, unique, never reused for
                         another packing: engines refer to it */
    enum kernel_op op;
    enum cpu_tier tier;
    uint32_t features; /* needed beyond the tier */
    /* CONV: the type of sources that this kernel multiplies faster than float32 can be; F32: none.
     * Who asks for a precision wants its speed: see kernel_type_refusal. */
    enum kernel_type fast_type;
    const void *method;
    /* CONV: a single source of at most a block may be given as planes or pixels (from_input), and
     * then sources[0] is a tensor that nobody has written: only its sizes count. */
    bool reads_input;

    /* NULL if the kernel can run this, else why not, in a few words ("3×3 only"). */
    const char *(*refuse)(const struct kernel *kernel, const struct kernel_desc *desc);
    /* Packed weights depend on the description alone. 0 bytes: none. pack writes all of them. */
    size_t (*packed_bytes)(const struct kernel *kernel, const struct kernel_desc *desc);
    void (*pack)(const struct kernel *kernel, const struct kernel_desc *desc,
                 const struct kernel_weights *weights, void *packed);
    /* Per thread (launch: in all), for args of this size; 0: none. Only sizes and strides of `args`
     * are read. */
    size_t (*scratch_bytes)(const struct kernel *kernel, const struct kernel_desc *desc,
                            const struct kernel_args *args);
    /* How many independent tasks; together they write everything, each its own part. Also reads
     * `threads` of `args`. */
    int (*task_count)(const struct kernel *kernel, const struct kernel_desc *desc,
                      const struct kernel_args *args);
    /* NULL, or: how the work may be shared out in phases; whether that is better than task_count.
     * The same bits come out. No phases: it may not. */
    bool (*share)(const struct kernel *kernel, const struct kernel_desc *desc,
                  const struct kernel_args *args, struct kernel_share *share);
    /* One task of `tasks`, counted on through the phases; `scratch`: as many bytes of this thread's
     * as asked for, 64-byte aligned. */
    void (*run)(const struct kernel *kernel, const struct kernel_desc *desc,
                const struct kernel_args *args, int task, int tasks, void *scratch);

    /* A GPU's, in the place of task_count and run: enqueues all of it, for all images. Pointers in
     * `args` are the device's. DEVICE. */
    unet_status (*launch)(const struct kernel *kernel, const struct kernel_desc *desc,
                          const struct kernel_args *args, struct device_stream *stream,
                          unet_error *error);
    int compute_least, compute_most; /* of the GPU; 0: no bound */
};

/* All of the CPU's kernels, the candidates of each op in the order of preference: fastest first,
 * plain C last. Terminated by NULL. */
const struct kernel *const *kernel_list(void);

/* NULL if there is none of that name. */
const struct kernel *kernel_find(const char *name);

/* Why this machine (at this tier, within UNET_CPU) cannot run it: "needs avx512, the tier is avx2";
 * NULL: it can. Returns a static or `text`. */
const char *kernel_machine_refusal(const struct kernel *kernel, enum cpu_tier tier, char *text,
                                   size_t bytes);

/* Why tensors of this type gain nothing here: no kernel multiplies them faster than float32, and
 * what the last of those that could lacks. NULL: one does. Returns `text`. */
const char *kernel_type_refusal(enum kernel_type type, enum cpu_tier tier, char *text,
                                size_t bytes);

/* The better way for the threads of `args`. */
struct kernel_share kernel_share(const struct kernel *kernel, const struct kernel_desc *desc,
                                 const struct kernel_args *args);

/* Helpers for kernels and planners. */
static inline int kernel_blocks(int channels)
{
    return (channels + KERNEL_BLOCK - 1) / KERNEL_BLOCK;
}

/* "f32", "f16", "bf16", "u8", "e4m3". */
const char *kernel_type_name(enum kernel_type type);

static inline size_t kernel_type_bytes(enum kernel_type type)
{
    static const uint8_t bytes[KERNEL_TYPE_COUNT] = {
        [KERNEL_F32] = 4, [KERNEL_F16] = 2, [KERNEL_BF16] = 2, [KERNEL_U8] = 1, [KERNEL_E4M3] = 1};
    return bytes[type];
}

/* Elements in 32 bits: what a multiply-add of this type takes of one pixel for one lane. */
static inline int kernel_word_channels(enum kernel_type type)
{
    return 4 / (int)kernel_type_bytes(type);
}

/* Words that hold these channels; what pads the last one is zero, in tensors and in weights. */
static inline int kernel_words(enum kernel_type type, int channels)
{
    int word = kernel_word_channels(type);
    return (channels + word - 1) / word;
}

static inline void *blocked_at(const struct blocked *t, int y, int block, int x)
{
    ptrdiff_t place = (ptrdiff_t)y * (ptrdiff_t)t->row_stride +
                      (ptrdiff_t)block * (ptrdiff_t)t->block_stride + (ptrdiff_t)x * KERNEL_BLOCK;
    return (char *)t->data + place * (ptrdiff_t)kernel_type_bytes(t->type);
}

/* Type and strides for a tensor, and the bytes that it takes with its border, a multiple of 64;
 * `data` is left alone. blocked_origin is where pixel (0, 0) lies in them. */
size_t blocked_init(struct blocked *t, enum kernel_type type, int channels, int height, int width);
size_t blocked_origin(const struct blocked *t);

/* The same for NHWC: a multiple of 256 bytes; the first pixel lies at their beginning. */
size_t nhwc_init(struct blocked *t, enum kernel_type type, int channels, int height, int width,
                 int images);

/* For kernels whose description says all: those without packed weights or scratch. */
size_t kernel_no_packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc);
void kernel_no_pack(const struct kernel *kernel, const struct kernel_desc *desc,
                    const struct kernel_weights *weights, void *packed);
size_t kernel_no_scratch(const struct kernel *kernel, const struct kernel_desc *desc,
                         const struct kernel_args *args);

/* Zeroes `count` pixels of a block from (y, x) on; none where count is not above 0. */
void kernel_zero_pixels(const struct blocked *t, int y, int block, int x, int count);

/* Zeroes the border columns of rows [first_row, last_row) in blocks [first_block, last_block), and
 * those blocks' border row above row 0 or below row H − 1 where the range touches it. An empty
 * range writes nothing: where tasks share out the rows, each border row has one owner. */
void kernel_zero_border(const struct blocked *t, int first_row, int last_row, int first_block,
                        int last_block);

#endif
