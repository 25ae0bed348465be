/* gpu-tests: checks every kernel of the GPU's back end against a scalar reference, or times them.
 *
 *     gpu-tests [--filter NAME] [--skip NAME] [--scale N] [--cases N] [--every N]
 *     gpu-tests --bench [--filter NAME] [--layer NAME] [--type f16] [--tf32] [--batch N] [--rounds
 * N]
 *
 * Where there is no GPU it says so and succeeds. The back end is UNET_CUDA_LIBRARY, else
 * libunet-cuda.so in the folder above this program's. */
#include "driver.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 4096
#define MOST_SHOWN 2                        /* failures a kernel */
#define NO_ENGINE  "cuDNN offers no engine" /* which shows only when it is asked: a refusal too */

struct options {
    const char *filter, *skip;
    int scale, cases; /* of an operation, at most */
    int every;        /* of the cases only each so manieth: for sanitizers, which take their time */
    bool bench;
    struct bench_options bench_options;
};

static const struct device_backend *load_backend(void)
{
    char path[PATH_BYTES + 32] = "";
    const char *named = getenv("UNET_CUDA_LIBRARY");
    ssize_t length = readlink("/proc/self/exe", path, PATH_BYTES - 1);
    path[length > 0 ? length : 0] = '\0';
    for (int i = 0; i < 2; i++)
        if (strrchr(path, '/') != NULL)
            *strrchr(path, '/') = '\0';
    strcat(path, "/libunet-cuda.so");
    void *library = dlopen(named != NULL ? named : path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return NULL;
    }
    device_backend_function *table;
    *(void **)&table = dlsym(library, DEVICE_BACKEND_SYMBOL);
    return table != NULL ? table() : NULL;
}

static bool matches(const struct options *options, const struct kernel *kernel)
{
    return (options->filter == NULL || strstr(kernel->name, options->filter) != NULL) &&
           (options->skip == NULL || strstr(kernel->name, options->skip) == NULL);
}

/* What each kernel did. */
struct tally {
    int run, failed;
};

static void check_case(const struct gpu *gpu, const struct options *options,
                       const struct test_case *test, int index, struct tally *tallies)
{
    const struct kernel *const *kernels = gpu->backend->kernels;
    for (int k = 0; kernels[k] != NULL; k++) {
        char text[256], name[256];
        if (kernels[k]->op != test->desc.op || !matches(options, kernels[k]) ||
            gpu_refuses(gpu, kernels[k], &test->desc, text, sizeof text) != NULL)
            continue;
        const char *wrong = trial_run(gpu, kernels[k], test, text, sizeof text);
        if (wrong != NULL && strstr(wrong, NO_ENGINE) != NULL)
            continue;
        tallies[k].run++;
        if (wrong == NULL)
            continue;
        if (++tallies[k].failed <= MOST_SHOWN)
            printf("FAILED %s, case %d (%s): %s\n", kernels[k]->name, index,
                   case_text(test, name, sizeof name), wrong);
    }
}

static bool check_all(const struct gpu *gpu, const struct options *options)
{
    struct tally tallies[256] = {{0, 0}};
    const struct kernel *const *kernels = gpu->backend->kernels;
    bool all = true;
    for (int op = 0; op < KERNEL_OP_COUNT; op++)
        for (int i = 0; i < case_count(op, options->scale) && i < options->cases;
             i += options->every) {
            struct test_case test;
            case_make(&test, op, i);
            check_case(gpu, options, &test, i, tallies);
            case_free(&test);
        }
    for (int k = 0; kernels[k] != NULL; k++) {
        char text[160];
        const char *refusal = gpu->backend->refusal(gpu->device, kernels[k], text, sizeof text);
        if (!matches(options, kernels[k]))
            continue;
        printf("%-32s %4d cases, %d failed%s%s\n", kernels[k]->name, tallies[k].run,
               tallies[k].failed, refusal != NULL ? ": " : "", refusal != NULL ? refusal : "");
        all = all && tallies[k].failed == 0 && (tallies[k].run > 0 || refusal != NULL);
    }
    return all;
}

/* ---------------------------------------------------------------- capture */

/* Copies recorded and replayed twice must have happened twice. */
static unet_status check_capture(const struct gpu *gpu, unet_error *error)
{
    const struct device_backend *b = gpu->backend;
    struct device_graph *graph = NULL;
    void *memory;
    int from[2] = {17, 0}, to[2] = {0, 0};
    TRY(b->alloc(gpu->device, 512, &memory, error));
    TRY(b->upload(gpu->stream, memory, from, sizeof from, error));
    TRY(b->wait(gpu->stream, error));
    TRY(b->capture_begin(gpu->stream, error));
    TRY(b->copy(gpu->stream, (char *)memory + 256, memory, sizeof from, error));
    TRY(b->clear(gpu->stream, memory, sizeof from, error));
    TRY(b->capture_end(gpu->stream, &graph, error));
    TRY(b->graph_launch(gpu->stream, graph, error));
    TRY(b->download(gpu->stream, to, (char *)memory + 256, sizeof to, error));
    TRY(b->wait(gpu->stream, error));
    bool first = to[0] == 17;
    TRY(b->graph_launch(gpu->stream, graph, error));
    TRY(b->download(gpu->stream, to, (char *)memory + 256, sizeof to, error));
    TRY(b->wait(gpu->stream, error));
    b->graph_free(graph);
    b->free(gpu->device, memory);
    void *too_much = NULL;
    unet_error refused;
    size_t all = b->facts(gpu->device)->memory_bytes;
    if (b->alloc(gpu->device, 2 * all, &too_much, &refused) != UNET_ERROR_MEMORY)
        return error_set(error, UNET_ERROR_DEVICE, "twice the device's memory was not refused");
    printf("twice the device's memory is refused as it should be: %s\n", refused.message);
    return first && to[0] == 0
               ? UNET_OK
               : error_set(error, UNET_ERROR_DEVICE, "a recorded copy gave other bytes");
}

static bool read_options(struct options *options, int count, char **words)
{
    *options = (struct options){.scale = 1, .cases = INT_MAX, .every = 1};
    options->bench_options = (struct bench_options){NULL, NULL, 1, 5, KERNEL_F16, false};
    for (int i = 1; i < count; i++) {
        const char *word = words[i], *value = i + 1 < count ? words[i + 1] : "";
        bool takes = true;
        if (strcmp(word, "--filter") == 0)
            options->filter = options->bench_options.filter = value;
        else if (strcmp(word, "--layer") == 0)
            options->bench_options.layer = value;
        else if (strcmp(word, "--skip") == 0)
            options->skip = value;
        else if (strcmp(word, "--cases") == 0)
            options->cases = atoi(value);
        else if (strcmp(word, "--every") == 0)
            options->every = atoi(value) > 0 ? atoi(value) : 1;
        else if (strcmp(word, "--scale") == 0)
            options->scale = atoi(value);
        else if (strcmp(word, "--batch") == 0)
            options->bench_options.batch = atoi(value);
        else if (strcmp(word, "--rounds") == 0)
            options->bench_options.rounds = atoi(value) < 99 ? atoi(value) : 99;
        else if (strcmp(word, "--type") == 0)
            for (int type = 0; type < KERNEL_TYPE_COUNT; type++)
                options->bench_options.type = strcmp(value, kernel_type_name(type)) == 0
                                                  ? (enum kernel_type)type
                                                  : options->bench_options.type;
        else if (takes = false, strcmp(word, "--bench") == 0)
            options->bench = true;
        else if (strcmp(word, "--tf32") == 0)
            options->bench_options.tf32 = true;
        else
            return false;
        i += takes;
    }
    return true;
}

static int run(struct gpu *gpu, const struct options *options)
{
    unet_error error;
    const struct device_backend *backend = gpu->backend;
    if (backend->open(0, &gpu->device, &error) != UNET_OK ||
        backend->stream_open(gpu->device, &gpu->stream, &error) != UNET_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    const struct device_facts *facts = backend->facts(gpu->device);
    printf("%s, %s, %d multiprocessors, %zu MiB, L2 %zu KiB, driver %s, runtime %s %s\n",
           facts->name, facts->architecture, facts->multiprocessors, facts->memory_bytes >> 20,
           facts->l2_bytes >> 10, facts->driver, facts->runtime, facts->libraries);
    bool good;
    if (options->bench) {
        good = bench_run(gpu, &options->bench_options);
    } else {
        good = check_capture(gpu, &error) == UNET_OK;
        if (!good)
            printf("FAILED capture: %s\n", error.message);
        good = check_all(gpu, options) && good;
    }
    backend->stream_close(gpu->stream);
    backend->close(gpu->device);
    return good ? 0 : 1;
}

int main(int count, char **words)
{
    struct options options;
    unet_error error;
    if (!read_options(&options, count, words)) {
        fprintf(stderr, "see the first lines of tests/gpu/main.c for the options\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* what is printed before a crash is seen */
    struct gpu gpu = {.backend = load_backend()};
    if (gpu.backend == NULL)
        return 1;
    int devices = 0;
    unet_status status = gpu.backend->count(&devices, &error);
    if (status != UNET_OK || devices == 0) {
        printf("no GPU on this machine, nothing was tested%s%s\n", status != UNET_OK ? ": " : "",
               status != UNET_OK ? error.message : "");
        return 0;
    }
    return run(&gpu, &options);
}
