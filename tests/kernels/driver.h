/* The driver that checks and times every kernel: its parts. */
#ifndef UNET_TESTS_KERNELS_DRIVER_H
#define UNET_TESTS_KERNELS_DRIVER_H

#include "kernels/kernel.h"

#include <stddef.h>

/* ---------------------------------------------------------------- guarded.c */

/* Memory between two unmapped pages: the bytes touch the upper one (at_end) or the lower one. What
 * is left of their pages on the other side holds a pattern. */
struct guarded {
    unsigned char *map; /* from the lower unmapped page on */
    size_t map_bytes;
    void *data;
    size_t bytes;
    bool at_end, protected;
};

/* Filled with NaN. `bytes` is a multiple of 64 where alignment matters. */
void guarded_new(struct guarded *memory, size_t bytes, bool at_end);
void guarded_poison(const struct guarded *memory);
/* Further writes fault. */
void guarded_protect(struct guarded *memory);
/* False if the pattern was written over. */
bool guarded_intact(const struct guarded *memory);
/* Keeps the mapping for the next memory of its size. */
void guarded_free(struct guarded *memory);

/* Calls function(context). False if it touched memory that is not there to be touched. */
bool guarded_call(void (*function)(void *context), void *context);

/* ---------------------------------------------------------------- reference.c */

/* What a kernel must yield: |got − value| ≤ bound. channels × height × width; NULL: not wanted. */
struct expected {
    int channels, height, width;
    double *value, *bound;
};

/* What the methods of convolution share; each has bounds of its own. */
struct conv_expected {
    struct expected out, pooled, planar;
};

#define WINOGRAD_SIZES 3

/* EXACT: integers with which Winograd's F(2,3) and F(4,3) are exact too. */
enum case_data {
    DATA_INTEGERS,
    DATA_UNIFORM,
    DATA_MAGNITUDES,
    DATA_DENORMALS,
    DATA_ZEROS,
    DATA_EXACT,
    DATA_COUNT
};

/* Weights of 8-bit products: whole · step; and what is added to the sum, a value a tap where a tap
 * has its own outputs. */
struct rounded_weights {
    double *whole;       /* in the order of the weights */
    double *step, *bias; /* an output; out_channels × taps */
};

struct test_case {
    uint64_t seed, state; /* of random numbers, after the shape's */
    enum case_data data;
    struct kernel_desc desc;
    int height, width;                             /* of the sources */
    int out_height, out_width, offset_y, offset_x; /* of ops that place their result */
    float *sources[KERNEL_MAX_SOURCES];            /* planar */
    /* Of a convolution: a source that may as well be up-sampled, 0: none; from `low`, placed at
     * offset_y, offset_x. The expected results are those of sources[upsampled] as it is. */
    int upsampled, low_height, low_width;
    float *low;
    float *weight, *bias, *head_weight, *head_bias;
    float *weight_step, *mean;                   /* where sources are U8; or NULL */
    uint8_t zeros[KERNEL_MAX_SOURCES], out_zero; /* of U8 */
    struct rounded_weights rounded;              /* of sources that are U8 */
    int pixel_step;                              /* LOAD: of pixels that mean sources[0]; or 0 */
    uint8_t *pixels;
    float *pixel_values;
    struct conv_expected direct; /* of every op */
    bool winograd_wanted[WINOGRAD_SIZES];
    struct conv_expected winograd[WINOGRAD_SIZES]; /* of 3×3, by F(2,3), F(4,3), F(6,3) */
    struct inputs *inputs;                         /* what kernels read */
};

/* Fills the expected results in double precision. The bounds hold for any order of float32 sums,
 * with or without fused multiply-add, and are exact (0) where the data are small integers. */
void reference_run(struct test_case *test);

/* ---------------------------------------------------------------- winograd_bound.c */

/* ".winograd2", …: how a kernel's method begins. */
extern const char *const winograd_names[WINOGRAD_SIZES];

/* Fills the bounds of test->winograd[size].out, and its values where U and V are rounded to
 * bf16. */
void winograd_bounds(struct test_case *test, int size);

/* ---------------------------------------------------------------- cases.c */

/* How many cases there are of an op. */
int case_count(enum kernel_op op);
/* The types of a case. */
struct case_types {
    enum kernel_type in, out;
};

/* How many pairs of types an op's cases are made of, each in turn; and which. */
int case_types_count(enum kernel_op op);
struct case_types case_types(enum kernel_op op, int index);

/* Makes case `index`, without data and expected results, which are the work: those come after. */
void case_make(struct test_case *test, enum kernel_op op, struct case_types types, int index,
               uint64_t seed);
void case_fill(struct test_case *test);
void case_free(struct test_case *test);
/* One line: op, sizes, options. Returns `text`. */
const char *case_text(const struct test_case *test, char *text, size_t bytes);

void *need(void *memory); /* ends the program where there is none */
uint64_t next_random(uint64_t *state);
int random_in(uint64_t *state, int low, int high); /* both included */

/* ---------------------------------------------------------------- inputs.c */

/* The inputs of a case as kernels read them: against the upper unmapped page or the lower one, and
 * read-only, so that all trials share them. Made when they are first asked for. */
struct inputs *inputs_new(void);
void inputs_free(struct inputs *inputs);
struct blocked input_source(const struct test_case *test, int s, bool at_end);
struct blocked input_low(const struct test_case *test, bool at_end);
const float *input_planes(const struct test_case *test, bool at_end);
struct kernel_pixels input_pixels(const struct test_case *test, bool at_end);

/* ---------------------------------------------------------------- check.c */

/* Its size of tile: an index of winograd_names; −1: none, it is not Winograd's. */
int winograd_size(const struct kernel *kernel);

/* Runs the kernel as 1, 2 and 7 threads would share its tasks; the same again from pixels or to a
 * mask, and with test->upsampled read up-sampled, where it can. NULL if all is as it must be, else
 * what is wrong; `text` may hold it. */
const char *check_kernel(const struct kernel *kernel, const struct test_case *test, char *text,
                         size_t bytes);

/* ---------------------------------------------------------------- workers.c */

/* Zeroed memory that all workers share; the program ends where there is none. */
void *shared_new(size_t bytes);

/* What a worker is at, for whoever finds it dead. */
struct work_place {
    int item;         /* −1: none */
    const char *name; /* of the kernel, or NULL */
};

/* How many processors this process may use. */
int processors(void);

/* Calls work(context, item, place) for items 0 … count − 1, each in one of `workers` processes,
 * whichever is free; in this one if there is to be but one. Returns how many workers ended before
 * their time, each with a line that says at what. */
int work_through(int count, int workers,
                 void (*work)(void *context, int item, struct work_place *place), void *context);

/* ---------------------------------------------------------------- amx_emulated.c */

/* Kernels that no list has: those of AMX that this machine lacks, with its instructions done in C.
 * Terminated by NULL; none where what is left of them cannot run either. */
const struct kernel *const *emulated_kernels(void);

/* ---------------------------------------------------------------- bench.c */

struct bench_options {
    const char *filter;
    int threads;
    double seconds;
    enum kernel_type precision; /* of the tensors between layers */
};

int bench_run(const struct bench_options *options);

const char *op_name(enum kernel_op op);

#endif
