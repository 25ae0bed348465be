#include "kernels/upsampled.h"

#define ALIGNMENT 64

/* Coordinates are float32 as in PyTorch: position i of the output lies at
 * i · ((in − 1) / (out − 1)) of the input, and the rounding of that product decides the weights. */
struct position {
    int low, step; /* the second neighbour is low + step: 0 at the end */
    float near, far;
};

static struct position position_in(int out_index, int in_size)
{
    float scale = in_size > 1 ? (float)(in_size - 1) / (float)(2 * in_size - 1) : 0.0f;
    float real = scale * (float)out_index;
    int low = (int)real;
    if (low > in_size - 1)
        low = in_size - 1;
    float far = real - (float)low;
    if (far > 1.0f)
        far = 1.0f;
    return (struct position){.low = low, .step = low < in_size - 1, .near = 1.0f - far, .far = far};
}

void upsampled_columns(struct upsample_column *columns, int in_width)
{
    for (int x = 0; x < 2 * in_width; x++) {
        struct position at = position_in(x, in_width);
        columns[x] = (struct upsample_column){
            .left = at.low * KERNEL_BLOCK,
            .step = at.step * KERNEL_BLOCK,
            .near = at.near,
            .far = at.far,
        };
    }
}

void upsampled_row(const struct typed_row_ops *ops, const struct blocked *in,
                   const struct upsample_column *columns, int y, int block, struct strip x,
                   void *to)
{
    struct position at = position_in(y, in->height);
    struct upsample_rows rows = {
        .top = blocked_at(in, at.low, block, 0),
        .bottom = blocked_at(in, at.low + at.step, block, 0),
        .near = at.near,
        .far = at.far,
    };
    ops->upsample(to, &rows, columns + x.first, x.last - x.first);
}

/* ---------------------------------------------------------------- windows */

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t columns_bytes(const struct blocked *in)
{
    return aligned(2 * (size_t)in->width * sizeof(struct upsample_column));
}

size_t upsampled_bytes(const struct kernel_desc *desc, const struct kernel_args *args, int rows,
                       int columns, int blocks)
{
    if (desc->upsampled == 0)
        return 0;
    size_t pixels = (size_t)rows * (size_t)columns * (size_t)blocks;
    return columns_bytes(&args->sources[desc->upsampled]) +
           aligned(pixels * KERNEL_BLOCK * kernel_type_bytes(desc->in_type));
}

struct upsampled upsampled_begin(const struct row_ops *ops, const struct kernel_desc *desc,
                                 const struct kernel_args *args, void *memory)
{
    if (desc->upsampled == 0)
        return (struct upsampled){0};
    const struct blocked *in = &args->sources[desc->upsampled];
    struct upsampled source = {
        .ops = &ops->of[desc->in_type],
        .in = in,
        .whole = args->sources[0],
        .result = {args->offset_y, args->offset_x, 2 * in->height, 2 * in->width},
        .columns = memory,
        .memory = (char *)memory + columns_bytes(in),
    };
    source.whole.channels = in->channels;
    source.whole.zero = in->zero;
    upsampled_columns(source.columns, in->width);
    return source;
}

static struct strip common(struct strip a, struct strip b)
{
    return (struct strip){.first = a.first > b.first ? a.first : b.first,
                          .last = a.last < b.last ? a.last : b.last};
}

static void zero(const struct blocked *to, int y, int block, struct strip x)
{
    kernel_zero_pixels(to, y, block, x.first, x.last - x.first);
}

/* `inside`: the columns of the window that the result covers; none in rows above and below it. */
static void make_row(const struct upsampled *source, const struct blocked *to, int y, int block,
                     struct strip window, struct strip inside)
{
    if (inside.first >= inside.last) {
        zero(to, y, block, window);
        return;
    }
    int left = source->result.x;
    zero(to, y, block, (struct strip){window.first, inside.first});
    upsampled_row(source->ops, source->in, source->columns, y - source->result.y, block,
                  (struct strip){inside.first - left, inside.last - left},
                  blocked_at(to, y, block, inside.first));
    zero(to, y, block, (struct strip){inside.last, window.last});
}

struct blocked upsampled_window(const struct upsampled *source, struct window window)
{
    const struct placed *result = &source->result;
    struct strip rows = {result->y, result->y + result->height};
    struct strip columns = {result->x, result->x + result->width};
    rows = common(rows, (struct strip){0, source->whole.height});
    columns = common(columns, (struct strip){0, source->whole.width});
    columns = common(columns, window.x);

    struct blocked made = source->whole;
    made.row_stride = (size_t)(window.x.last - window.x.first) * KERNEL_BLOCK;
    made.block_stride = made.row_stride * (size_t)(window.y.last - window.y.first);
    made.data = source->memory;
    /* Where pixel (0, 0) of block 0 would be: the window's first pixel is the memory's. */
    made.data = blocked_at(&made, -window.y.first, -window.blocks.first, -window.x.first);
    for (int block = window.blocks.first; block < window.blocks.last; block++)
        for (int y = window.y.first; y < window.y.last; y++) {
            bool beside = y >= rows.first && y < rows.last;
            make_row(source, &made, y, block, window.x, beside ? columns : (struct strip){0, 0});
        }
    return made;
}
