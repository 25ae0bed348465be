/* github.com/mateuszbuda/brain-segmentation-pytorch, unet.py:
 *
 *     encoder1 → … → encoderD → bottleneck → upconvD, decoderD → … → upconv1, decoder1 → conv
 *
 * Width doubles with each level; the up-sampled channels come first in a concatenation; its program
 * ends in a sigmoid and feeds volumes normalised by mean and deviation. Its authors' sizes are
 * multiples of 16: others pad here as Pytorch-UNet does. */
#include "graph/families.h"

struct brain_shape {
    int depth, width;
    bool conv_bias, up_bias;
};

static int find_depth(struct layers *layers)
{
    for (int n = LAYERS_MAX_DEPTH; n > 0; n--)
        if (layers_begin(layers, layers_name(layers, "encoder%d.", n)) ||
            layers_begin(layers, layers_name(layers, "decoder%d.", n)) ||
            layers_begin(layers, layers_name(layers, "upconv%d.", n)))
            return n;
    return 0;
}

/* 0 … depth − 1: encoders; depth: bottleneck; then decoders from 1 up. */
static const char *block_name(struct layers *layers, int depth, int index)
{
    if (index == depth)
        return "bottleneck.bottleneck";
    if (index < depth)
        return layers_name(layers, "encoder%d.enc%d", index + 1, index + 1);
    return layers_name(layers, "decoder%d.dec%d", index - depth, index - depth);
}

static bool most_convs_have_bias(struct layers *layers, int depth)
{
    int with = 0, blocks = 2 * depth + 1;
    for (int i = 0; i < blocks; i++) {
        const char *block = block_name(layers, depth, i);
        with += layers_find(layers, layers_name(layers, "%sconv1", block), "bias") != NULL;
        with += layers_find(layers, layers_name(layers, "%sconv2", block), "bias") != NULL;
    }
    return with > blocks;
}

static bool most_ups_have_bias(struct layers *layers, int depth)
{
    int with = 0;
    for (int n = 1; n <= depth; n++)
        with += layers_find(layers, layers_name(layers, "upconv%d", n), "bias") != NULL;
    return 2 * with >= depth;
}

static int block(struct layers *layers, const struct brain_shape *shape, int x, int out, int index)
{
    const char *name = block_name(layers, shape->depth, index);
    for (int i = 1; i <= 2; i++) {
        x = layers_conv(layers, x, out, 3, shape->conv_bias,
                        layers_name(layers, "%sconv%d", name, i));
        x = layers_batch_norm(layers, x, layers_name(layers, "%snorm%d", name, i));
        x = layers_relu(layers, x, layers_name(layers, "%srelu%d", name, i));
    }
    return x;
}

static int up(struct layers *layers, const struct brain_shape *shape, int n, int x, int skip)
{
    int out = shape->width << (n - 1);
    x = layers_conv_transpose(layers, x, out, shape->up_bias, layers_name(layers, "upconv%d", n));
    x = layers_pad(layers, x, skip, layers_name(layers, "upconv%d.pad", n));
    x = layers_concat(layers, x, skip, layers_name(layers, "decoder%d.concat", n));
    return block(layers, shape, x, out, shape->depth + n);
}

static int body(struct layers *layers, const struct brain_shape *shape, int x)
{
    int skips[LAYERS_MAX_DEPTH];
    for (int n = 0; n < shape->depth; n++) {
        skips[n] = block(layers, shape, x, shape->width << n, n);
        x = layers_max_pool(layers, skips[n], layers_name(layers, "pool%d", n + 1));
    }
    x = block(layers, shape, x, shape->width << shape->depth, shape->depth);
    for (int n = shape->depth; n > 0; n--)
        x = up(layers, shape, n, x, skips[n - 1]);
    return x;
}

static void build(struct layers *layers, struct unet_facts *facts)
{
    struct brain_shape shape = {.depth = find_depth(layers)};
    shape.width = layers_width(layers, "encoder1.enc1norm1", shape.depth);
    shape.conv_bias = most_convs_have_bias(layers, shape.depth);
    shape.up_bias = most_ups_have_bias(layers, shape.depth);
    int channels = layers_in_channels(layers, "encoder1.enc1conv1", shape.width, 3);
    int classes = layers_out_channels(layers, "conv", shape.width, 1);
    int x = body(layers, &shape, layers_input(layers, channels));
    layers->graph->output = layers_conv(layers, x, classes, 1, true, "conv");
    layers->graph->architecture = "brain-segmentation";
    layers->graph->sigmoid_output = true;
    layers->graph->normalize = UNET_NORMALIZE_ZSCORE;
    *facts = (struct unet_facts){layers->graph->architecture, channels, classes, shape.width,
                                 shape.conv_bias};
}

const struct family family_brain = {"brain-segmentation", "encoder1.enc1", build};
