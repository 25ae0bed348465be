/* github.com/milesial/Pytorch-UNet: unet/unet_model.py and unet/unet_parts.py of its several ages.
 *
 *     inc → down1 → … → downD → up1 → … → upD → outc        D = 4 there; others build as well
 *
 * Width doubles with each level. Three variants:
 *     transposed     up-samples by ConvTranspose2d;
 *     bilinear       by interpolation; the last level is half as wide, and the double convolution
 *                    of an up has as many middle channels as the skip;
 *     bilinear, old  the same with as many middle channels as it yields. */
#include <stdio.h>

#include "graph/families.h"

struct shape_facts {
    int depth, width;
    bool transposed, wide_middle;
    bool conv_bias, up_bias;
};

static int find_depth(struct layers *layers)
{
    for (int n = LAYERS_MAX_DEPTH; n > 0; n--)
        if (layers_begin(layers, layers_name(layers, "down%d.", n)) ||
            layers_begin(layers, layers_name(layers, "up%d.", n)))
            return n;
    return 0;
}

/* 0: inc; 1 … depth: downs; depth + 1 … 2 · depth: ups. */
static const char *block_name(struct layers *layers, int depth, int index)
{
    if (index == 0)
        return "inc.double_conv";
    if (index <= depth)
        return layers_name(layers, "down%d.maxpool_conv.1.double_conv", index);
    return layers_name(layers, "up%d.conv.double_conv", index - depth);
}

/* Votes, here and below: one tensor too many or too few is then the one that is named. */
static bool most_convs_have_bias(struct layers *layers, int depth)
{
    int with = 0, blocks = 2 * depth + 1;
    for (int i = 0; i < blocks; i++) {
        const char *block = block_name(layers, depth, i);
        with += layers_find(layers, layers_name(layers, "%s.0", block), "bias") != NULL;
        with += layers_find(layers, layers_name(layers, "%s.3", block), "bias") != NULL;
    }
    return with > blocks;
}

static int count_ups(struct layers *layers, int depth, const char *part)
{
    int count = 0;
    for (int n = 1; n <= depth; n++)
        count += layers_find(layers, layers_name(layers, "up%d.up", n), part) != NULL;
    return count;
}

/* The last up cannot tell: there both have the base width. */
static bool has_wide_middle(struct layers *layers, int depth, int width)
{
    int wide = 0, narrow = 0;
    for (int n = 1; n < depth; n++) {
        const char *norm = layers_name(layers, "%s.1", block_name(layers, depth, depth + n));
        int64_t middle = layers_count(layers, norm, "weight");
        wide += middle == (int64_t)width << (depth - n);
        narrow += middle == (int64_t)width << (depth - n) >> 1;
    }
    return wide >= narrow;
}

static struct shape_facts find_shape(struct layers *layers)
{
    struct shape_facts shape = {.depth = find_depth(layers)};
    int depth = shape.depth;
    shape.width = layers_width(layers, "inc.double_conv.1", depth);
    shape.conv_bias = most_convs_have_bias(layers, depth);
    shape.transposed = count_ups(layers, depth, "weight") + count_ups(layers, depth, "bias") > 0;
    shape.up_bias = 2 * count_ups(layers, depth, "bias") >= depth;
    shape.wide_middle = has_wide_middle(layers, depth, shape.width);
    if (layers->status == UNET_OK && depth == 0)
        layers->status = error_set(layers->error, UNET_ERROR_MODEL,
                                   "%sdown1.maxpool_conv.1.double_conv.0.weight is missing; at "
                                   "least one level was expected: is the file whole?",
                                   layers->prefix);
    return shape;
}

static int double_conv(struct layers *layers, int x, int middle, int out, bool bias,
                       const char *block)
{
    x = layers_conv(layers, x, middle, 3, bias, layers_name(layers, "%s.0", block));
    x = layers_batch_norm(layers, x, layers_name(layers, "%s.1", block));
    x = layers_relu(layers, x, layers_name(layers, "%s.2", block));
    x = layers_conv(layers, x, out, 3, bias, layers_name(layers, "%s.3", block));
    x = layers_batch_norm(layers, x, layers_name(layers, "%s.4", block));
    return layers_relu(layers, x, layers_name(layers, "%s.5", block));
}

/* `n` counts from 1 at the bottom. The skip's channels come first. */
static int up(struct layers *layers, const struct shape_facts *shape, int n, int x, int skip)
{
    int level = shape->depth - n;
    int skip_channels = shape->width << level;
    int out = shape->transposed || level == 0 ? skip_channels : skip_channels / 2;
    int middle = shape->wide_middle && !shape->transposed ? skip_channels : out;
    const char *name = layers_name(layers, "up%d.up", n);
    if (shape->transposed)
        x = layers_conv_transpose(layers, x, skip_channels, shape->up_bias, name);
    else
        x = layers_upsample(layers, x, name);
    x = layers_pad(layers, x, skip, layers_name(layers, "up%d.pad", n));
    x = layers_concat(layers, skip, x, layers_name(layers, "up%d.concat", n));
    return double_conv(layers, x, middle, out, shape->conv_bias,
                       block_name(layers, shape->depth, shape->depth + n));
}

static int body(struct layers *layers, const struct shape_facts *shape, int x)
{
    int skips[LAYERS_MAX_DEPTH], width = shape->width, depth = shape->depth;
    x = double_conv(layers, x, width, width, shape->conv_bias, block_name(layers, depth, 0));
    for (int n = 1; n <= depth; n++) {
        skips[n - 1] = x;
        int out = width << n;
        if (n == depth && !shape->transposed)
            out /= 2;
        x = layers_max_pool(layers, x, layers_name(layers, "down%d.maxpool_conv.0", n));
        x = double_conv(layers, x, out, out, shape->conv_bias, block_name(layers, depth, n));
    }
    for (int n = 1; n <= depth; n++)
        x = up(layers, shape, n, x, skips[depth - n]);
    return x;
}

static const char *architecture_of(const struct shape_facts *shape)
{
    if (shape->transposed)
        return "unet-transposed";
    return shape->wide_middle ? "unet-bilinear" : "unet-bilinear-old";
}

static void build(struct layers *layers, struct unet_facts *facts)
{
    struct shape_facts shape = find_shape(layers);
    int channels = layers_in_channels(layers, "inc.double_conv.0", shape.width, 3);
    int classes = layers_out_channels(layers, "outc.conv", shape.width, 1);
    int x = body(layers, &shape, layers_input(layers, channels));
    layers->graph->output = layers_conv(layers, x, classes, 1, true, "outc.conv");
    layers->graph->architecture = architecture_of(&shape);
    layers->graph->normalize = UNET_NORMALIZE_255;
    *facts = (struct unet_facts){layers->graph->architecture, channels, classes, shape.width,
                                 shape.conv_bias};
}

const struct family family_pytorch_unet = {"Pytorch-UNet", "inc.double_conv.", build};
