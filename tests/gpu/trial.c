/* One kernel on one case. All that it may touch is cut from one piece of memory whose copy on the
 * host says what every byte is: where nothing may be written, nothing may have changed, and what
 * lies between tensors is NaN, so that reading it shows. */
#include "driver.h"

#include "base/bf16.h"
#include "base/e4m3.h"
#include "base/f16.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 256
#define POISON    0xff

/* Bytes of the piece; written: the kernel may write there. */
struct part {
    size_t at, bytes;
    bool written;
};

#define MOST_PARTS 16

struct piece {
    unsigned char *host, *back; /* before, after */
    char *device;
    size_t bytes;
    struct part parts[MOST_PARTS];
    int count;
};

/* A part, poisoned, with a gap behind it. */
static size_t piece_add(struct piece *piece, size_t bytes, bool written)
{
    size_t at = piece->bytes;
    size_t end = (at + bytes + 2 * ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    piece->host = need(realloc(piece->host, end));
    memset(piece->host + at, POISON, end - at);
    piece->parts[piece->count++] = (struct part){at, bytes, written};
    piece->bytes = end;
    return at;
}

static size_t piece_add_copy(struct piece *piece, const void *from, size_t bytes)
{
    size_t at = piece_add(piece, bytes, false);
    memcpy(piece->host + at, from, bytes);
    return at;
}

/* ---------------------------------------------------------------- elements */

/* zero: of U8; bytes whose zero is 128 are stored signed, 128 less. */
static void put(enum kernel_type type, uint8_t zero, unsigned char *to, double value)
{
    float narrow = (float)value;
    uint16_t half = type == KERNEL_F16 ? f16_from_float(narrow) : bf16_from_float(narrow);
    if (type == KERNEL_F32)
        memcpy(to, &narrow, sizeof narrow);
    else if (type == KERNEL_U8)
        *to = (unsigned char)((unsigned char)value ^ zero);
    else if (type == KERNEL_E4M3)
        *to = e4m3_from_float(narrow);
    else
        memcpy(to, &half, sizeof half);
}

static double get(enum kernel_type type, uint8_t zero, const unsigned char *from)
{
    float wide;
    uint16_t half;
    if (type == KERNEL_U8)
        return *from ^ zero;
    if (type == KERNEL_E4M3)
        return (double)e4m3_to_float(*from);
    if (type == KERNEL_F32) {
        memcpy(&wide, from, sizeof wide);
        return (double)wide;
    }
    memcpy(&half, from, sizeof half);
    return (double)(type == KERNEL_F16 ? f16_to_float(half) : bf16_to_float(half));
}

/* Byte of an element of an NHWC tensor. */
static size_t element_at(const struct blocked *t, int image, int c, int y, int x)
{
    size_t place = (size_t)image * t->image_stride + (size_t)y * t->row_stride +
                   (size_t)x * t->pixel_stride + (size_t)c;
    return place * kernel_type_bytes(t->type);
}

/* ---------------------------------------------------------------- a trial */

struct trial {
    const struct gpu *gpu;
    const struct kernel *kernel;
    const struct test_case *test;
    struct piece piece;
    struct kernel_args args; /* pointers are offsets until the piece is placed */
    size_t out, pooled, planar, mask, weights, scratch;
    bool from_input, from_pixels, to_mask;
};

static void add_source(struct trial *trial, int s)
{
    const struct values *from = &trial->test->sources[s];
    struct blocked *t = &trial->args.sources[s];
    nhwc_init(t, trial->test->desc.in_type, from->channels, from->height, from->width,
              from->images);
    t->zero = trial->test->zeros[s];
    if (trial->from_input || trial->test->desc.op == KERNEL_LOAD)
        return;
    size_t bytes = t->image_stride * (size_t)t->images * kernel_type_bytes(t->type);
    size_t at = piece_add(&trial->piece, bytes, false);
    memset(trial->piece.host + at, 0, bytes);
    for (int image = 0; image < from->images; image++)
        for (int c = 0; c < from->channels; c++)
            for (int y = 0; y < from->height; y++)
                for (int x = 0; x < from->width; x++)
                    put(t->type, t->zero, trial->piece.host + at + element_at(t, image, c, y, x),
                        *value_at(from, from->value, image, c, y, x));
    t->data = (void *)at; /* NOLINT: an offset */
}

static size_t add_result(struct trial *trial, struct blocked *t, enum kernel_type type,
                         const struct values *like)
{
    nhwc_init(t, type, like->channels, like->height, like->width, like->images);
    t->zero = type == KERNEL_U8 ? trial->test->out_zero : 0;
    return piece_add(&trial->piece, t->image_stride * (size_t)t->images * kernel_type_bytes(type),
                     true);
}

static void add_results(struct trial *trial)
{
    const struct test_case *test = trial->test;
    const struct kernel_desc *desc = &test->desc;
    size_t pixels =
        (size_t)test->planar.images * (size_t)test->planar.height * (size_t)test->planar.width;
    if (test->out.value != NULL && desc->store_out && desc->op != KERNEL_STORE)
        trial->out = add_result(trial, &trial->args.out, desc->out_type, &test->out);
    if (test->pooled.value != NULL)
        trial->pooled = add_result(trial, &trial->args.pooled, desc->pooled_type, &test->pooled);
    if (test->planar.value != NULL && trial->to_mask)
        trial->mask = piece_add(&trial->piece, pixels, true);
    else if (test->planar.value != NULL)
        trial->planar = piece_add(&trial->piece, value_count(&test->planar) * sizeof(float), true);
}

static size_t add_planes(struct trial *trial)
{
    const struct values *from = &trial->test->sources[0];
    size_t at = piece_add(&trial->piece, value_count(from) * sizeof(float), false);
    for (size_t i = 0; i < value_count(from); i++)
        put(KERNEL_F32, 0, trial->piece.host + at + i * sizeof(float), from->value[i]);
    return at;
}

static void add_inputs(struct trial *trial, size_t *planes, size_t *pixels, size_t *values)
{
    const struct test_case *test = trial->test;
    const struct values *from = &test->sources[0];
    for (int s = 0; s < test->desc.source_count; s++)
        add_source(trial, s);
    if (!trial->from_input && test->desc.op != KERNEL_LOAD)
        return;
    if (!trial->from_pixels) {
        *planes = add_planes(trial);
        return;
    }
    size_t count = (size_t)from->images * (size_t)from->height * (size_t)from->width;
    *pixels = piece_add_copy(&trial->piece, test->pixels, count * (size_t)test->pixel_step);
    *values = piece_add_copy(&trial->piece, test->pixel_values,
                             (size_t)from->channels * 256 * sizeof(float));
}

static void add_weights(struct trial *trial)
{
    const struct test_case *test = trial->test;
    const struct kernel *kernel = trial->kernel;
    struct kernel_weights weights = {test->weight,    test->bias,        test->head_weight,
                                     test->head_bias, test->weight_step, test->mean};
    size_t bytes = kernel->packed_bytes(kernel, &test->desc);
    trial->weights = piece_add(&trial->piece, bytes, false);
    if (bytes > 0)
        kernel->pack(kernel, &test->desc, &weights, trial->piece.host + trial->weights);
}

static void place(struct trial *trial, size_t planes, size_t pixels, size_t values)
{
    char *base = trial->piece.device;
    const struct kernel_desc *desc = &trial->test->desc;
    struct kernel_args *args = &trial->args;
    for (int s = 0; s < desc->source_count; s++)
        args->sources[s].data = base + (size_t)args->sources[s].data;
    args->from_input = trial->from_input;
    args->offset_y = trial->test->offset_y;
    args->offset_x = trial->test->offset_x;
    if (trial->from_input || desc->op == KERNEL_LOAD) {
        args->sources[0].data = NULL;
        args->planar_in = trial->from_pixels ? NULL : (const float *)(void *)(base + planes);
        if (trial->from_pixels)
            args->pixels_in =
                (struct kernel_pixels){(const uint8_t *)base + pixels, trial->test->pixel_step,
                                       (const float *)(void *)(base + values)};
    }
    args->out.data = base + trial->out;
    args->pooled.data = base + trial->pooled;
    if (trial->to_mask)
        args->mask_out = (struct kernel_mask){(uint8_t *)base + trial->mask, 0.25f};
    else
        args->planar_out = (float *)(void *)(base + trial->planar);
    args->packed = base + trial->weights;
    args->scratch = base + trial->scratch;
}

static unet_status run_on_gpu(struct trial *trial, unet_error *error)
{
    const struct device_backend *backend = trial->gpu->backend;
    struct device_stream *stream = trial->gpu->stream;
    struct piece *piece = &trial->piece;
    TRY(backend->upload(stream, piece->device, piece->host, piece->bytes, error));
    TRY(trial->kernel->launch(trial->kernel, &trial->test->desc, &trial->args, stream, error));
    TRY(backend->download(stream, piece->back, piece->device, piece->bytes, error));
    return backend->wait(stream, error);
}

/* ---------------------------------------------------------------- comparison */

static const char *written_beside(const struct trial *trial, char *text, size_t bytes)
{
    const struct piece *piece = &trial->piece;
    size_t at = 0;
    for (int i = 0; i <= piece->count; i++) {
        const struct part *part = &piece->parts[i];
        size_t end = i == piece->count ? piece->bytes : part->written ? part->at : at;
        for (; at < end; at++)
            if (piece->host[at] != piece->back[at]) {
                snprintf(text, bytes, "writes byte %zu of the memory, where it must not", at);
                return text;
            }
        if (i < piece->count && part->written)
            at = part->at + part->bytes;
    }
    return NULL;
}

static const char *differs(const char *what, int image, int c, int y, int x, double got,
                           double value, double bound, char *text, size_t bytes)
{
    snprintf(text, bytes, "%s, image %d, channel %d, y %d, x %d: %.9g, should be %.9g ± %.3g", what,
             image, c, y, x, got, value, bound);
    return text;
}

static const char *compare_tensor(const struct trial *trial, const char *what,
                                  const struct blocked *t, size_t at, const struct values *expected,
                                  char *text, size_t bytes)
{
    for (int image = 0; image < t->images; image++)
        for (int y = 0; y < t->height; y++)
            for (int x = 0; x < t->width; x++)
                for (int c = 0; c < (int)t->pixel_stride; c++) {
                    double got = get(t->type, t->zero,
                                     trial->piece.back + at + element_at(t, image, c, y, x));
                    bool there = c < t->channels;
                    if (!there && t->zero != 0) /* padding means nothing: weights there are 0 */
                        continue;
                    double value =
                        there ? *value_at(expected, expected->value, image, c, y, x) : 0.0;
                    double bound =
                        there ? *value_at(expected, expected->bound, image, c, y, x) : 0.0;
                    if (!(fabs(got - value) <= bound))
                        return differs(what, image, c, y, x, got, value, bound, text, bytes);
                }
    return NULL;
}

static const char *compare_planar(const struct trial *trial, char *text, size_t bytes)
{
    const struct values *expected = &trial->test->planar;
    size_t plane = (size_t)expected->height * (size_t)expected->width;
    for (size_t i = 0; i < value_count(expected); i++) {
        double got = get(KERNEL_F32, 0, trial->piece.back + trial->planar + i * sizeof(float));
        if (!(fabs(got - expected->value[i]) <= expected->bound[i]))
            return differs("planes", (int)(i / plane) / expected->channels,
                           (int)(i / plane) % expected->channels,
                           (int)(i % plane) / expected->width, (int)(i % plane) % expected->width,
                           got, expected->value[i], expected->bound[i], text, bytes);
    }
    return NULL;
}

/* With what the kernel's own planes say, which were compared before. */
static const char *compare_mask(const struct trial *trial, const struct trial *planes, char *text,
                                size_t bytes)
{
    const struct values *expected = &trial->test->planar;
    size_t plane = (size_t)expected->height * (size_t)expected->width;
    size_t channels = (size_t)expected->channels;
    const float *logits = (const float *)(void *)(planes->piece.back + planes->planar);
    for (size_t i = 0; i < plane * (size_t)expected->images; i++) {
        const float *pixel = logits + i / plane * channels * plane + i % plane;
        size_t best = 0;
        for (size_t c = 1; c < channels; c++)
            if (pixel[c * plane] > pixel[best * plane])
                best = c;
        if (channels == 1)
            best = pixel[0] > trial->args.mask_out.above;
        if (trial->piece.back[trial->mask + i] != best)
            return differs("mask", (int)(i / plane), 0, (int)(i % plane) / expected->width,
                           (int)(i % plane) % expected->width,
                           (double)trial->piece.back[trial->mask + i], (double)best, 0.0, text,
                           bytes);
    }
    return NULL;
}

static const char *compare(const struct trial *trial, const struct trial *planes, char *text,
                           size_t bytes)
{
    const struct test_case *test = trial->test;
    const char *wrong = written_beside(trial, text, bytes);
    if (wrong == NULL && trial->out > 0)
        wrong = compare_tensor(trial, "out", &trial->args.out, trial->out, &test->out, text, bytes);
    if (wrong == NULL && trial->pooled > 0)
        wrong = compare_tensor(trial, "pooled", &trial->args.pooled, trial->pooled, &test->pooled,
                               text, bytes);
    if (wrong == NULL && test->planar.value != NULL)
        wrong = trial->to_mask ? compare_mask(trial, planes, text, bytes)
                               : compare_planar(trial, text, bytes);
    return wrong;
}

/* ---------------------------------------------------------------- ways to call a kernel */

static const char *run_one(struct trial *trial, const struct trial *planes, char *text,
                           size_t bytes)
{
    size_t in = 0, pixels = 0, values = 0;
    unet_error error;
    const struct gpu *gpu = trial->gpu;
    piece_add(&trial->piece, 0, false); /* so that no part begins at 0 */
    add_inputs(trial, &in, &pixels, &values);
    add_results(trial);
    add_weights(trial);
    size_t scratch = trial->kernel->scratch_bytes(trial->kernel, &trial->test->desc, &trial->args);
    trial->scratch = piece_add(&trial->piece, scratch, true);
    trial->piece.back = need(malloc(trial->piece.bytes));
    void *memory;
    unet_status status = gpu->backend->alloc(gpu->device, trial->piece.bytes, &memory, &error);
    if (status == UNET_OK) {
        trial->piece.device = memory;
        place(trial, in, pixels, values);
        status = run_on_gpu(trial, &error);
        gpu->backend->free(gpu->device, memory);
    }
    if (status != UNET_OK) {
        snprintf(text, bytes, "%s", error.message);
        return text;
    }
    return compare(trial, planes, text, bytes);
}

static void trial_free(struct trial *trial)
{
    free(trial->piece.host);
    free(trial->piece.back);
}

const char *trial_run(const struct gpu *gpu, const struct kernel *kernel,
                      const struct test_case *test, char *text, size_t bytes)
{
    struct trial base = {.gpu = gpu, .kernel = kernel, .test = test};
    struct trial plain = base, mask = base, planes = base, pixels = base;
    bool load = test->desc.op == KERNEL_LOAD, has_pixels = test->pixels != NULL;
    mask.to_mask = true;
    planes.from_input = pixels.from_input = kernel->reads_input;
    pixels.from_pixels = true;
    const char *wrong = run_one(&plain, NULL, text, bytes);
    if (wrong == NULL && test->planar.value != NULL)
        wrong = run_one(&mask, &plain, text, bytes);
    if (wrong == NULL && kernel->reads_input)
        wrong = run_one(&planes, NULL, text, bytes);
    if (wrong == NULL && has_pixels && (load || kernel->reads_input))
        wrong = run_one(&pixels, NULL, text, bytes);
    trial_free(&plain);
    trial_free(&mask);
    trial_free(&planes);
    trial_free(&pixels);
    return wrong;
}

const char *gpu_refuses(const struct gpu *gpu, const struct kernel *kernel,
                        const struct kernel_desc *desc, char *text, size_t bytes)
{
    const char *reason = gpu->backend->refusal(gpu->device, kernel, text, bytes);
    return reason != NULL ? reason : kernel->refuse(kernel, desc);
}
