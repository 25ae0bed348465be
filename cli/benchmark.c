#include "benchmark.h"

#include "json.h"
#include "message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* ---------------------------------------------------------------- numbers */

void bench_fill(float *values, size_t count)
{
    uint32_t state = 2463534242u;
    for (size_t i = 0; i < count; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        values[i] = (float)(state >> 8) / 16777216.0f;
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The value that a share of the sorted runs does not exceed (nearest rank). */
static double percentile(const double *sorted, int count, double share)
{
    int rank = (int)(share * count + 0.999999);
    return sorted[(rank > 0 ? rank : 1) - 1];
}

double bench_median(double *times, int count)
{
    qsort(times, (size_t)count, sizeof *times, by_value);
    return (times[(count - 1) / 2] + times[count / 2]) / 2;
}

void bench_result_set_times(struct bench_result *result, double *times, int count)
{
    result->median_ms = bench_median(times, count);
    result->runs = count;
    result->min_ms = times[0];
    result->p90_ms = percentile(times, count, 0.90);
    result->p99_ms = percentile(times, count, 0.99);
}

/* ---------------------------------------------------------------- collecting */

/* VmHWM begins anew with each program; getrusage's peak may be the parent's of before exec. */
static uint64_t peak_resident_bytes(void)
{
    char line[256];
    unsigned long long kibibytes = 0;
    FILE *status = fopen("/proc/self/status", "r");
    if (status != NULL) {
        while (fgets(line, sizeof line, status) != NULL)
            if (sscanf(line, "VmHWM: %llu kB", &kibibytes) == 1)
                break;
        fclose(status);
    }
    struct rusage usage;
    if (kibibytes == 0 && getrusage(RUSAGE_SELF, &usage) == 0)
        kibibytes = (unsigned long long)usage.ru_maxrss;
    return (uint64_t)kibibytes * 1024;
}

unet_status bench_result_collect(struct bench_result *result, const unet_session *session,
                                 unet_error *error)
{
    result->session.size = sizeof result->session;
    result->machine.size = sizeof result->machine;
    result->peak_bytes = peak_resident_bytes();
    unet_status status = unet_session_get_info(session, &result->session, error);
    if (status == UNET_OK)
        status = unet_machine_get_info(&result->machine, error);
    if (status != UNET_OK)
        return status;
    result->layer_count = result->session.layer_count;
    result->layers = must_allocate(result->layer_count * sizeof *result->layers);
    for (size_t i = 0; i < result->layer_count && status == UNET_OK; i++) {
        result->layers[i].size = sizeof result->layers[i];
        status = unet_session_get_profile(session, i, &result->layers[i], error);
        result->flops += result->layers[i].flops;
    }
    return status;
}

void bench_result_clear(struct bench_result *result)
{
    free(result->layers);
    result->layers = NULL;
    result->layer_count = 0;
}

/* In 10⁹ operations a second; 0 where no time was taken. */
static double rate(double flops, double milliseconds)
{
    return milliseconds > 0 ? flops / milliseconds / 1e6 : 0;
}

static double whole_rate(const struct bench_result *result)
{
    return rate(result->flops * result->batch, result->median_ms);
}

static double layers_ms(const struct bench_result *result)
{
    double sum = 0;
    for (size_t i = 0; i < result->layer_count; i++)
        sum += result->layers[i].milliseconds;
    return sum;
}

/* ---------------------------------------------------------------- table */

static int longest(const struct bench_result *result, bool kernels)
{
    size_t most = 6;
    for (size_t i = 0; i < result->layer_count; i++) {
        const unet_layer_profile *layer = &result->layers[i];
        size_t length = strlen(kernels ? layer->kernel : layer->name);
        most = length > most ? length : most;
    }
    return (int)most;
}

static void print_layers(const struct bench_result *result)
{
    int names = longest(result, false), kernels = longest(result, true);
    double total = layers_ms(result);
    printf("\n%-*s  %-*s %9s %7s %9s %8s\n", names, "layer", kernels, "kernel", "ms", "share",
           "GFLOP/s", "of peak");
    for (size_t i = 0; i < result->layer_count; i++) {
        const unet_layer_profile *layer = &result->layers[i];
        double share = total > 0 ? 100 * layer->milliseconds / total : 0;
        double gflops = rate(layer->flops, layer->milliseconds);
        char speed[32] = "-", of_peak[32] = "-"; /* moving numbers about is no arithmetic */
        if (layer->flops > 0)
            snprintf(speed, sizeof speed, "%.1f", gflops);
        if (layer->flops > 0 && layer->peak > 0)
            snprintf(of_peak, sizeof of_peak, "%.0f%%", 1e11 * gflops / layer->peak);
        printf("%-*s  %-*s %9.3f %6.1f%% %9s %8s\n", names, layer->name, kernels, layer->kernel,
               layer->milliseconds, share, speed, of_peak);
    }
    printf("%-*s  %-*s %9.3f\n", names, "all", kernels, "", total);
}

static void print_device(const struct bench_result *result)
{
    printf("device   %s, %s\n", result->engine.device, result->engine.device_name);
    printf(
        "time     min %.3f  median %.3f  p90 %.3f  p99 %.3f ms in %d runs, %d enqueued at once\n",
        result->min_ms, result->median_ms, result->p90_ms, result->p99_ms, result->runs,
        result->enqueued);
    printf("alone    %.3f ms from its start to its end; upload %.3f ms, download %.3f ms\n",
           result->latency_ms, result->upload_ms, result->download_ms);
}

void bench_print_table(const struct bench_result *result, bool layers)
{
    printf("network  %s: %s, %s\n", result->path, result->engine.architecture,
           result->engine.precision);
    printf("input    %dx%d, batch %d\n", result->width, result->height, result->batch);
    if (result->enqueued > 0) {
        print_device(result);
    } else {
        printf("machine  %s, %s, %d thread%s\n", result->machine.cpu, result->machine.tier,
               result->session.threads, result->session.threads == 1 ? "" : "s");
        printf("time     min %.2f  median %.2f  p90 %.2f  p99 %.2f ms in %d runs\n", result->min_ms,
               result->median_ms, result->p90_ms, result->p99_ms, result->runs);
    }
    printf("rate     %.1f GFLOP/s (%.2f GFLOP an image), %.2f images/s\n", whole_rate(result),
           result->flops / 1e9, 1e3 * result->batch / result->median_ms);
    printf("memory   %s at most in the process; activations %s, packed weights %s\n",
           text_of_bytes(result->peak_bytes), text_of_bytes(result->session.activation_bytes),
           text_of_bytes(result->session.weight_bytes));
    if (layers)
        print_layers(result);
}

/* ---------------------------------------------------------------- JSON */

static json_t *machine_json(const unet_machine_info *machine)
{
    json_t *object = json_object();
    json_put_text(object, "cpu", machine->cpu);
    json_put_text(object, "tier", machine->tier);
    json_put_integer(object, "hardware_threads", machine->hardware_threads);
    json_put_integer(object, "usable_threads", machine->usable_threads);
    return object;
}

static json_t *layer_json(const unet_layer_profile *layer)
{
    json_t *object = json_object();
    json_put_text(object, "name", layer->name);
    json_put_text(object, "kernel", layer->kernel);
    json_put_number(object, "ms", layer->milliseconds);
    json_put_number(object, "gflop", layer->flops / 1e9);
    json_put_number(object, "gflops", rate(layer->flops, layer->milliseconds));
    json_put_number(object, "peak_gflops", layer->peak / 1e9);
    json_put_integer(object, "bytes", (int64_t)layer->bytes);
    return object;
}

static void put_times(json_t *object, const struct bench_result *result)
{
    json_put_number(object, "min_ms", result->min_ms);
    json_put_number(object, "median_ms", result->median_ms);
    json_put_number(object, "p90_ms", result->p90_ms);
    json_put_number(object, "p99_ms", result->p99_ms);
    json_put_integer(object, "runs", result->runs);
    if (result->enqueued > 0) {
        json_put_integer(object, "enqueued", result->enqueued);
        json_put_number(object, "latency_ms", result->latency_ms);
        json_put_number(object, "upload_ms", result->upload_ms);
        json_put_number(object, "download_ms", result->download_ms);
    }
    json_put_number(object, "gflop", result->flops / 1e9);
    json_put_number(object, "gflops", whole_rate(result));
}

void bench_print_json(const struct bench_result *result)
{
    json_t *object = json_object(), *layers = json_array();
    json_put_text(object, "version", unet_version());
    json_put_text(object, "network", result->path);
    json_put_text(object, "architecture", result->engine.architecture);
    json_put_text(object, "precision", result->engine.precision);
    json_put_integer(object, "width", result->width);
    json_put_integer(object, "height", result->height);
    json_put_integer(object, "batch", result->batch);
    put_times(object, result);
    json_put_integer(object, "peak_bytes", (int64_t)result->peak_bytes);
    json_put_integer(object, "activation_bytes", (int64_t)result->session.activation_bytes);
    json_put_integer(object, "weight_bytes", (int64_t)result->session.weight_bytes);
    json_put_integer(object, "threads", result->session.threads);
    json_put_text(object, "device", result->engine.device);
    json_put_text(object, "device_name", result->engine.device_name);
    json_put(object, "machine", machine_json(&result->machine));
    for (size_t i = 0; i < result->layer_count; i++)
        json_array_append_new(layers, layer_json(&result->layers[i]));
    json_put(object, "layers", layers);
    json_print(object);
}

/* ---------------------------------------------------------------- CSV */

/* In quotes, so that a comma in a file's name stays in its cell. */
static void print_cell(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"')
            putchar('"');
        putchar(*text);
    }
    putchar('"');
}

static void print_layers_csv(const struct bench_result *result)
{
    printf("layer,kernel,ms,gflop,gflops,peak_gflops\n");
    for (size_t i = 0; i < result->layer_count; i++) {
        const unet_layer_profile *layer = &result->layers[i];
        print_cell(layer->name);
        printf(",%s,%.4f,%.6f,%.3f,%.3f\n", layer->kernel, layer->milliseconds, layer->flops / 1e9,
               rate(layer->flops, layer->milliseconds), layer->peak / 1e9);
    }
}

/* With `layers` a row a layer, else one for the whole: one header a file. */
void bench_print_csv(const struct bench_result *result, bool layers)
{
    if (layers) {
        print_layers_csv(result);
        return;
    }
    printf("network,architecture,precision,width,height,batch,threads,cpu,tier,min_ms,median_ms,"
           "p90_ms,p99_ms,runs,gflops,peak_bytes,device\n");
    print_cell(result->path);
    printf(",%s,%s,%d,%d,%d,%d,", result->engine.architecture, result->engine.precision,
           result->width, result->height, result->batch, result->session.threads);
    print_cell(result->machine.cpu);
    printf(",%s,%.4f,%.4f,%.4f,%.4f,%d,%.3f,%llu,%s\n", result->machine.tier, result->min_ms,
           result->median_ms, result->p90_ms, result->p99_ms, result->runs, whole_rate(result),
           (unsigned long long)result->peak_bytes, result->engine.device);
}
