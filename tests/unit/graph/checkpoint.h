/* Makes checkpoints in memory: the names and shapes of the networks that are recognised, written
 * down once more and apart from the recognisers, with random values. */
#ifndef UNET_TESTS_CHECKPOINT_H
#define UNET_TESTS_CHECKPOINT_H

#include <stdio.h>
#include <string.h>

#include "base/tensor.h"
#include "support/support.h"

enum variant { OLD_BILINEAR, BILINEAR, TRANSPOSED, BRAIN };

struct checkpoint {
    enum variant variant;
    int depth, width, in_channels, classes;
    bool conv_bias, tracked;
    bool flat;          /* as from a .wts */
    const char *prefix; /* NULL: none */
    bool bare_ups;      /* transposed convolutions without bias */
};

struct checkpoint_writer {
    const struct checkpoint *of;
    struct tensor_set *set;
    uint64_t random;
};

static inline void put(struct checkpoint_writer *w, const char *layer, const char *part, float low,
                       float high, int rank, const int64_t *shape)
{
    char name[160];
    snprintf(name, sizeof name, "%s%s.%s", w->of->prefix != NULL ? w->of->prefix : "", layer, part);
    unet_tensor tensor = {.name = name, .rank = rank};
    int64_t count = 0;
    assert_true(tensor_count(shape, rank, &count));
    memcpy(tensor.shape, shape, (size_t)rank * sizeof *shape);
    if (w->of->flat) {
        tensor.rank = 1;
        tensor.shape[0] = count;
    }
    float *data = arena_alloc_array(&w->set->arena, (size_t)count, sizeof *data);
    assert_non_null(data);
    for (int64_t i = 0; i < count; i++)
        data[i] = random_float(&w->random, low, high);
    tensor.data = data;
    tensor.bytes = (size_t)count * sizeof *data;
    unet_error error;
    assert_ok(tensor_set_add(w->set, &tensor, &error), &error);
}

static inline void put_vector(struct checkpoint_writer *w, const char *layer, const char *part,
                              float low, float high, int64_t count)
{
    put(w, layer, part, low, high, 1, &count);
}

static inline void put_conv(struct checkpoint_writer *w, const char *layer, int a, int b,
                            int kernel, bool bias, int bias_count)
{
    int64_t shape[] = {a, b, kernel, kernel};
    float range = 2.0f / (float)(kernel * (b < 4 ? 2 : b));
    put(w, layer, "weight", -range, range, 4, shape);
    if (bias)
        put_vector(w, layer, "bias", -0.2f, 0.2f, bias_count);
}

static inline void put_norm(struct checkpoint_writer *w, const char *layer, int channels)
{
    put_vector(w, layer, "weight", 0.5f, 1.5f, channels);
    put_vector(w, layer, "bias", -0.3f, 0.3f, channels);
    put_vector(w, layer, "running_mean", -0.3f, 0.3f, channels);
    put_vector(w, layer, "running_var", 0.1f, 0.6f, channels);
    int64_t one = 1;
    if (w->of->tracked)
        put(w, layer, "num_batches_tracked", 1, 99, w->of->flat ? 1 : 0, &one);
}

/* Two convolutions with their norms; the formats make the four names out of `block`. */
static inline void put_block(struct checkpoint_writer *w, const char *block, const char *first,
                             const char *first_norm, const char *second, const char *second_norm,
                             int in, int middle, int out)
{
    char name[96];
    const char *parts[] = {first, first_norm, second, second_norm};
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s", block, parts[i]);
        int a = i < 2 ? middle : out, b = i < 2 ? in : middle;
        if (i % 2 == 0)
            put_conv(w, name, a, b, 3, w->of->conv_bias, a);
        else
            put_norm(w, name, a);
    }
}

static inline void put_double_conv(struct checkpoint_writer *w, const char *block, int in,
                                   int middle, int out)
{
    put_block(w, block, "double_conv.0", "double_conv.1", "double_conv.3", "double_conv.4", in,
              middle, out);
}

static inline void put_pytorch_unet(struct checkpoint_writer *w)
{
    char name[64];
    int depth = w->of->depth, width = w->of->width;
    bool transposed = w->of->variant == TRANSPOSED;
    int shrink = transposed ? 1 : 2;
    put_double_conv(w, "inc.", w->of->in_channels, width, width);
    for (int n = 1; n <= depth; n++) {
        int in = width << (n - 1), out = (width << n) / (n == depth ? shrink : 1);
        snprintf(name, sizeof name, "down%d.maxpool_conv.1.", n);
        put_double_conv(w, name, in, out, out);
    }
    for (int n = 1; n <= depth; n++) {
        int in = width << (depth - n + 1);
        int out = n == depth ? width : in / 2 / shrink;
        if (transposed) {
            snprintf(name, sizeof name, "up%d.up", n);
            put_conv(w, name, in, in / 2, 2, !w->of->bare_ups, in / 2);
        }
        snprintf(name, sizeof name, "up%d.conv.", n);
        put_double_conv(w, name, in, w->of->variant == BILINEAR ? in / 2 : out, out);
    }
    put_conv(w, "outc.conv", w->of->classes, width, 1, true, w->of->classes);
}

static inline void put_brain_block(struct checkpoint_writer *w, const char *block, int in, int out)
{
    put_block(w, block, "conv1", "norm1", "conv2", "norm2", in, out, out);
}

static inline void put_brain(struct checkpoint_writer *w)
{
    char name[64];
    int depth = w->of->depth, channels = w->of->in_channels;
    for (int n = 1; n <= depth; n++) {
        snprintf(name, sizeof name, "encoder%d.enc%d", n, n);
        put_brain_block(w, name, channels, w->of->width << (n - 1));
        channels = w->of->width << (n - 1);
    }
    put_brain_block(w, "bottleneck.bottleneck", channels, 2 * channels);
    for (int n = depth; n > 0; n--) {
        int out = w->of->width << (n - 1);
        snprintf(name, sizeof name, "upconv%d", n);
        put_conv(w, name, 2 * out, out, 2, !w->of->bare_ups, out);
        snprintf(name, sizeof name, "decoder%d.dec%d", n, n);
        put_brain_block(w, name, 2 * out, out);
    }
    put_conv(w, "conv", w->of->classes, w->of->width, 1, true, w->of->classes);
}

static inline void make_checkpoint(const struct checkpoint *of, struct tensor_set *set)
{
    *set = (struct tensor_set){0};
    struct checkpoint_writer writer = {of, set, 7};
    if (of->variant == BRAIN)
        put_brain(&writer);
    else
        put_pytorch_unet(&writer);
}

#endif
