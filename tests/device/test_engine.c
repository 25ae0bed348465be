/* Engines that come to a machine they were not built for: from the CPU to a device and back, and
 * builds for a device. */
#include "building.h"

#include "base/file.h"
#include "base/memory.h"

#define CHANNELS 3
#define CLASSES  5

static float *logits_of(const unet_engine *engine, int height, int width)
{
    unet_error error;
    size_t pixels = (size_t)height * (size_t)width;
    float *input = network_input(CHANNELS * pixels, 31);
    float *logits = memory_alloc_array(CLASSES * pixels, sizeof *logits);
    unet_session *session = session_for(engine, false);
    assert_ok(unet_session_run(session, input, 1, height, width, logits, &error), &error);
    unet_session_close(&session);
    memory_free(input);
    return logits;
}

static void assert_same_logits(const unet_engine *a, const unet_engine *b, double limit)
{
    float *one = logits_of(a, 22, 29), *other = logits_of(b, 22, 29);
    double difference = max_difference(one, other, CLASSES * 22 * 29);
    if (!(difference <= limit))
        fail_msg("logits differ by %g", difference);
    memory_free(one);
    memory_free(other);
}

static void an_engine_returns_to_its_device(void **state)
{
    (void)state;
    static const char *const devices[] = {NULL, "cuda", "cuda:0", "auto"};
    struct notices notices;
    unet_engine *built = device_engine(true, 4, GRAPH_F16), *narrow;
    narrow = device_engine(true, 4, GRAPH_E4M3);
    for (int i = 0; i < 8; i++) {
        unet_engine *from = i < 4 ? built : narrow;
        unet_engine *opened = reopened(from, devices[i % 4], &notices);
        assert_string_equal(notices.text, "");
        assert_string_equal(info_of(opened).precision, i < 4 ? "fp16" : "fp8");
        assert_string_equal(info_of(opened).device, "cuda:0");
        assert_false(info_of(opened).repacked);
        assert_same_logits(from, opened, 0);
        unet_engine_close(&opened);
    }
    unet_engine_close(&built);
    unet_engine_close(&narrow);
    assert_int_equal(counts_now().live_bytes, 0);
}

static void from_the_cpu_to_a_device(void **state)
{
    (void)state;
    struct notices notices;
    for (int transposed = 0; transposed < 2; transposed++) {
        unet_engine *built = network_engine(transposed, 4); /* with an up-sampling that is fused */
        unet_engine *opened = reopened(built, "cuda", &notices);
        assert_string_equal(info_of(opened).device, "cuda:0");
        assert_true(info_of(opened).repacked);
        assert_same_logits(built, opened, 1e-5);
        unet_engine_close(&opened);
        opened = reopened(built, NULL, &notices);
        assert_string_equal(info_of(opened).device, "cpu");
        assert_string_equal(notices.text, "");
        unet_engine_close(&opened);
        unet_engine_close(&built);
    }
}

static void from_a_device_to_the_cpu(void **state)
{
    (void)state;
    struct notices notices;
    unet_engine *wide = device_engine(false, 4, GRAPH_F32);
    unet_engine *built = device_engine(false, 4, GRAPH_F16), *opened;
    opened = reopened(built, "cpu", &notices);
    assert_non_null(strstr(notices.text, "layers in fp16"));
    assert_string_equal(info_of(opened).precision, "fp32");
    assert_string_equal(info_of(opened).built_precision, "fp16");
    assert_string_equal(info_of(opened).device, "cpu");
    assert_same_logits(wide, opened, 1e-5);
    unet_engine_close(&opened);
    opened = reopened(wide, "cpu", &notices);
    assert_same_logits(wide, opened, 1e-5);
    unet_engine_close(&opened);
    unet_engine_close(&wide);
    unet_engine_close(&built);
}

/* To bf16 where that is fast, as an engine of bf16 runs, else to float32. */
static void e4m3_is_widened(void **state)
{
    (void)state;
    char text[160];
    struct notices notices;
    struct kernel_target cpu = target_cpu(cpu_tier_detected());
    bool fast = target_type_refusal(&cpu, KERNEL_BF16, false, text, sizeof text) == NULL;
    unet_engine *built = device_engine(true, 4, GRAPH_E4M3), *wide, *opened;
    wide = device_engine(true, 4, GRAPH_BF16);
    opened = reopened(built, "cpu", &notices);
    assert_non_null(strstr(notices.text, "layers in fp8, which runs on a GPU alone; they run in"));
    assert_string_equal(info_of(opened).precision, fast ? "bf16" : "fp32");
    assert_string_equal(info_of(opened).built_precision, "fp8");
    assert_true(info_of(opened).repacked);
    assert_same_logits(wide, opened, 2e-2);
    unet_engine_close(&opened);
    setenv("UNET_FAKE_NO_FP8", "1", 1);
    opened = reopened(built, "cuda", &notices);
    assert_non_null(strstr(notices.text, "layers in fp8, which has no kernels here; they run in "
                                         "bf16"));
    assert_string_equal(info_of(opened).precision, "bf16");
    assert_string_equal(info_of(opened).device, "cuda:0");
    assert_same_logits(wide, opened, 0);
    unsetenv("UNET_FAKE_NO_FP8");
    unet_engine_close(&opened);
    unet_engine_close(&wide);
    unet_engine_close(&built);
}

static void where_there_is_no_device(void **state)
{
    (void)state;
    unet_error error;
    struct notices notices;
    unet_engine *built = device_engine(false, 4, GRAPH_F16), *opened = NULL;
    unet_engine_options options = UNET_ENGINE_OPTIONS_INIT;
    setenv("UNET_FAKE_DEVICES", "0", 1);
    opened = reopened(built, NULL, &notices);
    assert_non_null(strstr(notices.text, "runs on the CPU: there is no GPU"));
    assert_string_equal(info_of(opened).device, "cpu");
    unet_engine_close(&opened);
    opened = reopened(built, "auto", &notices);
    assert_null(strstr(notices.text, "no GPU"));
    unet_engine_close(&opened);
    options.device = "cuda";
    assert_error(unet_engine_open(temporary_path("moved.engine"), &options, &opened, &error),
                 UNET_ERROR_DEVICE, &error, "there is no GPU");
    options.device = "tpu";
    assert_error(unet_engine_open(temporary_path("moved.engine"), &options, &opened, &error),
                 UNET_ERROR_USAGE, &error, "device 'tpu' is unknown");
    unsetenv("UNET_FAKE_DEVICES");
    unet_engine_close(&built);
}

static void opening_survives_lack_of_memory(void **state)
{
    (void)state;
    unet_engine *built = device_engine(true, 4, GRAPH_F16);
    const char *path = temporary_path("short.engine");
    unet_status status = UNET_ERROR_MEMORY;
    unet_error error;
    long failures = 0;
    assert_ok(unet_engine_save(built, path, &error), &error);
    unet_engine_close(&built);
    for (; status != UNET_OK; failures++) {
        unet_engine *opened = NULL;
        memory_fail_after(failures);
        status = unet_engine_open(path, NULL, &opened, &error);
        memory_fail_after(-1);
        assert_true(status == UNET_OK || status == UNET_ERROR_MEMORY);
        unet_engine_close(&opened);
        assert_int_equal(counts_now().live_objects, 0);
    }
    setenv("UNET_FAKE_MEMORY", "1000", 1);
    unet_engine *opened = NULL;
    assert_error(unet_engine_open(path, NULL, &opened, &error), UNET_ERROR_MEMORY, &error, "left");
    unsetenv("UNET_FAKE_MEMORY");
    assert_int_equal(counts_now().live_objects, 0);
}

/* ---------------------------------------------------------------- builds */

static const char *kernel_of(const unet_engine *engine, size_t index)
{
    unet_error error;
    unet_layer_info layer = {.size = sizeof layer};
    assert_ok(unet_engine_get_layer(engine, index, &layer, &error), &error);
    return layer.kernel;
}

/* Of what looks how far the values of an fp16 network reach, and nothing else. */
static long guard_launches(unet_build_options options)
{
    struct fake_counts before = counts_now();
    options.timing = UNET_TIMING_OFF;
    options.timing_cache = NULL;
    unet_engine *engine = build(&options);
    unet_engine_close(&engine);
    return counts_now().launches - before.launches;
}

static void builds_are_timed(void **state)
{
    (void)state;
    unet_build_options options = options_for("cuda", UNET_PRECISION_FP16);
    unet_engine *engine = build(&options);
    assert_string_equal(kernel_of(engine, 3), "conv.slow.fake"); /* by preference */
    unet_engine_close(&engine);
    options.timing = UNET_TIMING_ON;
    options.timing_cache = temporary_path("device.times");
    options.batch = 2;
    engine = build(&options);
    assert_string_equal(kernel_of(engine, 3), "conv.reference.fake");
    assert_string_equal(info_of(engine).precision, "fp16");
    unet_engine_close(&engine);
    struct fake_counts before = counts_now();
    engine = build(&options); /* everything is known */
    long launches = counts_now().launches - before.launches;
    assert_int_equal(launches, guard_launches(options));
    assert_string_equal(kernel_of(engine, 3), "conv.reference.fake");
    unet_engine_close(&engine);
    assert_int_equal(counts_now().live_objects, 0);
}

static void the_timing_cache_names_the_device(void **state)
{
    (void)state;
    unet_error error;
    struct file_map map;
    assert_ok(
        file_map_read(temporary_path("device.times"), 1 << 20, UNET_ERROR_MODEL, &map, &error),
        &error);
    char *text = memory_calloc(map.size + 1, 1);
    memcpy(text, map.bytes, map.size);
    assert_non_null(strstr(text, "A device of the tests\tfake sm_90 driver 1.0 runtime 1.1 none 0\t"
                                 "0\t"));
    assert_non_null(strstr(text, " f16 to f16 "));
    assert_non_null(strstr(text, " images 2\tconv.slow.fake\t"));
    memory_free(text);
    file_map_close(&map);
}

static void a_kernel_that_fails_is_not_chosen(void **state)
{
    (void)state;
    unet_build_options options = options_for("cuda:0", UNET_PRECISION_BF16);
    options.timing = UNET_TIMING_ON;
    setenv("UNET_FAKE_FAILS", "conv.reference.fake", 1);
    unet_engine *engine = build(&options);
    assert_string_equal(kernel_of(engine, 3), "conv.slow.fake");
    unet_engine_close(&engine);
    setenv("UNET_FAKE_FAILS", "max_pool.reference.fake", 1); /* fused everywhere: nobody asks */
    engine = build(&options);
    unet_engine_close(&engine);
    setenv("UNET_FAKE_FAILS", "conv_transpose.reference.fake", 1); /* the only one is not timed */
    engine = build(&options);
    unet_engine_close(&engine);
    unsetenv("UNET_FAKE_FAILS");
    assert_int_equal(counts_now().live_objects, 0);
}

static void precisions_that_are_not_there(void **state)
{
    (void)state;
    unet_build_options options = options_for("cpu", UNET_PRECISION_FP16);
    refuse_build(&options, UNET_ERROR_DEVICE, "precision fp16 runs on a GPU alone; use fp32");
    options = options_for(NULL, UNET_PRECISION_TF32);
    refuse_build(&options, UNET_ERROR_DEVICE, "precision tf32 runs on a GPU alone");
    options = options_for("cuda", UNET_PRECISION_INT8);
    options.calibration_images = (const char *const[]){"nowhere.png"};
    options.calibration_count = 1;
    setenv("UNET_FAKE_NO_BYTES", "1", 1);
    refuse_build(&options, UNET_ERROR_DEVICE, "cuda:0 runs fp32, tf32, fp16, bf16 and fp8");
    unsetenv("UNET_FAKE_NO_BYTES");
    options.precision = UNET_PRECISION_FP8;
    setenv("UNET_FAKE_NO_FP8", "1", 1);
    refuse_build(&options, UNET_ERROR_DEVICE, "cuda:0 runs fp32, tf32, fp16, bf16 and int8");
    unsetenv("UNET_FAKE_NO_FP8");
    options.device = "cpu";
    refuse_build(&options, UNET_ERROR_DEVICE, "precision fp8 runs on a GPU alone; use fp32");
    options = options_for("cuda", UNET_PRECISION_FP8);
    refuse_build(&options, UNET_ERROR_USAGE, "precision fp8 needs images to calibrate with");
    options = options_for("cuda:4", UNET_PRECISION_FP16);
    refuse_build(&options, UNET_ERROR_DEVICE, "the only one is");
    options = options_for("vulkan", UNET_PRECISION_FP32);
    refuse_build(&options, UNET_ERROR_USAGE, "device 'vulkan' is unknown");
    options = options_for("cuda", UNET_PRECISION_FP32);
    options.batch = 1000;
    refuse_build(&options, UNET_ERROR_USAGE, "batch 1000");
}

static void tf32_is_kept(void **state)
{
    (void)state;
    struct notices notices;
    unet_build_options options = options_for("auto", UNET_PRECISION_TF32);
    unet_engine *engine = build(&options), *opened;
    assert_string_equal(info_of(engine).precision, "tf32");
    assert_string_equal(info_of(engine).device, "cuda:0");
    opened = reopened(engine, "cpu", &notices);
    assert_non_null(strstr(notices.text, "tf32"));
    assert_string_equal(info_of(opened).precision, "fp32");
    assert_string_equal(info_of(opened).built_precision, "tf32");
    unet_engine_close(&opened);
    unet_engine_close(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_engine_returns_to_its_device),
        cmocka_unit_test(from_the_cpu_to_a_device),
        cmocka_unit_test(from_a_device_to_the_cpu),
        cmocka_unit_test(e4m3_is_widened),
        cmocka_unit_test(where_there_is_no_device),
        cmocka_unit_test(opening_survives_lack_of_memory),
        cmocka_unit_test(builds_are_timed),
        cmocka_unit_test(the_timing_cache_names_the_device),
        cmocka_unit_test(a_kernel_that_fails_is_not_chosen),
        cmocka_unit_test(precisions_that_are_not_there),
        cmocka_unit_test(tf32_is_kept),
    };
    use_fake_device();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
