#include "kernels/conv_finish.h"

int conv_rows_most(const struct kernel_desc *desc, int height)
{
    return desc->pool && height > 1 ? height / 2 : height;
}

struct conv_rows conv_rows(const struct kernel_desc *desc, int height, int index, int count)
{
    int units = conv_rows_most(desc, height);
    int first = (int)((int64_t)units * index / count);
    int last = (int)((int64_t)units * (index + 1) / count);
    int unit_rows = desc->pool && height > 1 ? 2 : 1;
    struct conv_rows rows = {
        .first = first * unit_rows,
        .last = index + 1 == count ? height : last * unit_rows,
    };
    rows.pooled_first = rows.first / 2;
    rows.pooled_last = rows.last / 2;
    return rows;
}

static void store_rows(const struct typed_row_ops *ops, const struct kernel_desc *desc,
                       const struct kernel_args *args, const struct conv_piece *piece, int block)
{
    size_t count = (size_t)piece->sums.width * KERNEL_BLOCK;
    bool large = kernel_is_large(args, &args->out);
    for (int y = 0; y < piece->sums.height; y++)
        (large ? ops->copy_stream : ops->copy)(
            blocked_at(&args->out, piece->y + y, piece->first_block + block, piece->x),
            blocked_at(&piece->sums, y, block, 0), count, desc->relu);
}

static void pool_rows(const struct typed_row_ops *ops, const struct kernel_desc *desc,
                      const struct kernel_args *args, const struct conv_piece *piece, int block)
{
    for (int y = 0; y + 1 < piece->sums.height; y += 2)
        ops->max_pool_sums(
            blocked_at(&args->pooled, (piece->y + y) / 2, piece->first_block + block, piece->x / 2),
            blocked_at(&piece->sums, y, block, 0), blocked_at(&piece->sums, y + 1, block, 0),
            piece->sums.width / 2, desc->relu);
}

void conv_finish_blocks(const struct row_ops *ops, const struct kernel_desc *desc,
                        const struct kernel_args *args, const struct conv_piece *piece)
{
    for (int block = 0; block < kernel_blocks(piece->sums.channels); block++) {
        if (desc->store_out)
            store_rows(&ops->of[desc->out_type], desc, args, piece, block);
        if (desc->pool)
            pool_rows(&ops->of[desc->pooled_type], desc, args, piece, block);
    }
}

void conv_finish_head(const struct row_ops *ops, const struct kernel_desc *desc,
                      const struct kernel_args *args, const struct conv_piece *piece, int height,
                      int width)
{
    struct conv_packed packed = conv_packed_parts(desc, args->packed);
    struct head_row row = {
        .block_stride = piece->sums.block_stride,
        .channels = desc->out_channels,
        .heads = desc->head_channels,
        .weights = packed.head_weights,
        .bias = packed.head_bias,
        .relu = desc->relu,
        .plane_stride = (size_t)height * (size_t)width,
    };
    for (int y = 0; y < piece->sums.height; y++) {
        row.in = blocked_at(&piece->sums, y, 0, 0);
        size_t place = (size_t)(piece->y + y) * (size_t)width + (size_t)piece->x;
        if (args->mask_out.classes != NULL)
            row.mask = (struct kernel_mask){args->mask_out.classes + place, args->mask_out.above};
        else
            row.out = args->planar_out + place;
        ops->head(&row, piece->sums.width);
    }
}

void conv_finish_borders(const struct kernel_desc *desc, const struct kernel_args *args,
                         struct conv_rows rows, struct conv_group blocks)
{
    int end = blocks.first + blocks.count;
    if (desc->store_out)
        kernel_zero_border(&args->out, rows.first, rows.last, blocks.first, end);
    if (desc->pool)
        kernel_zero_border(&args->pooled, rows.pooled_first, rows.pooled_last, blocks.first, end);
}
