/* Sessions on a device against the scalar interpreter and against the CPU. */
#include <math.h>

#include "on_device.h"

#include "base/memory.h"
#include "graph/reference.h"

#define CHANNELS 3
#define CLASSES  5

static float *expected_of(const struct graph *graph, const float *input, int batch, int height,
                          int width)
{
    unet_error error;
    size_t pixels = (size_t)height * (size_t)width;
    float *logits = memory_alloc_array((size_t)batch * CLASSES * pixels, sizeof *logits);
    for (size_t i = 0; i < (size_t)batch; i++)
        assert_ok(graph_reference_run(graph, input + i * CHANNELS * pixels, height, width,
                                      logits + i * CLASSES * pixels, &error),
                  &error);
    return logits;
}

/* Both round at the same places; where a sum lies close to a tie they may part by a last bit, which
 * later layers spread. */
static double allowed(enum graph_type type)
{
    static const double limits[GRAPH_TYPE_COUNT] = {
        [GRAPH_F32] = 1e-5, [GRAPH_F16] = 2e-3, [GRAPH_BF16] = 2e-2, [GRAPH_E4M3] = 2e-2};
    return limits[type];
}

static void run_and_compare(unet_session *session, const struct graph *graph, int batch, int height,
                            int width, double limit)
{
    unet_error error;
    size_t pixels = (size_t)height * (size_t)width, count = (size_t)batch * CLASSES * pixels;
    float *input = network_input((size_t)batch * CHANNELS * pixels, 77);
    float *expected = expected_of(graph, input, batch, height, width);
    float *logits = memory_alloc_array(count, sizeof *logits);
    memset(logits, 0xff, count * sizeof *logits);
    assert_ok(unet_session_run(session, input, batch, height, width, logits, &error), &error);
    double difference = max_difference(logits, expected, count);
    if (!(difference <= limit))
        fail_msg("%d of %dx%d: logits differ by %g", batch, width, height, difference);
    memory_free(input);
    memory_free(expected);
    memory_free(logits);
}

static void runs_every_precision(void **state)
{
    (void)state;
    static const enum graph_type types[] = {GRAPH_F32, GRAPH_F16, GRAPH_BF16, GRAPH_E4M3};
    for (int transposed = 0; transposed < 2; transposed++) {
        for (int t = 0; t < 4; t++) {
            struct graph graph = device_graph(transposed, 3, types[t]);
            unet_engine *engine = device_engine(transposed, 3, types[t]);
            unet_session *session = session_for(engine, false);
            for (int batch = 1; batch <= 5; batch += 2)
                for (int again = 0; again < 3; again++)
                    run_and_compare(session, &graph, batch, 37, 45, allowed(types[t]));
            unet_session_close(&session);
            unet_engine_close(&engine);
            graph_clear(&graph);
        }
    }
    assert_int_equal(counts_now().live_bytes, 0);
    assert_int_equal(counts_now().live_objects, 0);
}

static void tells_where_it_runs(void **state)
{
    (void)state;
    unet_error error;
    unet_engine *engine = device_engine(false, 1, GRAPH_F16);
    unet_engine_info info = {.size = sizeof info};
    unet_layer_info layer = {.size = sizeof layer};
    assert_ok(unet_engine_get_info(engine, &info, &error), &error);
    assert_string_equal(info.device, "cuda:0");
    assert_string_equal(info.device_name, "A device of the tests");
    assert_string_equal(info.built_for, "fake sm_90");
    assert_string_equal(info.precision, "fp16");
    assert_false(info.repacked);
    assert_ok(unet_engine_get_layer(engine, 2, &layer, &error), &error);
    assert_string_equal(layer.type, "fp16");
    unet_engine_close(&engine);
}

static void sizes_in_turn_are_captured_once(void **state)
{
    (void)state;
    enum { SIZES = 3, ROUNDS = 5 };
    static const int sides[SIZES][2] = {{20, 31}, {37, 45}, {8, 8}};
    struct graph graph = device_graph(false, 9, GRAPH_F32);
    unet_engine *engine = device_engine(false, 9, GRAPH_F32);
    unet_session *session = session_for(engine, false);
    unet_error error;
    assert_ok(unet_session_reserve(session, 37, 45, &error), &error); /* the largest */
    struct fake_counts before = counts_now();
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < SIZES; i++)
            run_and_compare(session, &graph, 1, sides[i][0], sides[i][1], allowed(GRAPH_F32));
    struct fake_counts after = counts_now();
    assert_int_equal(after.captures - before.captures, SIZES);
    assert_int_equal(after.replays - before.replays, (ROUNDS - 1) * SIZES);
    assert_int_equal(after.uploads - before.uploads, ROUNDS * SIZES);
    assert_int_equal(after.live_bytes, before.live_bytes);
    unet_session_close(&session);
    unet_engine_close(&engine);
    graph_clear(&graph);
}

/* More sizes than are kept: old graphs go, while results stay right. */
static void many_sizes_come_and_go(void **state)
{
    (void)state;
    struct graph graph = device_graph(true, 5, GRAPH_F16);
    unet_engine *engine = device_engine(true, 5, GRAPH_F16);
    unet_session *session = session_for(engine, false);
    for (int round = 0; round < 2; round++)
        for (int side = 4; side < 26; side++)
            for (int again = 0; again < 2; again++)
                run_and_compare(session, &graph, 1, side, 30 - side, allowed(GRAPH_F16));
    unet_session_close(&session);
    unet_engine_close(&engine);
    graph_clear(&graph);
    assert_int_equal(counts_now().live_objects, 0);
}

static void a_large_batch_runs_in_parts(void **state)
{
    (void)state;
    struct graph graph = device_graph(false, 2, GRAPH_F32);
    unet_engine *engine = device_engine(false, 2, GRAPH_F32);
    unet_session *session = session_for(engine, false);
    struct fake_counts before = counts_now();
    run_and_compare(session, &graph, 70, 6, 7, allowed(GRAPH_F32));
    assert_int_equal(counts_now().uploads - before.uploads, 3); /* 24, 23, 23 */
    unet_session_close(&session);
    unet_engine_close(&engine);
    graph_clear(&graph);
}

static void what_cannot_be_captured_runs_all_the_same(void **state)
{
    (void)state;
    struct graph graph = device_graph(false, 4, GRAPH_F32);
    unet_engine *engine = device_engine(false, 4, GRAPH_F32);
    unet_session *session = session_for(engine, false);
    setenv("UNET_FAKE_NO_CAPTURE", "1", 1);
    struct fake_counts before = counts_now();
    for (int again = 0; again < 4; again++)
        run_and_compare(session, &graph, 2, 12, 14, allowed(GRAPH_F32));
    assert_int_equal(counts_now().replays, before.replays);
    unsetenv("UNET_FAKE_NO_CAPTURE");
    unet_session_close(&session);
    unet_engine_close(&engine);
    graph_clear(&graph);
}

/* ---------------------------------------------------------------- the caller's tensors there */

struct there {
    float *input, *logits;
    size_t in_bytes, out_bytes;
};

static struct there tensors_there(unet_session *session, int batch, int height, int width,
                                  const float *input)
{
    unet_error error;
    size_t pixels = (size_t)batch * (size_t)height * (size_t)width;
    struct there there = {.in_bytes = CHANNELS * pixels * sizeof(float),
                          .out_bytes = CLASSES * pixels * sizeof(float)};
    void *memory;
    assert_ok(unet_device_memory_new(session, there.in_bytes, &memory, &error), &error);
    there.input = memory;
    assert_ok(unet_device_memory_new(session, there.out_bytes, &memory, &error), &error);
    there.logits = memory;
    assert_ok(unet_device_memory_write(session, there.input, input, there.in_bytes, &error),
              &error);
    return there;
}

static void enqueue_and_compare(unet_session *session, const struct graph *graph, int batch)
{
    enum { H = 13, W = 18 };
    unet_error error;
    float *input = network_input((size_t)(batch * CHANNELS * H * W), 5);
    float *expected = expected_of(graph, input, batch, H, W);
    struct there there = tensors_there(session, batch, H, W, input);
    float *logits = memory_alloc(there.out_bytes);
    for (int again = 0; again < 4; again++)
        assert_ok(unet_session_enqueue(session, there.input, batch, H, W, there.logits, &error),
                  &error);
    assert_ok(unet_session_wait(session, &error), &error);
    assert_ok(unet_device_memory_read(session, there.logits, logits, there.out_bytes, &error),
              &error);
    assert_true(max_difference(logits, expected, there.out_bytes / sizeof *logits) < 1e-5);
    unet_device_memory_free(session, there.input);
    unet_device_memory_free(session, there.logits);
    memory_free(input);
    memory_free(expected);
    memory_free(logits);
}

static void runs_are_enqueued(void **state)
{
    (void)state;
    struct graph graph = device_graph(false, 6, GRAPH_F32);
    unet_engine *engine = device_engine(false, 6, GRAPH_F32), *cpu = network_engine(false, 6);
    unet_session *session = session_for(engine, false), *here = session_for(cpu, false);
    struct fake_counts before = counts_now();
    enqueue_and_compare(session, &graph, 3);
    assert_int_equal(counts_now().replays - before.replays, 3);
    assert_int_equal(counts_now().uploads - before.uploads, 1);
    enqueue_and_compare(here, &graph, 2); /* the same calls on the CPU */
    unet_session_close(&session);
    unet_session_close(&here);
    unet_engine_close(&engine);
    unet_engine_close(&cpu);
    graph_clear(&graph);
    assert_int_equal(counts_now().live_bytes, 0);
}

static void wrong_calls_are_refused(void **state)
{
    (void)state;
    unet_error error;
    float values[8];
    void *memory;
    unet_engine *engine = device_engine(false, 6, GRAPH_F32);
    unet_session *session = session_for(engine, false);
    assert_error(unet_session_enqueue(session, NULL, 1, 8, 8, values, &error), UNET_ERROR_USAGE,
                 &error, "unet_session_enqueue needs");
    assert_error(unet_session_enqueue(session, values, 0, 8, 8, values, &error), UNET_ERROR_USAGE,
                 &error, "batch");
    assert_error(unet_session_enqueue(session, values, 1, 8, 8, values, &error), UNET_ERROR_USAGE,
                 &error, "overlap");
    assert_error(unet_session_run(session, values, 1, 0, 8, values + 4, &error), UNET_ERROR_USAGE,
                 &error, "height 0");
    assert_error(unet_session_wait(NULL, &error), UNET_ERROR_USAGE, &error, "needs a session");
    assert_error(unet_device_memory_new(session, 0, &memory, &error), UNET_ERROR_USAGE, &error,
                 "bytes above 0");
    assert_error(unet_device_memory_read(session, NULL, values, 4, &error), UNET_ERROR_USAGE,
                 &error, "two pointers");
    unet_device_memory_free(session, NULL);
    unet_device_memory_free(NULL, NULL);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

/* ---------------------------------------------------------------- images and masks */

static void noise_image(int width, int height, uint64_t seed, unet_image *image)
{
    unet_error error;
    assert_ok(unet_image_new(width, height, CHANNELS, 8, image, &error), &error);
    for (int i = 0; i < width * height * CHANNELS; i++)
        ((uint8_t *)image->pixels)[i] = (uint8_t)random_next(&seed);
}

static void masks_are_those_of_the_cpu(void **state)
{
    (void)state;
    unet_error error;
    unet_engine *engine = device_engine(true, 8, GRAPH_F32), *cpu = network_engine(true, 8);
    unet_session *session = session_for(engine, false), *here = session_for(cpu, false);
    unet_predict_options options = UNET_PREDICT_OPTIONS_INIT;
    for (int i = 0; i < 6; i++) {
        unet_image image;
        unet_prediction there, expected;
        options.range_set = i >= 3; /* another table of pixels */
        options.range_high = 100 + 20 * i;
        noise_image(30, 22, (uint64_t)i + 1, &image);
        assert_ok(unet_predict(session, &image, &options, &there, &error), &error);
        assert_ok(unet_predict(here, &image, &options, &expected, &error), &error);
        int differ = 0;
        for (int p = 0; p < 30 * 22; p++)
            differ += there.mask[p] != expected.mask[p];
        assert_true(differ <= 1); /* sums in another order */
        unet_prediction_clear(&there);
        unet_prediction_clear(&expected);
        unet_image_clear(&image);
    }
    unet_session_close(&session);
    unet_session_close(&here);
    unet_engine_close(&engine);
    unet_engine_close(&cpu);
}

/* ---------------------------------------------------------------- little memory */

static void set_memory(long bytes)
{
    char text[32];
    snprintf(text, sizeof text, "%ld", bytes);
    setenv("UNET_FAKE_MEMORY", text, 1);
}

static void short_memory_makes_smaller_parts(void **state)
{
    (void)state;
    struct graph graph = device_graph(false, 2, GRAPH_F32);
    unet_engine *engine = device_engine(false, 2, GRAPH_F32);
    unet_session *session = session_for(engine, false);
    run_and_compare(session, &graph, 1, 16, 16, allowed(GRAPH_F32));
    long one = counts_now().live_bytes;
    set_memory(5 * one);
    struct fake_counts before = counts_now();
    run_and_compare(session, &graph, 16, 16, 16, allowed(GRAPH_F32));
    long parts = counts_now().uploads - before.uploads;
    assert_true(parts > 1 && parts < 16);
    unsetenv("UNET_FAKE_MEMORY");
    unet_session_close(&session);
    unet_engine_close(&engine);
    graph_clear(&graph);
}

static void no_memory_is_an_error_and_no_end(void **state)
{
    (void)state;
    unet_error error;
    float input[CHANNELS * 16 * 16] = {0}, logits[CLASSES * 16 * 16];
    struct graph graph = device_graph(false, 2, GRAPH_F32);
    unet_engine *engine = device_engine(false, 2, GRAPH_F32);
    unet_session *session = session_for(engine, false);
    set_memory(counts_now().live_bytes + 1000);
    assert_error(unet_session_run(session, input, 1, 16, 16, logits, &error), UNET_ERROR_MEMORY,
                 &error, "left");
    assert_error(unet_session_reserve(session, 16, 16, &error), UNET_ERROR_MEMORY, &error,
                 "images at once: 1, of 16×16");
    unsetenv("UNET_FAKE_MEMORY");
    run_and_compare(session, &graph, 2, 16, 16, allowed(GRAPH_F32));
    unet_session_close(&session);
    unet_engine_close(&engine);
    graph_clear(&graph);
    assert_int_equal(counts_now().live_bytes, 0);
}

static void survives_lack_of_the_hosts_memory(void **state)
{
    (void)state;
    float input[CHANNELS * 8 * 8] = {0}, logits[CLASSES * 8 * 8];
    unet_engine *engine = device_engine(false, 2, GRAPH_F32);
    unet_status status = UNET_ERROR_MEMORY;
    long failures = 0;
    for (; status != UNET_OK; failures++) {
        unet_session *session = NULL;
        unet_error error;
        memory_fail_after(failures);
        status = unet_session_create(engine, NULL, &session, &error);
        if (status == UNET_OK)
            status = unet_session_run(session, input, 1, 8, 8, logits, &error);
        unet_session_close(&session);
        memory_fail_after(-1);
        assert_true(status == UNET_OK || status == UNET_ERROR_MEMORY);
    }
    assert_true(failures > 3);
    unet_engine_close(&engine);
    assert_int_equal(counts_now().live_objects, 0);
}

static void a_failing_kernel_is_named(void **state)
{
    (void)state;
    unet_error error;
    float input[CHANNELS * 8 * 8] = {0}, logits[CLASSES * 8 * 8];
    struct graph graph = device_graph(false, 2, GRAPH_F32);
    unet_engine *engine = device_engine(false, 2, GRAPH_F32);
    unet_session *session = session_for(engine, false);
    setenv("UNET_FAKE_FAILS", "upsample.reference.fake", 1);
    for (int again = 0; again < 3; again++)
        assert_error(unet_session_run(session, input, 1, 8, 8, logits, &error), UNET_ERROR_DEVICE,
                     &error, "layer up (upsample.reference.fake): it was told to fail");
    unsetenv("UNET_FAKE_FAILS");
    run_and_compare(session, &graph, 1, 8, 8, allowed(GRAPH_F32));
    unet_session_close(&session);
    unet_engine_close(&engine);
    graph_clear(&graph);
}

/* ---------------------------------------------------------------- profile */

static void layers_are_timed(void **state)
{
    (void)state;
    unet_error error;
    struct graph graph = device_graph(false, 2, GRAPH_F32);
    unet_engine *engine = device_engine(false, 2, GRAPH_F32);
    unet_session *session = session_for(engine, true);
    unet_session_info info = {.size = sizeof info};
    double flops = 0;
    run_and_compare(session, &graph, 4, 24, 24, allowed(GRAPH_F32));
    assert_ok(unet_session_get_info(session, &info, &error), &error);
    assert_true(info.activation_bytes > 0 && info.weight_bytes > 0);
    assert_int_equal(info.threads, 1);
    for (size_t i = 0; i < info.layer_count; i++) {
        unet_layer_profile layer = {.size = sizeof layer};
        assert_ok(unet_session_get_profile(session, i, &layer, &error), &error);
        assert_true(layer.milliseconds > 0);
        flops += layer.flops;
    }
    /* conv1 3·20·9 and conv3 57·9·9 + 9·5 at full size, conv2 20·37·9 at half: of one image */
    assert_true(fabs(flops - 2.0 * (576 * (540 + 4617 + 45) + 144 * 6660)) < 1);
    assert_ok(unet_session_measure_peak(session, &error), &error);
    unet_session_close(&session);
    unet_engine_close(&engine);
    graph_clear(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_every_precision),
        cmocka_unit_test(tells_where_it_runs),
        cmocka_unit_test(sizes_in_turn_are_captured_once),
        cmocka_unit_test(many_sizes_come_and_go),
        cmocka_unit_test(a_large_batch_runs_in_parts),
        cmocka_unit_test(what_cannot_be_captured_runs_all_the_same),
        cmocka_unit_test(runs_are_enqueued),
        cmocka_unit_test(wrong_calls_are_refused),
        cmocka_unit_test(masks_are_those_of_the_cpu),
        cmocka_unit_test(short_memory_makes_smaller_parts),
        cmocka_unit_test(no_memory_is_an_error_and_no_end),
        cmocka_unit_test(survives_lack_of_the_hosts_memory),
        cmocka_unit_test(a_failing_kernel_is_named),
        cmocka_unit_test(layers_are_timed),
    };
    use_fake_device();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
