/* kernel-tests: checks and times every kernel that this machine can run.
 *
 *     kernel-tests [--filter NAME] [--seed N] [--case N] [--jobs N]
 *                                    each kernel on all cases of its op, or on one; a failure names
 *                                    the seed and the case that show it again. As many processes as
 *                                    there are processors, or as --jobs says
 *     kernel-tests --bench [--filter NAME[,LAYER]] [--threads N] [--seconds S]
 *                          [--precision fp32|bf16|int8]
 *
 * UNET_CPU plays no part: every tier that the machine has is run. The last line is
 * "N passed, N failed"; the exit status is 1 if any failed. */
#include "driver.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    bool bench;
    uint64_t seed;
    int only, jobs;           /* a case, −1: all of them */
    struct bench_options how; /* the filter is of the tests too */
};

struct tally {
    int passed, failed;
};

#define SHOWN_FAILURES 5 /* a kernel */

static bool wanted(const struct options *options, const char *name)
{
    return options->how.filter == NULL || strstr(name, options->how.filter) != NULL;
}

static void count(struct tally *tally, bool passed, const char *what)
{
    if (passed) {
        tally->passed++;
    } else {
        tally->failed++;
        printf("FAILED: %s\n", what);
    }
}

/* ---------------------------------------------------------------- the list itself */

static bool names_are_unique(void)
{
    for (const struct kernel *const *a = kernel_list(); *a != NULL; a++)
        if (kernel_find((*a)->name) != *a)
            return false;
    return kernel_find("conv3x3") == NULL && kernel_find("") == NULL;
}

/* Within an op tiers fall, and plain C is there. */
static bool candidates_are_ordered(enum kernel_op op)
{
    int tier = CPU_TIER_COUNT;
    for (const struct kernel *const *list = kernel_list(); *list != NULL; list++) {
        if ((*list)->op != op)
            continue;
        if ((int)(*list)->tier > tier)
            return false;
        tier = (int)(*list)->tier;
    }
    return tier == CPU_TIER_C;
}

static bool refusals_follow_the_tier(void)
{
    char text[160];
    for (const struct kernel *const *list = kernel_list(); *list != NULL; list++) {
        const char *reason = kernel_machine_refusal(*list, CPU_TIER_C, text, sizeof text);
        if (((*list)->tier > CPU_TIER_C) != (reason != NULL))
            return false;
        if (reason != NULL && strstr(reason, cpu_tier_name((*list)->tier)) == NULL)
            return false;
    }
    return true;
}

static bool public_list_agrees(void)
{
    size_t listed = 0;
    while (kernel_list()[listed] != NULL)
        listed++;
    if (unet_kernel_count() != listed)
        return false;
    for (size_t i = 0; i < listed; i++) {
        unet_kernel_info info = {.size = sizeof info};
        if (unet_kernel_get(i, &info, NULL) != UNET_OK ||
            strcmp(info.name, kernel_list()[i]->name) != 0 || info.needs == NULL)
            return false;
    }
    unet_kernel_info info = {.size = sizeof info};
    return unet_kernel_get(listed, &info, NULL) == UNET_ERROR_USAGE;
}

/* What SIMD kernels must leave to plain C. */
static bool special_kernels_refuse(void)
{
    const struct kernel *fast = kernel_find("conv3x3.direct.avx512");
    struct kernel_desc desc = {.op = KERNEL_CONV,
                               .source_count = 1,
                               .source_channels = {3},
                               .out_channels = 8,
                               .kernel_h = 3,
                               .kernel_w = 3,
                               .stride = 1,
                               .padding = 1,
                               .store_out = true};
    struct kernel_desc five = desc, strided = desc, valid = desc, empty = desc;
    five.kernel_w = 5;
    strided.stride = 2;
    valid.padding = 0;
    empty.source_channels[0] = 0;
    const struct kernel *plain = kernel_find("conv.direct.c");
    const struct kernel *winograd = kernel_find("conv3x3.winograd4.avx512");
    struct kernel_desc wide = desc;
    wide.source_channels[0] = 16;
    five.source_channels[0] = strided.source_channels[0] = valid.source_channels[0] = 16;
    if (winograd->refuse(winograd, &wide) != NULL || winograd->refuse(winograd, &desc) == NULL ||
        winograd->refuse(winograd, &five) == NULL || winograd->refuse(winograd, &strided) == NULL ||
        winograd->refuse(winograd, &valid) == NULL || winograd->refuse(winograd, &empty) == NULL)
        return false;
    const struct kernel *bf16 = kernel_find("conv3x3.direct_bf16.avx512");
    struct kernel_desc to_bf16 = desc, from_bf16 = desc;
    to_bf16.out_type = KERNEL_BF16;
    from_bf16.in_type = KERNEL_BF16;
    const struct kernel *both = kernel_find("conv3x3.winograd4_bf16.avx512");
    struct kernel_desc mixed = wide, bf16_wide = wide, only_head = wide;
    mixed.in_type = bf16_wide.in_type = bf16_wide.out_type = only_head.in_type = KERNEL_BF16;
    only_head.store_out = false;
    only_head.head_channels = 2;
    if (both->refuse(both, &wide) == NULL || both->refuse(both, &mixed) != NULL ||
        both->refuse(both, &bf16_wide) != NULL || both->refuse(both, &only_head) != NULL ||
        winograd->refuse(winograd, &bf16_wide) == NULL)
        return false;
    if (fast->refuse(fast, &to_bf16) != NULL || fast->refuse(fast, &from_bf16) == NULL ||
        bf16->refuse(bf16, &desc) == NULL || bf16->refuse(bf16, &from_bf16) != NULL ||
        plain->refuse(plain, &from_bf16) != NULL)
        return false;
    const struct kernel *bytes = kernel_find("conv3x3.direct_u8.c");
    struct kernel_desc from_u8 = desc, most = desc, beyond = desc;
    from_u8.in_type = most.in_type = beyond.in_type = KERNEL_U8;
    most.source_count = beyond.source_count = 2;
    most.source_channels[1] = 7364; /* 7367 · 9 products of 255 · 127 fit 32 bits */
    beyond.source_channels[1] = 7365;
    if (bytes->refuse(bytes, &desc) == NULL || bytes->refuse(bytes, &most) != NULL ||
        bytes->refuse(bytes, &beyond) == NULL || plain->refuse(plain, &beyond) == NULL ||
        plain->refuse(plain, &most) != NULL || fast->refuse(fast, &from_u8) == NULL)
        return false;
    return fast->refuse(fast, &desc) == NULL && fast->refuse(fast, &five) != NULL &&
           fast->refuse(fast, &strided) != NULL && fast->refuse(fast, &valid) != NULL &&
           plain->refuse(plain, &five) == NULL && plain->refuse(plain, &strided) == NULL &&
           plain->refuse(plain, &empty) != NULL;
}

static void check_list(struct tally *tally)
{
    count(tally, names_are_unique(), "kernel names are unique");
    for (int op = 0; op < KERNEL_OP_COUNT; op++)
        count(tally, candidates_are_ordered((enum kernel_op)op), op_name((enum kernel_op)op));
    count(tally, refusals_follow_the_tier(), "refusals follow the tier");
    count(tally, public_list_agrees(), "the public list agrees");
    count(tally, special_kernels_refuse(), "special kernels refuse what they cannot do");
}

/* ---------------------------------------------------------------- the kernels */

#define MOST_ENTRIES 64 /* of an op */

struct entry {
    const struct kernel *kernel;
    atomic_int *passed, *failed; /* by all workers */
};

struct run {
    const struct options *options;
    struct entry entries[KERNEL_OP_COUNT][MOST_ENTRIES];
    int found[KERNEL_OP_COUNT];
};

/* The runnable kernels of an op in a list; says which are not. */
static void collect(struct run *run, enum kernel_op op, const struct kernel *const *list)
{
    for (; *list != NULL; list++) {
        char text[160];
        if ((*list)->op != op || !wanted(run->options, (*list)->name))
            continue;
        const char *reason = kernel_machine_refusal(*list, cpu_tier_detected(), text, sizeof text);
        if (reason == NULL && run->found[op] < MOST_ENTRIES) {
            atomic_int *counts = shared_new(2 * sizeof *counts);
            run->entries[op][run->found[op]++] = (struct entry){*list, counts, counts + 1};
        } else {
            printf("%-34s not run: %s\n", (*list)->name,
                   reason != NULL ? reason : "MOST_ENTRIES is too small");
        }
    }
}

static void check_case(const struct run *run, const struct entry *entry,
                       const struct test_case *test, int item)
{
    char text[256], about[320];
    const char *wrong = check_kernel(entry->kernel, test, text, sizeof text);
    if (wrong == NULL) {
        atomic_fetch_add(entry->passed, 1);
        return;
    }
    if (atomic_fetch_add(entry->failed, 1) < SHOWN_FAILURES)
        printf("FAILED: %s: %s\n        (%s; again: --seed %llu --case %d --filter '%s')\n",
               entry->kernel->name, wrong, case_text(test, about, sizeof about),
               (unsigned long long)run->options->seed, item, entry->kernel->name);
    fflush(stdout); /* whole lines, whoever else writes */
}

static bool takes(const struct entry *entry, const struct test_case *test)
{
    return entry->kernel->refuse(entry->kernel, &test->desc) == NULL;
}

static int cases_of(enum kernel_op op)
{
    return case_types_count(op) * case_count(op);
}

static int cases_in_all(void)
{
    int sum = 0;
    for (int op = 0; op < KERNEL_OP_COUNT; op++)
        sum += cases_of((enum kernel_op)op);
    return sum;
}

/* Cases are numbered through all ops, all pairs of types. */
static void run_case(void *context, int item, struct work_place *place)
{
    const struct run *run = context;
    int op = 0, index = item;
    while (index >= cases_of((enum kernel_op)op))
        index -= cases_of((enum kernel_op)op++);
    int count = case_count((enum kernel_op)op), found = run->found[op];
    const struct entry *entries = run->entries[op];
    struct test_case test;
    bool wanted_by_any = false;
    case_make(&test, (enum kernel_op)op, case_types((enum kernel_op)op, index / count),
              index % count, run->options->seed);
    for (int i = 0; i < found; i++) {
        int size = winograd_size(entries[i].kernel);
        bool taken = takes(&entries[i], &test);
        wanted_by_any = wanted_by_any || taken;
        if (size >= 0)
            test.winograd_wanted[size] = test.winograd_wanted[size] || taken;
    }
    if (wanted_by_any)
        case_fill(&test);
    for (int i = 0; i < found; i++) {
        place->name = entries[i].kernel->name;
        if (takes(&entries[i], &test))
            check_case(run, &entries[i], &test, item);
    }
    case_free(&test);
}

/* Only the kernels that case --case is of have anything to say where there is one. */
static void report(const struct run *run, const struct entry *entry, struct tally *tally)
{
    int passed = atomic_load(entry->passed), failed = atomic_load(entry->failed);
    bool one = run->options->only >= 0;
    if (!one || passed + failed > 0)
        printf("%-34s %d cases, %d failed\n", entry->kernel->name, passed + failed, failed);
    if (!one && passed + failed == 0)
        count(tally, false, "a kernel that refuses every case");
    tally->passed += passed;
    tally->failed += failed;
}

static void check_kernels(const struct options *options, struct tally *tally)
{
    static struct run run;
    struct work_place place = {0};
    run.options = options;
    for (int op = 0; op < KERNEL_OP_COUNT; op++) {
        collect(&run, (enum kernel_op)op, kernel_list());
        collect(&run, (enum kernel_op)op, emulated_kernels());
    }
    if (options->only >= 0)
        run_case(&run, options->only, &place);
    else
        tally->failed += work_through(cases_in_all(), options->jobs, run_case, &run);
    for (int op = 0; op < KERNEL_OP_COUNT; op++)
        for (int i = 0; i < run.found[op]; i++)
            report(&run, &run.entries[op][i], tally);
}

/* ---------------------------------------------------------------- the command line */

static bool parse_precision(const char *text, enum kernel_type *precision)
{
    *precision = strcmp(text, "bf16") == 0   ? KERNEL_BF16
                 : strcmp(text, "int8") == 0 ? KERNEL_U8
                                             : KERNEL_F32;
    return *precision != KERNEL_F32 || strcmp(text, "fp32") == 0;
}

static bool parse(int argc, char **argv, struct options *options)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bench") == 0)
            options->bench = true;
        else if (i + 1 == argc)
            return false;
        else if (strcmp(argv[i], "--filter") == 0)
            options->how.filter = argv[++i];
        else if (strcmp(argv[i], "--seed") == 0)
            options->seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--case") == 0)
            options->only = atoi(argv[++i]);
        else if (strcmp(argv[i], "--jobs") == 0)
            options->jobs = atoi(argv[++i]);
        else if (strcmp(argv[i], "--threads") == 0)
            options->how.threads = atoi(argv[++i]);
        else if (strcmp(argv[i], "--seconds") == 0)
            options->how.seconds = atof(argv[++i]);
        else if (strcmp(argv[i], "--precision") != 0 ||
                 !parse_precision(argv[++i], &options->how.precision))
            return false;
    }
    return options->how.threads >= 0 && options->how.seconds > 0.0 && options->jobs > 0 &&
           options->only < cases_in_all();
}

int main(int argc, char **argv)
{
    struct options options = {.seed = 1, .only = -1, .jobs = processors(), .how.seconds = 5.0};
    if (!parse(argc, argv, &options)) {
        fprintf(stderr, "usage: kernel-tests [--filter NAME] [--seed N] [--case N] [--jobs N]\n"
                        "       kernel-tests --bench [--filter NAME[,LAYER]] [--threads N] "
                        "[--seconds S]\n"
                        "                            [--precision fp32|bf16|int8]\n");
        return 2;
    }
    if (options.bench)
        return bench_run(&options.how);
    struct tally tally = {0};
    unsetenv("UNET_CPU");
    if (options.how.filter == NULL && options.only < 0)
        check_list(&tally);
    check_kernels(&options, &tally);
    printf("%d passed, %d failed\n", tally.passed, tally.failed);
    return tally.failed > 0 || tally.passed == 0 ? 1 : 0;
}
