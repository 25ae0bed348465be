/* Times a network on a device: from its memory to its memory. */
#include "benchmark.h"
#include "clock.h"
#include "message.h"

#include <stdlib.h>

/* Runs that are enqueued together take about this long, so that waiting for them weighs little. */
#define GROUP_MS 20.0

enum {
    WARM_UP_RUNS = 5, /* kernels are loaded, the run is captured, the clock goes up */
    LEAST_GROUPS = 5,
    MOST_GROUPS = 10000,
    MOST_ENQUEUED = 500,
    SINGLE_RUNS = 50,
    COPIES = 9,
    PROFILED_RUNS = 10
};

struct device_bench {
    unet_session *session;
    struct bench_result *result;
    float *host; /* room for the larger of both */
    size_t in_bytes, out_bytes;
    void *input, *logits; /* in the device's memory */
};

/* ---------------------------------------------------------------- runs */

static unet_status enqueue(const struct device_bench *bench, unet_error *error)
{
    const struct bench_result *result = bench->result;
    return unet_session_enqueue(bench->session, bench->input, result->batch, result->height,
                                result->width, bench->logits, error);
}

/* The mean of so many. */
static unet_status run_group(const struct device_bench *bench, int count, double *milliseconds,
                             unet_error *error)
{
    double began = seconds_now();
    unet_status status = UNET_OK;
    for (int i = 0; i < count && status == UNET_OK; i++)
        status = enqueue(bench, error);
    if (status == UNET_OK)
        status = unet_session_wait(bench->session, error);
    *milliseconds = 1e3 * (seconds_now() - began) / count;
    return status;
}

static unet_status time_single_runs(const struct device_bench *bench, double seconds,
                                    unet_error *error)
{
    double times[SINGLE_RUNS], began = seconds_now();
    unet_status status = UNET_OK;
    int count = 0;
    while (status == UNET_OK && count < SINGLE_RUNS &&
           (count < LEAST_GROUPS || seconds_now() - began < seconds))
        status = run_group(bench, 1, &times[count++], error);
    if (status == UNET_OK)
        bench->result->latency_ms = bench_median(times, count);
    return status;
}

static int group_size(double latency_ms)
{
    double count = GROUP_MS / latency_ms;
    return count < 1 ? 1 : count > MOST_ENQUEUED ? MOST_ENQUEUED : (int)count;
}

static unet_status time_groups(const struct device_bench *bench, double seconds, unet_error *error)
{
    struct bench_result *result = bench->result;
    double *times = must_allocate(MOST_GROUPS * sizeof *times), began = seconds_now();
    unet_status status = UNET_OK;
    int count = 0;
    result->enqueued = group_size(result->latency_ms);
    while (status == UNET_OK && count < MOST_GROUPS &&
           (count < LEAST_GROUPS || seconds_now() - began < seconds))
        status = run_group(bench, result->enqueued, &times[count++], error);
    if (status == UNET_OK) {
        bench_result_set_times(result, times, count);
        result->runs = count * result->enqueued;
    }
    free(times);
    return status;
}

/* ---------------------------------------------------------------- copies */

static unet_status time_copies(const struct device_bench *bench, unet_error *error)
{
    double up[COPIES], down[COPIES];
    unet_status status = UNET_OK;
    for (int i = 0; i < COPIES && status == UNET_OK; i++) {
        double began = seconds_now();
        status = unet_device_memory_write(bench->session, bench->input, bench->host,
                                          bench->in_bytes, error);
        double between = seconds_now();
        if (status == UNET_OK)
            status = unet_device_memory_read(bench->session, bench->logits, bench->host,
                                             bench->out_bytes, error);
        up[i] = 1e3 * (between - began);
        down[i] = 1e3 * (seconds_now() - between);
    }
    if (status == UNET_OK) {
        bench->result->upload_ms = bench_median(up, COPIES);
        bench->result->download_ms = bench_median(down, COPIES);
    }
    return status;
}

/* ---------------------------------------------------------------- all of it */

static unet_status open_bench(const unet_engine *engine, bool profile, struct device_bench *bench,
                              unet_error *error)
{
    const struct bench_result *result = bench->result;
    unet_session_options options = UNET_SESSION_OPTIONS_INIT;
    size_t pixels = (size_t)result->batch * (size_t)result->height * (size_t)result->width;
    bench->in_bytes = pixels * (size_t)result->engine.in_channels * sizeof(float);
    bench->out_bytes = pixels * (size_t)result->engine.classes * sizeof(float);
    bench->host =
        must_allocate(bench->in_bytes > bench->out_bytes ? bench->in_bytes : bench->out_bytes);
    bench_fill(bench->host, bench->in_bytes / sizeof(float));
    options.profile = profile;
    unet_status status = unet_session_create(engine, &options, &bench->session, error);
    if (status == UNET_OK)
        status = unet_device_memory_new(bench->session, bench->in_bytes, &bench->input, error);
    if (status == UNET_OK)
        status = unet_device_memory_new(bench->session, bench->out_bytes, &bench->logits, error);
    if (status == UNET_OK)
        status = unet_device_memory_write(bench->session, bench->input, bench->host,
                                          bench->in_bytes, error);
    return status;
}

static void close_bench(struct device_bench *bench)
{
    unet_device_memory_free(bench->session, bench->input);
    unet_device_memory_free(bench->session, bench->logits);
    unet_session_close(&bench->session);
    free(bench->host);
}

static unet_status measure(const unet_engine *engine, double seconds, struct bench_result *result,
                           unet_error *error)
{
    struct device_bench bench = {.result = result};
    double ignored;
    unet_status status = open_bench(engine, false, &bench, error);
    if (status == UNET_OK)
        status = run_group(&bench, WARM_UP_RUNS, &ignored, error);
    if (status == UNET_OK)
        status = time_single_runs(&bench, seconds / 4, error);
    if (status == UNET_OK)
        status = time_groups(&bench, seconds, error);
    if (status == UNET_OK)
        status = time_copies(&bench, error);
    close_bench(&bench);
    return status;
}

/* Layers are timed apart: the clock between them keeps a run from being launched as a whole. */
static unet_status profile(const unet_engine *engine, struct bench_result *result,
                           unet_error *error)
{
    struct device_bench bench = {.result = result};
    double ignored;
    unet_status status = open_bench(engine, true, &bench, error);
    if (status == UNET_OK)
        status = run_group(&bench, 1, &ignored, error);
    unet_session_reset_profile(bench.session);
    if (status == UNET_OK)
        status = run_group(&bench, PROFILED_RUNS, &ignored, error);
    if (status == UNET_OK)
        status = unet_session_measure_peak(bench.session, error);
    if (status == UNET_OK)
        status = bench_result_collect(result, bench.session, error);
    close_bench(&bench);
    return status;
}

unet_status bench_device(const unet_engine *engine, double seconds, struct bench_result *result,
                         unet_error *error)
{
    unet_status status = measure(engine, seconds, result, error);
    return status == UNET_OK ? profile(engine, result, error) : status;
}
