/* Winograd's convolution by many threads together. Strips, as conv3x3_winograd.c cuts them, each
 * need all of U, and V of their own for each part of the output channels. Where U is large and
 * tiles are few, that is most of what moves; and a thread's V is larger than its caches. So V and M
 * of a CHUNK of whole tile rows are shared, and made in phases:
 *
 *     phase 0           input transform of chunk 0             a task: some tile rows of some
 * blocks phase 1           products                               some groups at some positions
 *     phase 2           output transform; input of chunk 1     some tile rows of some blocks
 *     …
 *
 * U is read once a chunk by all threads together, and V and M go through the caches that they
 * share. The sums are the same ones in the same order. */
#include "kernels/winograd_phases.h"

/* Tiles of a chunk: with as many for each thread, its part of V and M stays in its caches; more
 * cost memory, fewer a round of phases too often. */
#define TILES_A_THREAD 32
#define LEAST_TILES    64
#define MOST_TILES     512

/* What phases save and what they cost, a tile and position: U of all groups read by a strip's chunk
 * is I · O / (tiles of it); V and M written and read are 2 · (I + O). They are equal at 48 for
 * chunks of 24 tiles, but V and M go from core to core. docs/performance.md has where it pays. */
#define LEAST_CHANNELS 80

/* With fewer channels too, where many threads would read a U that lies in none of their own
 * caches. */
#define MANY_THREADS 8
#define SHARED_U     ((size_t)3 << 20)

/* In chunks of so many tile rows. */
static struct winograd_cut phased_cut(const struct winograd_method *method,
                                      const struct kernel_desc *desc,
                                      const struct kernel_args *args, int rows)
{
    int columns = divide_up(args->sources[0].width, method->winograd->out);
    return winograd_cut_phased(method, desc, args, rows * columns);
}

/* Rows of as even chunks as can be. */
static int chunk_rows(const struct winograd_cut *cut, int threads)
{
    int most = at_most(threads * TILES_A_THREAD, MOST_TILES);
    int64_t tiles = (int64_t)cut->tile_rows * cut->tile_columns;
    int chunks = (int)((tiles - 1) / (most > LEAST_TILES ? most : LEAST_TILES)) + 1;
    return divide_up(cut->tile_rows, at_most(chunks, cut->tile_rows));
}

/* The same from what came of it. */
static int phase_rows(const struct winograd_cut *cut, int phases)
{
    return divide_up(cut->tile_rows, (phases - 1) / 2);
}

static int product_units(const struct winograd_cut *cut)
{
    return cut->positions * cut->groups;
}

/* Where tasks have two units and more in the mean. */
static bool tapers(const struct winograd_cut *cut, int threads)
{
    return product_units(cut) >= 2 * TAPERING_TASKS * threads;
}

/* As many tapering tasks as are good for caches; else those with which so many threads are done
 * with the products first, more where as good. */
static int task_count(const struct winograd_cut *cut, int threads)
{
    int units = product_units(cut), best = 1, least = units;
    if (tapers(cut, threads))
        return TAPERING_TASKS * threads;
    for (int tasks = 2; tasks <= at_most(units, threads * TAPERING_TASKS); tasks++) {
        int time = divide_up(tasks, threads) * divide_up(units, tasks);
        if (time > least)
            continue;
        best = tasks;
        least = time;
    }
    return best;
}

static bool pays(const struct winograd_method *method, const struct winograd_cut *cut, int threads)
{
    int in = cut->in_blocks * KERNEL_BLOCK, out = cut->out_blocks * KERNEL_BLOCK;
    size_t words = (size_t)cut->positions * (size_t)in * (size_t)out /
                   (size_t)winograd_word_channels(method->winograd->type);
    bool many = threads >= MANY_THREADS && words * sizeof(float) > SHARED_U;
    return threads > 1 && (many || (int64_t)in * out >= (int64_t)LEAST_CHANNELS * (in + out));
}

bool winograd_share(const struct kernel *kernel, const struct kernel_desc *desc,
                    const struct kernel_args *args, struct kernel_share *share)
{
    if (desc->head_channels > 0)
        return false;
    struct winograd_cut cut = winograd_cut(kernel->method, desc, args);
    int threads = args->threads, rows = chunk_rows(&cut, threads);
    cut = phased_cut(kernel->method, desc, args, rows);
    *share = (struct kernel_share){
        .phases = 2 * divide_up(cut.tile_rows, rows) + 1,
        .tasks = task_count(&cut, threads),
        .scratch_bytes = winograd_piece_bytes(desc, args, &cut),
        .shared_bytes = winograd_product_floats(&cut) * sizeof(float),
    };
    return pays(kernel->method, &cut, threads);
}

/* ---------------------------------------------------------------- phases */

/* Of a chunk: its tile rows. */
static void begin_chunk(struct winograd_work *work, struct strip rows)
{
    rows.last = at_most(rows.last, work->cut.tile_rows);
    work->first_tile = rows.first * work->cut.tile_columns;
    work->tiles = (rows.last - rows.first) * work->cut.tile_columns;
}

/* A task's part of so many units of any phase. */
static struct strip part_of(const struct winograd_work *work, int units, int index, int count)
{
    return strip_part(units, index, count, tapers(&work->cut, work->args->threads));
}

static void transform_rows(const struct winograd_work *work, int index, int count)
{
    int columns = work->cut.tile_columns, rows = work->tiles / columns;
    struct strip units = part_of(work, work->cut.in_blocks * rows, index, count);
    for (int i = units.first; i < units.last; i++) {
        int offset = i % rows * columns;
        winograd_transform(work, i / rows, winograd_run_at(work, offset), offset);
    }
}

/* Position by position, so that the groups find V of one in a cache. */
static void multiply_groups(const struct winograd_work *work, int index, int count)
{
    const struct winograd_cut *cut = &work->cut;
    int most = work->method->tiles->max_blocks;
    struct strip units = part_of(work, product_units(cut), index, count);
    for (int i = units.first; i < units.last; i++) {
        int position = i / cut->groups, next = (i + 1) / cut->groups;
        struct conv_group group = conv_group(work->desc, most, i % cut->groups);
        struct conv_group behind = conv_group(work->desc, most, (i + 1) % cut->groups);
        float *m = work->scratch.m + (size_t)position * cut->m_position +
                   (size_t)group.first * cut->m_block;
        winograd_multiply(work, group, position, m, winograd_weights(work, behind, next));
    }
}

static void finish_rows(const struct winograd_work *work, int index, int count)
{
    const struct winograd_cut *cut = &work->cut;
    int columns = cut->tile_columns, rows = work->tiles / columns;
    struct strip units = part_of(work, cut->out_blocks * rows, index, count);
    for (int i = units.first; i < units.last; i++) {
        int block = i / rows, offset = i % rows * columns;
        struct winograd_run run = winograd_run_at(work, offset);
        winograd_finish_block(work, run, block,
                              work->scratch.m + (size_t)block * cut->m_block +
                                  (size_t)offset * KERNEL_BLOCK);
        winograd_finish_borders(work, run.y, run.y + 1, (struct conv_group){block, 1});
    }
}

void winograd_run_phase(const struct winograd_method *method, const struct kernel_desc *desc,
                        const struct kernel_args *args, int task, int tasks, void *scratch)
{
    int phase = task / tasks, chunk = phase / 2;
    struct winograd_cut cut = winograd_cut(method, desc, args);
    int rows = phase_rows(&cut, args->phases);
    cut = phased_cut(method, desc, args, rows);
    struct winograd_work work = winograd_begin(method, desc, args, &cut, args->shared, scratch);
    task %= tasks;
    if (phase % 2 == 0 && chunk > 0) {
        begin_chunk(&work, (struct strip){(chunk - 1) * rows, chunk * rows});
        finish_rows(&work, task, tasks);
    }
    if (chunk * rows >= cut.tile_rows)
        return;
    begin_chunk(&work, (struct strip){chunk * rows, (chunk + 1) * rows});
    if (phase % 2 == 0)
        transform_rows(&work, task, tasks);
    else
        multiply_groups(&work, task, tasks);
}
