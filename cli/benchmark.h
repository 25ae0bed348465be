/* What bench found out, and how it is printed. */
#ifndef UNET_CLI_BENCHMARK_H
#define UNET_CLI_BENCHMARK_H

#include <unet.h>

enum bench_format { BENCH_TABLE, BENCH_JSON, BENCH_CSV };

struct bench_result {
    const char *path;
    unet_engine_info engine;
    unet_machine_info machine;
    unet_session_info session;
    int width, height, batch, runs;
    double min_ms, median_ms, p90_ms, p99_ms;
    uint64_t peak_bytes; /* the largest resident size that this process had */
    unet_layer_profile *layers;
    size_t layer_count;
    double flops; /* of one image */

    /* Of a device alone: */
    int enqueued; /* runs of which each time above is the mean; 0: on the CPU */
    double latency_ms, upload_ms, download_ms; /* medians: of a run alone, and of the copies */
};

/* From so many times in milliseconds, at least one, which are sorted. */
void bench_result_set_times(struct bench_result *result, double *times, int count);
double bench_median(double *times, int count);
/* Noise, not zeros: a processor may take less time, or less power, for zeros. */
void bench_fill(float *values, size_t count);

/* Times an engine that runs on a device: bench_device.c. */
unet_status bench_device(const unet_engine *engine, double seconds, struct bench_result *result,
                         unet_error *error);

/* Adds what session, machine and system know after the runs. */
unet_status bench_result_collect(struct bench_result *result, const unet_session *session,
                                 unet_error *error);
void bench_result_clear(struct bench_result *result);

void bench_print_table(const struct bench_result *result, bool layers);
void bench_print_json(const struct bench_result *result);
void bench_print_csv(const struct bench_result *result, bool layers);

#endif
