/* kernel-tests: checks and times every kernel that this machine can run.
 *
 *     kernel-tests [--filter NAME] [--seed N]            each kernel on all cases of its op
 *     kernel-tests --bench [--filter NAME[,LAYER]] [--threads N] [--seconds S]
 *                          [--precision fp32|bf16|int8]
 *
 * UNET_CPU plays no part: every tier that the machine has is run. The last line is
 * "N passed, N failed"; the exit status is 1 if any failed. */
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    bool bench;
    uint64_t seed;
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

struct entry {
    const struct kernel *kernel;
    struct tally tally;
};

/* The runnable kernels of an op in a list; says which are not. */
static int collect(const struct options *options, enum kernel_op op,
                   const struct kernel *const *list, struct entry *entries)
{
    int found = 0;
    for (; *list != NULL; list++) {
        char text[160];
        if ((*list)->op != op || !wanted(options, (*list)->name))
            continue;
        const char *reason = kernel_machine_refusal(*list, cpu_tier_detected(), text, sizeof text);
        if (reason == NULL)
            entries[found++] = (struct entry){.kernel = *list};
        else
            printf("%-34s not run: %s\n", (*list)->name, reason);
    }
    return found;
}

static void check_case(struct entry *entry, const struct test_case *test)
{
    char text[256], about[320];
    const char *wrong = check_kernel(entry->kernel, test, text, sizeof text);
    if (wrong == NULL)
        wrong = check_upsampled(entry->kernel, test);
    if (wrong == NULL) {
        entry->tally.passed++;
        return;
    }
    if (entry->tally.failed++ < SHOWN_FAILURES)
        printf("FAILED: %s: %s\n        (%s)\n", entry->kernel->name, wrong,
               case_text(test, about, sizeof about));
}

static bool takes(const struct entry *entry, const struct test_case *test)
{
    return entry->kernel->refuse(entry->kernel, &test->desc) == NULL;
}

static void check_types(const struct options *options, enum kernel_op op, struct case_types types,
                        struct entry *entries, int found)
{
    for (int index = 0; found > 0 && index < case_count(op); index++) {
        struct test_case test;
        bool wanted_by_any = false;
        case_make(&test, op, types, index, options->seed);
        for (int i = 0; i < found; i++)
            wanted_by_any = wanted_by_any || takes(&entries[i], &test);
        if (wanted_by_any)
            case_fill(&test);
        for (int i = 0; i < found; i++)
            if (takes(&entries[i], &test))
                check_case(&entries[i], &test);
        case_free(&test);
    }
}

static void check_op(const struct options *options, enum kernel_op op, struct tally *tally)
{
    struct entry entries[64];
    int found = collect(options, op, kernel_list(), entries);
    found += collect(options, op, emulated_kernels(), entries + found);
    for (int types = 0; types < case_types_count(op); types++)
        check_types(options, op, case_types(op, types), entries, found);
    for (int i = 0; i < found; i++) {
        printf("%-34s %d cases, %d failed\n", entries[i].kernel->name,
               entries[i].tally.passed + entries[i].tally.failed, entries[i].tally.failed);
        if (entries[i].tally.passed + entries[i].tally.failed == 0)
            count(tally, false, "a kernel that refuses every case");
        tally->passed += entries[i].tally.passed;
        tally->failed += entries[i].tally.failed;
    }
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
        else if (strcmp(argv[i], "--threads") == 0)
            options->how.threads = atoi(argv[++i]);
        else if (strcmp(argv[i], "--seconds") == 0)
            options->how.seconds = atof(argv[++i]);
        else if (strcmp(argv[i], "--precision") != 0 ||
                 !parse_precision(argv[++i], &options->how.precision))
            return false;
    }
    return options->how.threads >= 0 && options->how.seconds > 0.0;
}

int main(int argc, char **argv)
{
    struct options options = {.seed = 1, .how.seconds = 5.0};
    if (!parse(argc, argv, &options)) {
        fprintf(stderr, "usage: kernel-tests [--filter NAME] [--seed N]\n"
                        "       kernel-tests --bench [--filter NAME[,LAYER]] [--threads N] "
                        "[--seconds S]\n"
                        "                            [--precision fp32|bf16|int8]\n");
        return 2;
    }
    if (options.bench)
        return bench_run(&options.how);
    struct tally tally = {0};
    unsetenv("UNET_CPU");
    if (options.how.filter == NULL)
        check_list(&tally);
    for (int op = 0; op < KERNEL_OP_COUNT; op++)
        check_op(&options, (enum kernel_op)op, &tally);
    printf("%d passed, %d failed\n", tally.passed, tally.failed);
    return tally.failed > 0 || tally.passed == 0 ? 1 : 0;
}
