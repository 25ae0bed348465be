/* The driver that checks and times every kernel of a GPU: its parts. */
#ifndef UNET_TESTS_GPU_DRIVER_H
#define UNET_TESTS_GPU_DRIVER_H

#include "kernels/device.h"

/* ---------------------------------------------------------------- cases.c */

/* Values of a planar tensor, images × channels × height × width, and how far each may be off. */
struct values {
    int images, channels, height, width;
    double *value, *bound; /* NULL: not wanted; bound: of results alone */
};

/* EXACT: small multiples of a power of two, whose sums have no rounding in any type. */
enum case_data { DATA_EXACT, DATA_UNIFORM, DATA_COUNT };

/* What a case is made of; `sources` hold what their type can. */
struct test_case {
    uint64_t state; /* of random numbers */
    enum case_data data;
    struct kernel_desc desc;
    int images, height, width;                     /* of the sources */
    int out_height, out_width, offset_y, offset_x; /* of ops that place their result */
    struct values sources[KERNEL_MAX_SOURCES];
    float *weight, *bias, *head_weight, *head_bias;
    float *weight_step, *mean;                   /* where sources are U8; or NULL */
    uint8_t zeros[KERNEL_MAX_SOURCES], out_zero; /* of U8 */
    int pixel_step;                              /* of 8-bit pixels that mean sources[0]; 0: none */
    uint8_t *pixels;
    float *pixel_values;
    struct values out, pooled, planar; /* what must come out */
};

int case_count(enum kernel_op op, int scale);
/* Makes case `index` with its expected results. */
void case_make(struct test_case *test, enum kernel_op op, int index);
void case_free(struct test_case *test);
const char *case_text(const struct test_case *test, char *text, size_t bytes);

void *need(void *memory); /* ends the program where there is none */
size_t value_count(const struct values *values);
void values_new(struct values *values, int images, int channels, int height, int width);
double *value_at(const struct values *values, double *of, int image, int channel, int y, int x);
/* The number of this type nearest to it. */
double round_to(enum kernel_type type, double value);

/* ---------------------------------------------------------------- reference.c */

/* In double precision, with what each kernel may round. */
void reference_run(struct test_case *test);

/* ---------------------------------------------------------------- trial.c */

struct gpu {
    const struct device_backend *backend;
    struct device *device;
    struct device_stream *stream;
};

/* Runs the kernel on the case, in every way it can be called. NULL if all is as it must be, else
 * what is wrong; `text` may hold it. */
const char *trial_run(const struct gpu *gpu, const struct kernel *kernel,
                      const struct test_case *test, char *text, size_t bytes);

/* Why this GPU does not run it; NULL: it does. */
const char *gpu_refuses(const struct gpu *gpu, const struct kernel *kernel,
                        const struct kernel_desc *desc, char *text, size_t bytes);

/* ---------------------------------------------------------------- bench.c */

struct bench_options {
    const char *filter; /* of kernels' names; NULL: all */
    const char *layer;  /* of layers' names; NULL: all */
    int batch, rounds;
    enum kernel_type type; /* of tensors */
    bool tf32;
};

/* False if something failed. */
bool bench_run(const struct gpu *gpu, const struct bench_options *options);

#endif
