#include "kernels/winograd_cut.h"

#include "base/cpu.h"
#include "kernels/conv_pack.h"

/* A chunk: U is read once a chunk, 128 / tiles bytes a cycle of products; V and M grow with it. Few
 * tiles while U comes from a cache; more where U is wide and may come from memory. Of out / 2. */
static const struct {
    int tiles, wide_tiles;
} chunk_sizes[KERNEL_TYPE_COUNT][4] = {
    [KERNEL_F32] = {[1] = {36, 96}, [2] = {24, 66}, [3] = {24, 36}},
    [KERNEL_BF16] = {[1] = {96, 96}, [2] = {48, 48}},
    [KERNEL_U8] = {[1] = {96, 96}, [2] = {48, 48}, [3] = {36, 36}},
};
/* F(6,3)'s of floats, where they cost less than reading U so often: where V and M of them leave a
 * tenth of the core's cache, and where a tile has one block of outputs, so that all of V is read
 * once for each. Fewer input channels mind neither. */
#define LONG_CHUNK        36
#define LONG_CHUNK_BLOCKS 4
/* More is wide: 9 MiB of floats; of bf16 half of that, used in half the time. */
#define WIDE_ELEMENTS (36 * 256 * 256)

/* A set: its M stays in L2. */
#define SET_BLOCKS TILE_MAX_BLOCKS

/* An odd number of cache lines, so that the positions of a tile lie in different sets of L1. */
static size_t position_stride(size_t floats)
{
    return floats / KERNEL_BLOCK % 2 == 0 ? floats + KERNEL_BLOCK : floats;
}

/* The blocks of a long chunk, which a tile reads side by side, lie in different sets too. */
static size_t odd_lines(size_t floats)
{
    return position_stride((floats + KERNEL_BLOCK - 1) / KERNEL_BLOCK * KERNEL_BLOCK);
}

/* All but the chunk and the strides. */
static struct winograd_cut begin_cut(const struct winograd_method *method,
                                     const struct kernel_desc *desc, const struct kernel_args *args)
{
    const struct blocked *in = &args->sources[0];
    int out = method->winograd->out, most = method->tiles->max_blocks;
    struct winograd_cut cut = {
        .out = out,
        .positions = winograd_positions(out),
        .tile_rows = (in->height + out - 1) / out,
        .tile_columns = (in->width + out - 1) / out,
        .in_blocks = winograd_in_blocks(desc),
        .out_blocks = kernel_blocks(desc->out_channels),
        .groups = conv_group_count(desc, most),
    };
    cut.wide =
        (int64_t)cut.positions * cut.in_blocks * cut.out_blocks * KERNEL_BLOCK * KERNEL_BLOCK >
        WIDE_ELEMENTS;
    cut.set_groups = at_most(SET_BLOCKS / most, cut.groups);
    if (desc->head_channels > 0)
        cut.set_groups = cut.groups;
    cut.v_tile = (size_t)(KERNEL_BLOCK / winograd_word_channels(method->winograd->type));
    return cut;
}

static bool fits_l2(const struct winograd_cut *cut, int tiles)
{
    size_t blocks = (size_t)cut->in_blocks + SET_BLOCKS;
    size_t bytes = (size_t)cut->positions * blocks * (size_t)tiles * KERNEL_BLOCK * sizeof(float);
    return bytes <= cpu_l2_bytes() / 10 * 9;
}

static int chunk_tiles(const struct winograd_method *method, const struct winograd_cut *cut)
{
    enum kernel_type type = method->winograd->type;
    bool may_be_long = type == KERNEL_F32 && cut->out == 6 && cut->in_blocks >= LONG_CHUNK_BLOCKS;
    if (cut->wide)
        return chunk_sizes[type][cut->out / 2].wide_tiles;
    if (may_be_long && (method->tiles->max_blocks == 1 || fits_l2(cut, LONG_CHUNK)))
        return LONG_CHUNK;
    return chunk_sizes[type][cut->out / 2].tiles;
}

static void set_positions(const struct winograd_method *method, struct winograd_cut *cut)
{
    int most = method->tiles->max_blocks;
    cut->v_position = position_stride((size_t)cut->in_blocks * cut->v_block);
    cut->m_position =
        position_stride((size_t)at_most(cut->set_groups * most, cut->out_blocks) * cut->m_block);
}

struct winograd_cut winograd_cut(const struct winograd_method *method,
                                 const struct kernel_desc *desc, const struct kernel_args *args)
{
    struct winograd_cut cut = begin_cut(method, desc, args);
    int64_t tiles = (int64_t)cut.tile_rows * cut.tile_columns;
    cut.chunk = chunk_tiles(method, &cut);
    if (tiles < cut.chunk)
        cut.chunk = (int)tiles;
    cut.v_block = (size_t)cut.chunk * cut.v_tile;
    cut.m_block = (size_t)cut.chunk * KERNEL_BLOCK;
    set_positions(method, &cut);
    return cut;
}

struct winograd_cut winograd_cut_phased(const struct winograd_method *method,
                                        const struct kernel_desc *desc,
                                        const struct kernel_args *args, int chunk)
{
    struct winograd_cut cut = begin_cut(method, desc, args);
    cut.wide = true; /* U is read but once, from wherever it is */
    cut.set_groups = cut.groups;
    cut.chunk = chunk;
    cut.v_block = odd_lines((size_t)chunk * cut.v_tile);
    cut.m_block = odd_lines((size_t)chunk * KERNEL_BLOCK);
    set_positions(method, &cut);
    return cut;
}

struct blocked winograd_piece_sums(const struct kernel_desc *desc, const struct winograd_cut *cut)
{
    int blocks = desc->head_channels > 0 ? cut->out_blocks : 1;
    size_t row = (size_t)(at_most(cut->chunk, cut->tile_columns) * cut->out) * KERNEL_BLOCK;
    return (struct blocked){
        .channels = blocks * KERNEL_BLOCK,
        .row_stride = row,
        .block_stride = row * (size_t)cut->out,
    };
}

size_t winograd_product_floats(const struct winograd_cut *cut)
{
    return (size_t)cut->positions * (cut->v_position + cut->m_position);
}

size_t winograd_piece_floats(const struct kernel_desc *desc, const struct winograd_cut *cut)
{
    struct blocked sums = winograd_piece_sums(desc, cut);
    return WINOGRAD_COLUMN_FLOATS + sums.block_stride * (size_t)kernel_blocks(sums.channels);
}

struct winograd_scratch winograd_lay_out(const struct winograd_cut *cut, float *products,
                                         float *pieces)
{
    return (struct winograd_scratch){
        .v = products,
        .m = products + (size_t)cut->positions * cut->v_position,
        .columns = pieces,
        .sums = pieces + WINOGRAD_COLUMN_FLOATS,
    };
}
