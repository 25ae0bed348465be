#include "benchmark.h"
#include "cli.h"
#include "clock.h"
#include "message.h"
#include "segmenter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bench_settings {
    struct image_size size;
    int batch, threads;
    unet_precision precision;
    const char *device;
    double seconds;
    bool profile;
    enum bench_format format;
};

/* ---------------------------------------------------------------- runs */

enum { WARM_UP_RUNS = 2, LEAST_RUNS = 5, MOST_RUNS = 100000 };

struct buffers {
    float *input, *logits;
};

static unet_status run_once(unet_session *session, const struct bench_result *result,
                            const struct buffers *buffers, double *milliseconds, unet_error *error)
{
    double began = seconds_now();
    unet_status status = unet_session_run(session, buffers->input, result->batch, result->height,
                                          result->width, buffers->logits, error);
    *milliseconds = 1e3 * (seconds_now() - began);
    return status;
}

static unet_status measure(unet_session *session, double seconds, const struct buffers *buffers,
                           struct bench_result *result, unet_error *error)
{
    double *times = must_allocate(MOST_RUNS * sizeof *times);
    unet_status status = UNET_OK;
    int count = 0;
    for (int i = 0; i < WARM_UP_RUNS && status == UNET_OK; i++)
        status = run_once(session, result, buffers, &times[0], error);
    if (status == UNET_OK)
        status = unet_session_measure_peak(session, error);
    unet_session_reset_profile(session);
    double began = seconds_now();
    while (status == UNET_OK && count < MOST_RUNS &&
           (count < LEAST_RUNS || seconds_now() - began < seconds))
        status = run_once(session, result, buffers, &times[count++], error);
    if (status == UNET_OK)
        status = unet_session_measure_peak(session, error);
    if (status == UNET_OK)
        bench_result_set_times(result, times, count);
    free(times);
    return status;
}

static unet_status run_bench(unet_session *session, const struct bench_settings *settings,
                             struct bench_result *result, unet_error *error)
{
    size_t pixels = (size_t)result->batch * (size_t)result->height * (size_t)result->width;
    size_t inputs = pixels * (size_t)result->engine.in_channels;
    struct buffers buffers = {
        must_allocate(inputs * sizeof(float)),
        must_allocate(pixels * (size_t)result->engine.classes * sizeof(float))};
    bench_fill(buffers.input, inputs);
    unet_status status = measure(session, settings->seconds, &buffers, result, error);
    free(buffers.input);
    free(buffers.logits);
    if (status == UNET_OK)
        status = bench_result_collect(result, session, error);
    return status;
}

/* ---------------------------------------------------------------- the verb */

static unet_status open_session(const struct bench_settings *settings, const unet_engine *engine,
                                unet_session **session, unet_error *error)
{
    unet_session_options options = UNET_SESSION_OPTIONS_INIT;
    options.threads = settings->threads;
    options.profile = true; /* a clock reading a layer: the rates need what the profile knows */
    return unet_session_create(engine, &options, session, error);
}

static unet_status bench_cpu(const struct bench_settings *settings, const unet_engine *engine,
                             struct bench_result *result, unet_error *error)
{
    unet_session *session = NULL;
    unet_status status = open_session(settings, engine, &session, error);
    if (status == UNET_OK)
        status = run_bench(session, settings, result, error);
    unet_session_close(&session);
    return status;
}

/* Without --size the engine's own size is timed. */
static void choose_size(struct bench_result *result, const struct image_size *size)
{
    result->width = size->width > 0 ? size->width : result->engine.tuned_width;
    result->height = size->height > 0 ? size->height : result->engine.tuned_height;
}

static void print_result(const struct bench_settings *settings, const struct bench_result *result)
{
    if (settings->format == BENCH_JSON)
        bench_print_json(result);
    else if (settings->format == BENCH_CSV)
        bench_print_csv(result, settings->profile);
    else
        bench_print_table(result, settings->profile);
    if (result->p90_ms > 1.15 * result->median_ms)
        message("noisy: one run in ten took %.2f times the median or more; let the machine rest "
                "and run it again",
                result->p90_ms / result->median_ms);
}

static int bench(const char *path, const struct bench_settings *settings)
{
    struct tuning tuning = {settings->size, 1, settings->precision, settings->device};
    struct bench_result result = {
        .path = path, .batch = settings->batch, .engine = {.size = sizeof result.engine}};
    unet_engine *engine = NULL;
    unet_error error;
    unet_status status = network_open(path, &tuning, &engine, &error);
    if (status == UNET_OK)
        status = unet_engine_get_info(engine, &result.engine, &error);
    choose_size(&result, &settings->size);
    if (status == UNET_OK && strcmp(result.engine.device, "cpu") == 0)
        status = bench_cpu(settings, engine, &result, &error);
    else if (status == UNET_OK)
        status = bench_device(engine, settings->seconds, &result, &error);
    if (status == UNET_OK)
        print_result(settings, &result);
    bench_result_clear(&result);
    unet_engine_close(&engine);
    return status == UNET_OK ? EXIT_DONE : report_error(&error);
}

static bool read_seconds(const char *text, void *member, struct problem *problem)
{
    double value;
    if (!parse_number(text, &value) || value <= 0 || value > 86400)
        return problem_set(problem, "is not a number of seconds above 0 and at most 86400");
    *(double *)member = value;
    return true;
}

static bool read_format(const char *text, void *member, struct problem *problem)
{
    static const char *const names[] = {"table", "json", "csv"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *(enum bench_format *)member = (enum bench_format)i;
            return true;
        }
    }
    return problem_set(problem, "is not table, json or csv");
}

const struct command bench_command = {
    .name = "bench",
    .operands = "ENGINE|MODEL [options]",
    .brief = "ENGINE|MODEL",
    .summary = "time a network",
    .details =
        "Times the network from float32 values in memory to float32 logits in memory, after\n"
        "a warm-up. Decoding images and writing masks are not in it. On a GPU both are in its\n"
        "memory, and runs are enqueued one behind the other: a run's time is what it adds; how\n"
        "long a single one takes from start to end, and the copies, are told apart.",
    .examples = "  unet bench membrane.engine\n"
                "  unet bench camvid.pth --size 480x360 --threads 1 --profile\n"
                "  unet bench membrane.pth --device cuda --precision fp16 --batch 8\n"
                "  unet bench membrane.engine --seconds 10 --format json > result.json\n",
    .min_operands = 1,
    .max_operands = 1,
};

static const struct option_spec bench_specs[] = {
    {'\0', "size", "WxH", "default: what the engine is tuned for", read_size,
     offsetof(struct bench_settings, size)},
    {'\0', "batch", "N", "images a run; default 1", read_batch,
     offsetof(struct bench_settings, batch)},
    {'\0', "threads", "N", "default: as many as this process may use", read_threads,
     offsetof(struct bench_settings, threads)},
    {'\0', "device", "D", DEVICE_HELP, read_device, offsetof(struct bench_settings, device)},
    {'\0', "seconds", "S", "how long to measure; default 3, five runs at least", read_seconds,
     offsetof(struct bench_settings, seconds)},
    {'\0', "profile", NULL, "a row for each layer too", NULL,
     offsetof(struct bench_settings, profile)},
    {'\0', "format", "FORMAT", "table, json or csv; default table", read_format,
     offsetof(struct bench_settings, format)},
};

int verb_bench(int argc, char **argv)
{
    struct bench_settings settings = {.batch = 1, .seconds = 3};
    struct option_group groups[] = {OPTION_GROUP(bench_specs, &settings),
                                    precision_group(&settings.precision)};
    struct operands operands;
    int exit_code;
    if (!arguments_read(&bench_command, groups, 2, argc, argv, &operands, &exit_code))
        return exit_code;
    return bench(operands.items[0], &settings);
}
