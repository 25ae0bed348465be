/* One kernel on one case: every buffer between unmapped pages, inputs read-only, outputs and
 * scratch full of NaN; then each value against the reference, and the bits of one share-out of the
 * tasks against another's. */
#include "driver.h"

#include "base/bf16.h"
#include "base/u8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64

/* What guarded_poison leaves in a float. */
#define POISON 0xffffffffu

/* The order in which tasks run; APART, where it is quick, one by one on fresh outputs. */
enum { UP, DOWN, APART };
#define APART_BYTES ((size_t)8 << 20)

enum { OUT, POOLED, PLANAR, OUTPUTS };

/* One run's buffers. */
struct trial {
    const struct kernel *kernel;
    const struct test_case *test;
    struct kernel_args args;
    struct guarded stored, scratch, shared, outputs[OUTPUTS];
    const struct trial *planes; /* NULL: with planes; else from pixels or to a mask, and this is the
                                   same with planes */
    int threads, order;
    bool phased, large;
    struct kernel_share share;
    bool at_end, overlap;
    const struct kernel *upsample; /* NULL, or what stores test->upsampled */
};

static float get_element(const struct blocked *t, int channel, int y, int x)
{
    const void *pixel = blocked_at(t, y, channel / KERNEL_BLOCK, x);
    if (t->type == KERNEL_BF16)
        return bf16_to_float(((const uint16_t *)pixel)[channel % KERNEL_BLOCK]);
    if (t->type == KERNEL_U8)
        return ((const uint8_t *)pixel)[channel % KERNEL_BLOCK];
    return ((const float *)pixel)[channel % KERNEL_BLOCK];
}

static bool is_load(const struct test_case *test)
{
    return test->desc.op == KERNEL_LOAD;
}

/* Load does always, and a convolution where it can and the caller wants it to. */
static bool reads_input(const struct trial *trial)
{
    const struct kernel_desc *desc = &trial->test->desc;
    return is_load(trial->test) ||
           (trial->planes != NULL && trial->kernel->reads_input && desc->source_count == 1 &&
            desc->source_channels[0] <= KERNEL_BLOCK);
}

int winograd_size(const struct kernel *kernel)
{
    int size = WINOGRAD_SIZES - 1;
    while (size >= 0 && strstr(kernel->name, winograd_names[size]) == NULL)
        size--;
    return size;
}

/* ---------------------------------------------------------------- packed weights */

/* At either end: [at_end]. Read-only, so all trials of a kernel on a case share them. */
struct packed {
    struct guarded memory[2];
};

struct pack_call {
    const struct kernel *kernel;
    const struct test_case *test;
    void *to;
};

static void call_pack(void *context)
{
    const struct pack_call *call = context;
    const struct test_case *test = call->test;
    struct kernel_weights weights = {.weight = test->weight,
                                     .bias = test->bias,
                                     .head_weight = test->head_weight,
                                     .head_bias = test->head_bias,
                                     .weight_step = test->weight_step,
                                     .mean = test->mean};
    call->kernel->pack(call->kernel, &test->desc, &weights, call->to);
}

/* Packs over different bytes at either end: what differs was not written. */
static const char *make_packed(struct packed *packed, const struct kernel *kernel,
                               const struct test_case *test)
{
    size_t bytes = kernel->packed_bytes(kernel, &test->desc);
    bool fine = true;
    for (int end = 0; end < 2; end++) {
        struct guarded *memory = &packed->memory[end];
        struct pack_call call = {kernel, test, NULL};
        guarded_new(memory, bytes, end != 0);
        call.to = memory->data;
        memset(memory->data, end == 0 ? 0x33 : 0xff, bytes);
        fine = fine && (bytes == 0 || guarded_call(call_pack, &call)) && guarded_intact(memory);
        guarded_protect(memory);
    }
    if (!fine)
        return "pack touches memory outside its own";
    return memcmp(packed->memory[0].data, packed->memory[1].data, bytes) == 0
               ? NULL
               : "pack leaves bytes unwritten";
}

static void free_packed(struct packed *packed)
{
    guarded_free(&packed->memory[0]);
    guarded_free(&packed->memory[1]);
}

/* ---------------------------------------------------------------- buffers */

static void make_blocked(struct guarded *memory, enum kernel_type type, struct blocked *t,
                         int channels, int height, int width, bool at_end)
{
    guarded_new(memory, blocked_init(t, type, channels, height, width), at_end);
    t->data = (char *)memory->data + blocked_origin(t);
}

/* Source s as its own UPSAMPLE kernel stores it. */
static void store_upsampled(struct trial *trial, int s)
{
    const struct test_case *test = trial->test;
    const struct kernel *kernel = trial->upsample;
    int channels = test->desc.source_channels[s];
    struct kernel_desc desc = {.op = KERNEL_UPSAMPLE,
                               .in_type = test->desc.in_type,
                               .out_type = test->desc.in_type,
                               .source_count = 1,
                               .source_channels = {channels},
                               .out_channels = channels,
                               .store_out = true};
    struct blocked *t = &trial->args.sources[s];
    t->zero = test->zeros[s];
    make_blocked(&trial->stored, test->desc.in_type, t, channels, test->height, test->width,
                 trial->at_end);
    struct kernel_args args = {.sources = {input_low(test, trial->at_end)},
                               .out = *t,
                               .offset_y = test->offset_y,
                               .offset_x = test->offset_x};
    void *scratch = need(aligned_alloc(
        ALIGNMENT,
        kernel->scratch_bytes(kernel, &desc, &args) / ALIGNMENT * ALIGNMENT + ALIGNMENT));
    kernel->run(kernel, &desc, &args, 0, 1, scratch);
    free(scratch);
    guarded_protect(&trial->stored);
}

static void make_source(struct trial *trial, int s)
{
    const struct test_case *test = trial->test;
    if (s > 0 && s == test->desc.upsampled)
        trial->args.sources[s] = input_low(test, trial->at_end);
    else if (trial->upsample != NULL && s == test->upsampled)
        store_upsampled(trial, s);
    else
        trial->args.sources[s] = input_source(test, s, trial->at_end);
}

/* A single class meets a rival that is a logit itself. */
static void make_mask(struct trial *trial, const struct expected *planar)
{
    size_t pixels = (size_t)planar->height * (size_t)planar->width;
    guarded_new(&trial->outputs[PLANAR], pixels, trial->at_end);
    trial->args.mask_out = (struct kernel_mask){trial->outputs[PLANAR].data,
                                                trial->planes->args.planar_out[pixels / 2]};
}

static void make_outputs(struct trial *trial)
{
    const struct test_case *test = trial->test;
    struct kernel_args *args = &trial->args;
    enum kernel_type type = test->desc.out_type;
    args->out.zero = test->out_zero;
    args->pooled.zero = test->desc.pooled_type == KERNEL_U8 ? test->out_zero : 0;
    if (test->direct.out.value != NULL && test->desc.store_out)
        make_blocked(&trial->outputs[OUT], type, &args->out, test->direct.out.channels,
                     test->direct.out.height, test->direct.out.width, trial->at_end);
    if (test->direct.pooled.value != NULL)
        make_blocked(&trial->outputs[POOLED], test->desc.pooled_type, &args->pooled,
                     test->direct.pooled.channels, test->direct.pooled.height,
                     test->direct.pooled.width, trial->at_end);
    const struct expected *planar = &test->direct.planar;
    if (planar->value != NULL && trial->planes != NULL) {
        make_mask(trial, planar);
    } else if (planar->value != NULL) {
        guarded_new(&trial->outputs[PLANAR],
                    sizeof(float) * (size_t)planar->channels * (size_t)planar->height *
                        (size_t)planar->width,
                    trial->at_end);
        args->planar_out = trial->outputs[PLANAR].data;
    }
    args->offset_y = test->offset_y;
    args->offset_x = test->offset_x;
}

static size_t whole_lines(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* In one phase, or in as many as the kernel would, whether that pays or not. */
static void share_out(struct trial *trial)
{
    const struct kernel *kernel = trial->kernel;
    const struct kernel_desc *desc = &trial->test->desc;
    trial->args.threads = trial->threads;
    trial->args.cache_bytes = trial->large ? 1 : 0;
    trial->share = (struct kernel_share){
        .phases = 1,
        .tasks = kernel->task_count(kernel, desc, &trial->args),
        .scratch_bytes = kernel->scratch_bytes(kernel, desc, &trial->args),
    };
    if (trial->phased)
        kernel->share(kernel, desc, &trial->args, &trial->share);
}

static void prepare(struct trial *trial, const struct packed *packed)
{
    const struct test_case *test = trial->test;
    for (int s = 0; s < test->desc.source_count && !is_load(test); s++)
        make_source(trial, s);
    trial->args.from_input = reads_input(trial) && !is_load(test);
    if (trial->args.from_input)
        trial->args.sources[0].data = NULL; /* nobody has written it */
    if (reads_input(trial) && trial->planes != NULL && test->pixels != NULL)
        trial->args.pixels_in = input_pixels(test, trial->at_end);
    else if (reads_input(trial))
        trial->args.planar_in = input_planes(test, trial->at_end);
    make_outputs(trial);
    trial->args.packed = packed->memory[trial->at_end].data;
    share_out(trial);
    guarded_new(&trial->scratch, whole_lines(trial->share.scratch_bytes), trial->at_end);
    if (trial->share.phases > 1) {
        guarded_new(&trial->shared, whole_lines(trial->share.shared_bytes), trial->at_end);
        trial->args.phases = trial->share.phases;
        trial->args.shared = trial->shared.data;
    }
}

static void dismantle(struct trial *trial)
{
    for (int i = 0; i < OUTPUTS; i++)
        guarded_free(&trial->outputs[i]);
    guarded_free(&trial->stored);
    guarded_free(&trial->scratch);
    guarded_free(&trial->shared);
}

/* ---------------------------------------------------------------- one run */

static int all_tasks(const struct trial *trial)
{
    return trial->share.phases * trial->share.tasks;
}

static void call_task(struct trial *trial, int task)
{
    guarded_poison(&trial->scratch);
    trial->kernel->run(trial->kernel, &trial->test->desc, &trial->args, task, trial->share.tasks,
                       trial->scratch.data);
}

static void call_tasks(void *context)
{
    struct trial *trial = context;
    int tasks = trial->share.tasks;
    for (int phase = 0; phase < trial->share.phases; phase++)
        for (int i = 0; i < tasks; i++)
            call_task(trial, phase * tasks + (trial->order == DOWN ? tasks - 1 - i : i));
}

/* Tasks may share a word of a mask, but no byte. Class 255 would look like poison: no case has
 * it. */
static bool gather_bytes(const struct guarded *output, uint8_t *gathered)
{
    uint8_t *written = output->data;
    for (size_t i = 0; i < output->bytes; i++) {
        if (written[i] == 0xff)
            continue;
        if (gathered[i] != 0xff)
            return false;
        gathered[i] = written[i];
        written[i] = 0xff;
    }
    return true;
}

/* Moves what a task wrote into `gathered`. False if another task wrote there before. */
static bool gather(const struct guarded *output, uint32_t *gathered)
{
    uint32_t *written = output->data;
    for (size_t i = 0; i < output->bytes / sizeof *written; i++) {
        if (written[i] == POISON)
            continue;
        if (gathered[i] != POISON)
            return false;
        gathered[i] = written[i];
        written[i] = POISON;
    }
    return true;
}

static size_t output_bytes(const struct trial *trial)
{
    size_t sum = 0;
    for (int i = 0; i < OUTPUTS; i++)
        sum += trial->outputs[i].bytes;
    return sum;
}

/* Each task on outputs full of poison: what it leaves there is its part. */
static void call_tasks_apart(void *context)
{
    struct trial *trial = context;
    uint32_t *gathered[OUTPUTS] = {NULL};
    for (int i = 0; i < OUTPUTS; i++) {
        gathered[i] = need(malloc(trial->outputs[i].bytes + 1));
        memset(gathered[i], 0xff, trial->outputs[i].bytes);
    }
    for (int task = 0; task < all_tasks(trial); task++) {
        call_task(trial, task);
        for (int i = 0; i < OUTPUTS; i++) {
            bool bytes = i == PLANAR && trial->args.mask_out.classes != NULL;
            if (bytes ? !gather_bytes(&trial->outputs[i], (uint8_t *)gathered[i])
                      : !gather(&trial->outputs[i], gathered[i]))
                trial->overlap = true;
        }
    }
    for (int i = 0; i < OUTPUTS; i++) {
        if (trial->outputs[i].bytes > 0)
            memcpy(trial->outputs[i].data, gathered[i], trial->outputs[i].bytes);
        free(gathered[i]);
    }
}

static const char *run_tasks(struct trial *trial)
{
    if (trial->share.tasks < 1)
        return "has no task";
    bool apart =
        trial->order == APART && (size_t)all_tasks(trial) * output_bytes(trial) < APART_BYTES;
    if (!guarded_call(apart ? call_tasks_apart : call_tasks, trial))
        return "touches memory outside its tensors, or writes to an input";
    if (trial->overlap)
        return "two tasks write the same place";
    bool intact = guarded_intact(&trial->scratch) &&
                  (trial->shared.map == NULL || guarded_intact(&trial->shared));
    for (int i = 0; i < OUTPUTS; i++)
        intact = intact && (trial->outputs[i].map == NULL || guarded_intact(&trial->outputs[i]));
    return intact ? NULL : "writes beside its outputs";
}

/* ---------------------------------------------------------------- comparison */

static const char *differs(const char *name, int channel, int y, int x, double got, double value,
                           double bound, char *text, size_t bytes)
{
    snprintf(text, bytes, "%s, channel %d, y %d, x %d: %.9g, should be %.9g ± %.3g", name, channel,
             y, x, got, value, bound);
    return text;
}

/* All of a blocked tensor: values, the lanes past the last channel, the border. Those lanes hold
 * what stands for 0 where pixels are padding. */
static const char *compare_blocked(const char *name, const struct blocked *t,
                                   const struct expected *expected, char *text, size_t bytes)
{
    for (int y = -1; y <= t->height; y++)
        for (int c = 0; c < kernel_blocks(t->channels) * KERNEL_BLOCK; c++)
            for (int x = -1; x <= t->width; x++) {
                double got = (double)get_element(t, c, y, x);
                double value = t->zero, bound = 0.0;
                bool inside = y >= 0 && y < t->height && x >= 0 && x < t->width;
                if (inside && c >= t->channels && got == 0.0)
                    continue;
                if (inside && c < t->channels) {
                    size_t at =
                        ((size_t)c * (size_t)t->height + (size_t)y) * (size_t)t->width + (size_t)x;
                    value = expected->value[at];
                    bound = expected->bound[at];
                }
                if (!(fabs(got - value) <= bound))
                    return differs(name, c, y, x, got, value, bound, text, bytes);
            }
    return NULL;
}

static const char *compare_planar(const float *got, const struct expected *expected, char *text,
                                  size_t bytes)
{
    size_t plane = (size_t)expected->height * (size_t)expected->width;
    for (size_t i = 0; i < (size_t)expected->channels * plane; i++)
        if (!(fabs((double)got[i] - expected->value[i]) <= expected->bound[i]))
            return differs("planar", (int)(i / plane), (int)(i % plane) / expected->width,
                           (int)(i % plane) % expected->width, (double)got[i], expected->value[i],
                           expected->bound[i], text, bytes);
    return NULL;
}

/* With what the kernel's own planes say, which were compared before. */
static const char *compare_mask(const struct trial *trial, const struct expected *expected,
                                char *text, size_t bytes)
{
    const float *planes = trial->planes->args.planar_out;
    size_t plane = (size_t)expected->height * (size_t)expected->width;
    for (size_t i = 0; i < plane; i++) {
        int best = 0;
        for (int c = 1; c < expected->channels; c++)
            if (planes[(size_t)c * plane + i] > planes[(size_t)best * plane + i])
                best = c;
        if (expected->channels == 1)
            best = planes[i] > trial->args.mask_out.above;
        if (trial->args.mask_out.classes[i] != best)
            return differs("mask", 0, (int)i / expected->width, (int)i % expected->width,
                           trial->args.mask_out.classes[i], best, 0.0, text, bytes);
    }
    return NULL;
}

static const char *compare_reference(const struct trial *trial, char *text, size_t bytes)
{
    int size = winograd_size(trial->kernel);
    const struct conv_expected *expected =
        size < 0 ? &trial->test->direct : &trial->test->winograd[size];
    const char *wrong = NULL;
    if (trial->outputs[OUT].map != NULL)
        wrong = compare_blocked("out", &trial->args.out, &expected->out, text, bytes);
    if (wrong == NULL && trial->outputs[POOLED].map != NULL)
        wrong = compare_blocked("pooled", &trial->args.pooled, &expected->pooled, text, bytes);
    if (wrong == NULL && trial->args.mask_out.classes != NULL)
        wrong = compare_mask(trial, &expected->planar, text, bytes);
    else if (wrong == NULL && trial->outputs[PLANAR].map != NULL)
        wrong = compare_planar(trial->args.planar_out, &expected->planar, text, bytes);
    return wrong;
}

static bool same_bits(const struct trial *a, const struct trial *b)
{
    for (int i = 0; i < OUTPUTS; i++)
        if (a->outputs[i].map != NULL && a->outputs[i].bytes == b->outputs[i].bytes &&
            memcmp(a->outputs[i].data, b->outputs[i].data, a->outputs[i].bytes) != 0)
            return false;
    return true;
}

static const char *compare_bits(const struct trial *a, const struct trial *b)
{
    return same_bits(a, b)
               ? NULL
               : "the bits depend on the number of tasks, on whether planes are given, or on "
                 "whether tensors are taken for large";
}

#define RUNS 5

static const struct {
    int threads, order;
    bool phased, large; /* large: all tensors are taken for it */
} runs[RUNS] = {{1, UP, false, false},
                {2, DOWN, false, true},
                {7, APART, false, false},
                {5, APART, true, false},
                {2, DOWN, true, true}};

static struct trial make_trial(const struct kernel *kernel, const struct test_case *test, int run)
{
    return (struct trial){.kernel = kernel,
                          .test = test,
                          .threads = runs[run].threads,
                          .order = runs[run].order,
                          .phased = runs[run].phased,
                          .large = runs[run].large,
                          .at_end = run % 2 == 0};
}

/* Whether the kernel can run like this at all. */
static bool has_run(const struct kernel *kernel, int run)
{
    return !runs[run].phased || kernel->share != NULL;
}

/* The first trial is left as it ran: the others' bits, and those of another set, are compared with
 * its own. */
static const char *check_runs(struct trial *first, const struct trial *planes,
                              const struct kernel *kernel, const struct test_case *test,
                              const struct packed *packed, char *text, size_t bytes)
{
    const char *wrong = NULL;
    for (int i = 0; i < RUNS && wrong == NULL && has_run(kernel, i); i++) {
        struct trial other, *trial = i == 0 ? first : &other;
        *trial = make_trial(kernel, test, i);
        trial->planes = planes;
        prepare(trial, packed);
        wrong = run_tasks(trial);
        if (wrong == NULL)
            wrong = i == 0 ? compare_reference(trial, text, bytes) : compare_bits(first, trial);
        if (wrong == NULL && i == 0 && planes != NULL)
            wrong = compare_bits(planes, trial);
        if (i > 0)
            dismantle(trial);
    }
    return wrong;
}

static const char *check_packed(const struct kernel *kernel, const struct test_case *test,
                                const struct packed *packed, char *text, size_t bytes)
{
    struct trial first = {0}, other = {0};
    const char *wrong = check_runs(&first, NULL, kernel, test, packed, text, bytes);
    bool both = test->direct.planar.value != NULL || kernel->reads_input || is_load(test);
    if (wrong == NULL && both)
        wrong = check_runs(&other, &first, kernel, test, packed, text, bytes);
    dismantle(&first);
    dismantle(&other);
    return wrong;
}

/* ---------------------------------------------------------------- an up-sampled source */

/* The one that rounds as this kernel's tier does. */
static const struct kernel *upsample_like(const struct kernel *kernel, enum kernel_type type)
{
    struct kernel_desc desc = {.op = KERNEL_UPSAMPLE,
                               .in_type = type,
                               .out_type = type,
                               .source_count = 1,
                               .source_channels = {1},
                               .out_channels = 1};
    for (const struct kernel *const *list = kernel_list(); *list != NULL; list++)
        if ((*list)->op == KERNEL_UPSAMPLE && (*list)->tier == kernel->tier &&
            ((*list)->features & ~kernel->features) == 0 && (*list)->refuse(*list, &desc) == NULL)
            return *list;
    return NULL;
}

/* The same bits as `apart`, whose source was stored. */
static const char *check_fused(const struct trial *apart, const struct kernel *kernel,
                               const struct test_case *test)
{
    struct packed packed = {0};
    const char *wrong = make_packed(&packed, kernel, test);
    for (int i = 0; i < RUNS && wrong == NULL && has_run(kernel, i); i++) {
        struct trial trial = make_trial(kernel, test, i);
        prepare(&trial, &packed);
        wrong = run_tasks(&trial);
        if (wrong == NULL && !same_bits(apart, &trial))
            wrong = "an up-sampled source gives other bits than the same source stored";
        dismantle(&trial);
    }
    free_packed(&packed);
    return wrong;
}

/* With test->upsampled read up-sampled: the same bits as with that source stored by the UPSAMPLE
 * kernel of its tier. Also NULL where it refuses that. */
static const char *check_upsampled(const struct kernel *kernel, const struct test_case *test,
                                   const struct packed *packed)
{
    struct test_case fused = *test;
    fused.desc.upsampled = test->upsampled;
    if (test->upsampled == 0 || kernel->refuse(kernel, &fused.desc) != NULL)
        return NULL;
    struct trial apart = {.kernel = kernel, .test = test, .order = UP, .threads = 1};
    apart.upsample = upsample_like(kernel, test->desc.in_type);
    if (apart.upsample == NULL)
        return "has no up-sampling beside it";
    prepare(&apart, packed);
    const char *wrong = run_tasks(&apart);
    if (wrong == NULL)
        wrong = check_fused(&apart, kernel, &fused);
    dismantle(&apart);
    return wrong;
}

const char *check_kernel(const struct kernel *kernel, const struct test_case *test, char *text,
                         size_t bytes)
{
    struct packed packed = {0};
    const char *wrong = make_packed(&packed, kernel, test);
    if (wrong == NULL)
        wrong = check_packed(kernel, test, &packed, text, bytes);
    if (wrong == NULL)
        wrong = check_upsampled(kernel, test, &packed);
    free_packed(&packed);
    return wrong;
}
