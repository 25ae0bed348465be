/* Times the kernels on the layers of U-Nets. All layers run in turn, round after round, each with
 * tensors of its own, so that a layer finds the caches as it would in a network. The peak is
 * measured in every round too: a machine's clock changes with its load.
 *
 * "best" and "median" are of whole layers. "undisturbed" is what a layer would take on a machine
 * that does nothing else: the sum of each task's best, shared by the threads evenly. The rates are
 * of that: where another program takes turns on the cores, no whole layer of 100 ms is left in
 * peace. */
#include "driver.h"

#include "kernels/peak.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCRATCH_ALIGNMENT 64

struct layer {
    const char *name;
    int times; /* in the network; 0: in none, only for itself */
    enum kernel_op op;
    int side, sources[2], out_channels; /* a negative source is read up-sampled */
    bool pool;
    int heads;
};

/* A bilinear U-Net of width 64, 3 channels in, 2 classes, at 512×512: 123.7 GMAC. */
static const struct layer layers[] = {
    {"load 3", 1, KERNEL_LOAD, 512, {3}, 3, false, 0},
    {"512x512 3>64", 1, KERNEL_CONV, 512, {3}, 64, false, 0},
    {"512x512 64>64 pool", 1, KERNEL_CONV, 512, {64}, 64, true, 0},
    {"256x256 64>128", 1, KERNEL_CONV, 256, {64}, 128, false, 0},
    {"256x256 128>128 pool", 1, KERNEL_CONV, 256, {128}, 128, true, 0},
    {"128x128 128>256", 1, KERNEL_CONV, 128, {128}, 256, false, 0},
    {"128x128 256>256 pool", 1, KERNEL_CONV, 128, {256}, 256, true, 0},
    {"64x64 256>512", 1, KERNEL_CONV, 64, {256}, 512, false, 0},
    {"64x64 512>512 pool", 1, KERNEL_CONV, 64, {512}, 512, true, 0},
    {"32x32 512>512", 2, KERNEL_CONV, 32, {512}, 512, false, 0},
    {"up 32>64, 512", 1, KERNEL_UPSAMPLE, 32, {512}, 512, false, 0},
    {"64x64 512+512>256", 1, KERNEL_CONV, 64, {512, 512}, 256, false, 0},
    {"64x64 256>256", 1, KERNEL_CONV, 64, {256}, 256, false, 0},
    {"up 64>128, 256", 1, KERNEL_UPSAMPLE, 64, {256}, 256, false, 0},
    {"128x128 256+256>128", 1, KERNEL_CONV, 128, {256, 256}, 128, false, 0},
    {"128x128 128>128", 1, KERNEL_CONV, 128, {128}, 128, false, 0},
    {"up 128>256, 128", 1, KERNEL_UPSAMPLE, 128, {128}, 128, false, 0},
    {"256x256 128+128>64", 1, KERNEL_CONV, 256, {128, 128}, 64, false, 0},
    {"256x256 64>64", 1, KERNEL_CONV, 256, {64}, 64, false, 0},
    {"up 256>512, 64", 1, KERNEL_UPSAMPLE, 256, {64}, 64, false, 0},
    {"512x512 64+64>64", 1, KERNEL_CONV, 512, {64, 64}, 64, false, 0},
    {"512x512 64>64 head 2", 1, KERNEL_CONV, 512, {64}, 64, false, 2},
    {"512x512 3>16", 0, KERNEL_CONV, 512, {3}, 16, false, 0},
    {"512x512 16>16 pool", 0, KERNEL_CONV, 512, {16}, 16, true, 0},
    {"512x512 32>32 pool", 0, KERNEL_CONV, 512, {32}, 32, true, 0},
    {"256x256 32>48", 0, KERNEL_CONV, 256, {32}, 48, false, 0},
    {"512x512 16>16 head 11", 0, KERNEL_CONV, 512, {16}, 16, false, 11},
    {"64x64 512+up512>256", 0, KERNEL_CONV, 64, {512, -512}, 256, false, 0},
    {"128x128 256+up256>128", 0, KERNEL_CONV, 128, {256, -256}, 128, false, 0},
    {"256x256 128+up128>64", 0, KERNEL_CONV, 256, {128, -128}, 64, false, 0},
    {"512x512 64+up64>64", 0, KERNEL_CONV, 512, {64, -64}, 64, false, 0},
    {"transpose 32>64 1024>512", 0, KERNEL_CONV_TRANSPOSE, 32, {1024}, 512, false, 0},
    {"transpose 256>512 128>64", 0, KERNEL_CONV_TRANSPOSE, 256, {128}, 64, false, 0},
    {"pool 512>256, 64", 0, KERNEL_MAX_POOL, 512, {64}, 64, false, 0},
    {"store 512x512 2", 0, KERNEL_STORE, 512, {2}, 2, false, 0},
};

#define LAYERS ((int)(sizeof layers / sizeof layers[0]))

struct timed {
    const struct layer *layer;
    struct kernel_desc desc;
    struct kernel_args args; /* packed is the kernel's */
    double flops, bytes;
    void *memory[KERNEL_MAX_SOURCES + 4];
    int memory_count;
};

/* A kernel on a layer. */
struct run {
    const struct kernel *kernel;
    struct timed *timed;
    void *packed;
    struct kernel_share share;
    double best, *times;
    double *task_best; /* of each task of each phase */
    int rounds;
};

struct bench {
    struct thread_pool *pool;
    unsigned char *scratch, *shared;
    size_t scratch_bytes; /* a thread */
    size_t shared_bytes;
    struct timed timed[LAYERS];
    struct run *runs;
    int run_count;
    double peak[PEAK_COUNT];
};

/* ---------------------------------------------------------------- layers */

/* Small whole numbers: no denormals, no overflow. */
static float *make_floats(struct timed *timed, size_t count)
{
    float *values = need(memory_alloc_aligned(count * sizeof *values));
    for (size_t i = 0; i < count; i++)
        values[i] = (float)((int)(i * 2654435761u >> 13 & 15) - 7) * 0.0625f;
    timed->memory[timed->memory_count++] = values;
    timed->bytes += (double)count * sizeof *values;
    return values;
}

/* Of a bf16 tensor two elements are one float: still no denormals. */
static void make_tensor(struct timed *timed, enum kernel_type type, struct blocked *t, int channels,
                        int side)
{
    size_t bytes = blocked_init(t, type, channels, side, side);
    t->data = (char *)make_floats(timed, bytes / sizeof(float)) + blocked_origin(t);
}

/* As a network of this precision has it: its input and its logits are float32. */
static void describe(struct timed *timed, const struct layer *layer, enum kernel_type precision)
{
    struct kernel_desc *desc = &timed->desc;
    *desc = (struct kernel_desc){.op = layer->op, .out_channels = layer->out_channels};
    bool from_image = layer->op == KERNEL_LOAD || layer->sources[0] == 3;
    desc->in_type = from_image ? KERNEL_F32 : precision;
    desc->pooled_type = layer->op == KERNEL_CONV ? precision : KERNEL_F32;
    desc->out_type = layer->op == KERNEL_LOAD || layer->op == KERNEL_STORE ? KERNEL_F32 : precision;
    while (desc->source_count < 2 && layer->sources[desc->source_count] != 0) {
        int channels = layer->sources[desc->source_count];
        desc->source_channels[desc->source_count] = abs(channels);
        if (channels < 0)
            desc->upsampled = desc->source_count;
        desc->source_count++;
    }
    desc->relu = layer->op == KERNEL_CONV;
    desc->store_out = layer->heads == 0;
    desc->pool = layer->pool;
    desc->head_channels = layer->heads;
    if (layer->op == KERNEL_CONV) {
        desc->kernel_h = desc->kernel_w = 3;
        desc->stride = desc->padding = 1;
    } else {
        desc->kernel_h = desc->kernel_w = desc->stride = 2;
    }
}

static double layer_flops(const struct timed *timed)
{
    const struct layer *layer = timed->layer;
    double pixels = (double)layer->side * layer->side;
    double inputs = (double)layer->sources[0] + abs(layer->sources[1]);
    if (layer->op == KERNEL_CONV)
        return 2.0 * pixels * layer->out_channels * (9.0 * inputs + layer->heads);
    return layer->op == KERNEL_CONV_TRANSPOSE ? 8.0 * pixels * inputs * layer->out_channels : 0.0;
}

static int out_side(const struct layer *layer)
{
    if (layer->op == KERNEL_UPSAMPLE || layer->op == KERNEL_CONV_TRANSPOSE)
        return 2 * layer->side;
    return layer->op == KERNEL_MAX_POOL ? layer->side / 2 : layer->side;
}

static void make_layer(struct timed *timed, const struct layer *layer, enum kernel_type precision)
{
    *timed = (struct timed){.layer = layer};
    describe(timed, layer, precision);
    size_t pixels = (size_t)layer->side * (size_t)layer->side;
    if (layer->op == KERNEL_LOAD)
        timed->args.planar_in = make_floats(timed, pixels * (size_t)layer->sources[0]);
    for (int s = 0; s < timed->desc.source_count && layer->op != KERNEL_LOAD; s++)
        make_tensor(timed, timed->desc.in_type, &timed->args.sources[s],
                    timed->desc.source_channels[s],
                    layer->sources[s] < 0 ? layer->side / 2 : layer->side);
    if (timed->desc.store_out && layer->op != KERNEL_STORE)
        make_tensor(timed, timed->desc.out_type, &timed->args.out, layer->out_channels,
                    out_side(layer));
    if (layer->pool)
        make_tensor(timed, timed->desc.pooled_type, &timed->args.pooled, layer->out_channels,
                    layer->side / 2);
    if (layer->heads > 0 || layer->op == KERNEL_STORE)
        timed->args.planar_out =
            make_floats(timed, pixels * (size_t)(layer->heads + layer->out_channels));
    timed->flops = layer_flops(timed);
}

/* ---------------------------------------------------------------- runs */

static void *pack_layer(const struct kernel *kernel, struct timed *timed)
{
    size_t taps = timed->desc.op == KERNEL_CONV ? 9 : 4;
    size_t inputs = (size_t)(timed->layer->sources[0] + abs(timed->layer->sources[1]));
    float *weight = make_floats(timed, taps * inputs * (size_t)timed->desc.out_channels);
    struct kernel_weights weights = {
        .weight = weight, .bias = weight, .head_weight = weight, .head_bias = weight};
    void *packed = need(memory_alloc_aligned(kernel->packed_bytes(kernel, &timed->desc)));
    kernel->pack(kernel, &timed->desc, &weights, packed);
    timed->memory_count--;
    memory_free_aligned(weight);
    return packed;
}

static void add_run(struct bench *bench, const struct kernel *kernel, struct timed *timed,
                    int threads)
{
    struct run *run = &bench->runs[bench->run_count++];
    double bytes = timed->bytes;
    *run = (struct run){.kernel = kernel, .timed = timed, .best = 1e9};
    run->packed = pack_layer(kernel, timed);
    timed->bytes = bytes;
    timed->args.packed = run->packed;
    timed->args.threads = threads;
    run->share = kernel_share(kernel, &timed->desc, &timed->args);
    int tasks = run->share.phases * run->share.tasks;
    run->task_best = need(malloc((size_t)tasks * sizeof *run->task_best));
    for (int i = 0; i < tasks; i++)
        run->task_best[i] = 1e9;
    if (run->share.shared_bytes > bench->shared_bytes)
        bench->shared_bytes = run->share.shared_bytes;
    size_t scratch = run->share.scratch_bytes;
    scratch = (scratch + SCRATCH_ALIGNMENT - 1) / SCRATCH_ALIGNMENT * SCRATCH_ALIGNMENT;
    if (scratch > bench->scratch_bytes)
        bench->scratch_bytes = scratch;
}

/* "NAME" or "NAME,LAYER": parts of a kernel's and of a layer's name. */
static bool wanted(const char *filter, const char *kernel, const char *layer)
{
    char name[128];
    if (filter == NULL)
        return true;
    snprintf(name, sizeof name, "%s", filter);
    char *comma = strchr(name, ',');
    if (comma != NULL)
        *comma = '\0';
    return strstr(kernel, name) != NULL && (comma == NULL || strstr(layer, comma + 1) != NULL);
}

static void add_runs(struct bench *bench, const struct bench_options *options, int threads)
{
    char text[160];
    size_t kernels = unet_kernel_count();
    bench->runs = need(calloc(kernels * LAYERS, sizeof *bench->runs));
    for (int i = 0; i < LAYERS; i++) {
        make_layer(&bench->timed[i], &layers[i], options->precision);
        for (size_t k = 0; k < kernels; k++) {
            const struct kernel *kernel = kernel_list()[k];
            if (kernel->op == layers[i].op &&
                wanted(options->filter, kernel->name, layers[i].name) &&
                kernel_machine_refusal(kernel, cpu_tier_detected(), text, sizeof text) == NULL &&
                kernel->refuse(kernel, &bench->timed[i].desc) == NULL)
                add_run(bench, kernel, &bench->timed[i], threads);
        }
    }
}

struct call {
    struct bench *bench;
    const struct run *run;
    int first_task; /* of the phase */
};

static void run_task(void *context, int task, int thread)
{
    struct call *call = context;
    const struct run *run = call->run;
    task += call->first_task;
    double start = clock_seconds();
    run->kernel->run(run->kernel, &run->timed->desc, &run->timed->args, task, run->share.tasks,
                     call->bench->scratch + (size_t)thread * call->bench->scratch_bytes);
    double time = clock_seconds() - start;
    run->task_best[task] = time < run->task_best[task] ? time : run->task_best[task];
}

static void time_run(struct bench *bench, struct run *run)
{
    struct call call = {bench, run, 0};
    run->timed->args.packed = run->packed;
    run->timed->args.phases = run->share.phases > 1 ? run->share.phases : 0;
    run->timed->args.shared = bench->shared;
    double start = clock_seconds();
    for (int phase = 0; phase < run->share.phases; phase++) {
        call.first_task = phase * run->share.tasks;
        thread_pool_run(bench->pool, run->share.tasks, run_task, &call);
    }
    double time = clock_seconds() - start;
    run->best = time < run->best ? time : run->best;
    run->times = need(realloc(run->times, (size_t)(run->rounds + 1) * sizeof *run->times));
    run->times[run->rounds++] = time;
}

static void time_peaks(struct bench *bench)
{
    for (int i = 0; i < PEAK_COUNT; i++) {
        enum peak peak = (enum peak)i;
        double flops = peak_is_here(peak) ? peak_flops_of_all(bench->pool, peak) : 0.0;
        bench->peak[i] = flops > bench->peak[i] ? flops : bench->peak[i];
    }
}

/* ---------------------------------------------------------------- report */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const struct run *run)
{
    qsort(run->times, (size_t)run->rounds, sizeof *run->times, by_value);
    return run->times[run->rounds / 2];
}

static double undisturbed(const struct bench *bench, const struct run *run)
{
    double sum = 0.0;
    for (int i = 0; i < run->share.phases * run->share.tasks; i++)
        sum += run->task_best[i];
    int threads = thread_pool_size(bench->pool);
    return sum / (threads < run->share.tasks ? threads : run->share.tasks);
}

static void print_run(const struct bench *bench, const struct run *run)
{
    const struct timed *timed = run->timed;
    double time = undisturbed(bench, run);
    printf("%-26s %-32s %8.3f %8.3f %8.3f", timed->layer->name, run->kernel->name,
           1e3 * median(run), 1e3 * run->best, 1e3 * time);
    if (timed->flops > 0.0)
        printf(" %7.1f GFLOP/s %3.0f%%", 1e-9 * timed->flops / time,
               100.0 * timed->flops / time / bench->peak[peak_of(run->kernel)]);
    printf(" %6.1f GB/s\n", 1e-9 * timed->bytes / time);
}

/* Whether no other kernel of its tier is faster on its layer. */
static bool is_fastest(const struct bench *bench, const struct run *run)
{
    for (int i = 0; i < bench->run_count; i++) {
        const struct run *other = &bench->runs[i];
        if (other->timed == run->timed && other->kernel->tier == run->kernel->tier &&
            undisturbed(bench, other) < undisturbed(bench, run))
            return false;
    }
    return true;
}

/* The network's time with the fastest kernels of this tier, as far as it has one for each layer. */
static void print_network(const struct bench *bench, enum cpu_tier tier)
{
    double alone = 0.0, best = 0.0, middle = 0.0, flops = 0.0, peak = 0.0;
    for (int i = 0; i < bench->run_count; i++) {
        const struct run *run = &bench->runs[i];
        if (run->kernel->tier != tier || !is_fastest(bench, run))
            continue;
        int times = run->timed->layer->times;
        alone += times * undisturbed(bench, run);
        best += times * run->best;
        middle += times * median(run);
        flops += times * run->timed->flops;
        double own = bench->peak[peak_of(run->kernel)];
        peak = own > peak ? own : peak;
    }
    if (flops > 0.0)
        printf("the network, %s: medians %.1f ms, best %.1f ms, undisturbed %.1f ms; %.1f GFLOP, "
               "%.1f GFLOP/s, %.0f%% of %.1f\n",
               cpu_tier_name(tier), 1e3 * middle, 1e3 * best, 1e3 * alone, 1e-9 * flops,
               1e-9 * flops / alone, 100.0 * flops / alone / peak, 1e-9 * peak);
}

static void free_bench(struct bench *bench)
{
    for (int i = 0; i < bench->run_count; i++) {
        free(bench->runs[i].times);
        free(bench->runs[i].task_best);
        memory_free_aligned(bench->runs[i].packed);
    }
    for (int i = 0; i < LAYERS; i++)
        for (int j = 0; j < bench->timed[i].memory_count; j++)
            memory_free_aligned(bench->timed[i].memory[j]);
    free(bench->runs);
    memory_free_aligned(bench->scratch);
    memory_free_aligned(bench->shared);
    thread_pool_free(&bench->pool);
}

int bench_run(const struct bench_options *options)
{
    int threads = options->threads;
    unet_error error;
    struct bench bench = {0};
    if (threads == 0)
        threads = cpu_usable_threads();
    if (thread_pool_create(threads, &bench.pool, &error) != UNET_OK) {
        fprintf(stderr, "kernel-tests: %s\n", error.message);
        return 2;
    }
    add_runs(&bench, options, threads);
    bench.scratch = need(memory_alloc_aligned((size_t)threads * bench.scratch_bytes));
    bench.shared = need(memory_alloc_aligned(bench.shared_bytes));
    double start = clock_seconds();
    do {
        time_peaks(&bench);
        for (int i = 0; i < bench.run_count; i++)
            time_run(&bench, &bench.runs[i]);
    } while (clock_seconds() - start < options->seconds);
    printf("%-26s %-32s %8s %8s %8s ms, %d threads\n", "layer", "kernel", "median", "best",
           "undisturbed", threads);
    for (int i = 0; i < bench.run_count; i++)
        print_run(&bench, &bench.runs[i]);
    for (int tier = 0; tier < CPU_TIER_COUNT; tier++)
        print_network(&bench, (enum cpu_tier)tier);
    free_bench(&bench);
    return 0;
}
