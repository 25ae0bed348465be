/* The engine in memory and as a file: the same bytes, the same numbers, on every tier. */
#include "unit/engine/network.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "graph/reference.h"

#define HEIGHT 22
#define WIDTH  27

struct notes {
    int notices;
    char text[4096];
};

static void note(void *user, int level, const char *line)
{
    struct notes *notes = user;
    if (level != LOG_NOTICE)
        return;
    notes->notices++;
    snprintf(notes->text, sizeof notes->text, "%s", line);
}

static unet_engine *opened(const char *path, struct notes *notes)
{
    unet_error error;
    unet_engine *engine = NULL;
    unet_engine_options options = UNET_ENGINE_OPTIONS_INIT;
    options.log = note;
    options.log_user = notes;
    assert_ok(unet_engine_open(path, &options, &engine, &error), &error);
    return engine;
}

static float *outputs_of(const unet_engine *engine)
{
    unet_error error;
    unet_session *session = NULL;
    unet_session_options options = UNET_SESSION_OPTIONS_INIT;
    options.threads = 1;
    float *input = network_input(3 * HEIGHT * WIDTH, 11);
    float *logits = memory_alloc_array(5 * HEIGHT * WIDTH, sizeof *logits);
    assert_ok(unet_session_create(engine, &options, &session, &error), &error);
    assert_ok(unet_session_run(session, input, 1, HEIGHT, WIDTH, logits, &error), &error);
    unet_session_close(&session);
    memory_free(input);
    return logits;
}

static void assert_near_reference(const float *logits, bool transposed, uint64_t seed)
{
    unet_error error;
    struct graph graph;
    float *expected = memory_alloc_array(5 * HEIGHT * WIDTH, sizeof *expected);
    float *input = network_input(3 * HEIGHT * WIDTH, 11);
    network_hourglass(&graph, transposed, seed);
    assert_ok(graph_reference_run(&graph, input, HEIGHT, WIDTH, expected, &error), &error);
    assert_true(max_difference(logits, expected, 5 * HEIGHT * WIDTH) < 1e-5);
    graph_clear(&graph);
    memory_free(expected);
    memory_free(input);
}

static void for_each_tier(void (*check)(enum cpu_tier tier))
{
    for (int tier = 0; tier <= (int)cpu_tier_detected(); tier++) {
        setenv("UNET_CPU", cpu_tier_name((enum cpu_tier)tier), 1);
        check((enum cpu_tier)tier);
    }
    unsetenv("UNET_CPU");
}

static void check_round_trip(enum cpu_tier tier)
{
    unet_error error;
    struct notes notes = {0};
    for (int transposed = 0; transposed < 2; transposed++) {
        const char *path = temporary_path("round.engine");
        unet_engine *built = network_engine(transposed, 21);
        assert_ok(unet_engine_save(built, path, &error), &error);
        assert_true(unet_is_engine_file(path));
        unet_engine *loaded = opened(path, &notes);
        assert_int_equal(loaded->file.size, built->file.size);
        assert_memory_equal(loaded->file.bytes, built->file.bytes, built->file.size);
        assert_int_equal(notes.notices, 0);
        assert_false(loaded->repacked);
        assert_string_equal(loaded->built_for, cpu_tier_name(tier));
        assert_ok(unet_engine_verify(loaded, &error), &error);
        float *first = outputs_of(built), *second = outputs_of(loaded);
        assert_memory_equal(first, second, 5 * HEIGHT * WIDTH * sizeof *first);
        assert_near_reference(first, transposed, 21);
        memory_free(first);
        memory_free(second);
        unet_engine_close(&built);
        unet_engine_close(&loaded);
        assert_null(loaded);
    }
}

static void a_loaded_engine_is_the_built_one(void **state)
{
    (void)state;
    for_each_tier(check_round_trip);
}

static void equal_networks_give_equal_bytes(void **state)
{
    (void)state;
    unet_engine *a = network_engine(false, 5), *b = network_engine(false, 5);
    unet_engine *other = network_engine(false, 6);
    assert_int_equal(a->file.size, b->file.size);
    assert_memory_equal(a->file.bytes, b->file.bytes, a->file.size);
    assert_memory_not_equal(a->file.bytes, other->file.bytes, a->file.size);
    unet_engine_close(&a);
    unet_engine_close(&b);
    unet_engine_close(&other);
}

/* ---------------------------------------------------------------- other machines */

static const char *saved_engine(const char *tier, const char *name)
{
    unet_error error;
    const char *path = temporary_path(name);
    setenv("UNET_CPU", tier, 1);
    unet_engine *engine = network_engine(false, 31);
    assert_ok(unet_engine_save(engine, path, &error), &error);
    unet_engine_close(&engine);
    unsetenv("UNET_CPU");
    return path;
}

/* Built for `from`, opened at `to`: the weights must be those that a build for `to` would have. */
static void check_moved(const char *from, const char *to)
{
    struct notes notes = {0};
    char part[64];
    const char *path = saved_engine(from, "moved.engine");
    setenv("UNET_CPU", to, 1);
    unet_engine *moved = opened(path, &notes);
    unet_engine *native = network_engine(false, 31);
    bool differ = strcmp(from, to) != 0;
    assert_int_equal(moved->repacked, differ);
    assert_int_equal(notes.notices, differ);
    snprintf(part, sizeof part, "packed for %s, were packed anew for %s", from, to);
    if (differ)
        assert_non_null(strstr(notes.text, part));
    assert_int_equal(moved->plan.packed_bytes, native->plan.packed_bytes);
    assert_memory_equal(moved->packed, native->packed, native->plan.packed_bytes);
    assert_string_equal(moved->built_for, from);
    float *first = outputs_of(moved), *second = outputs_of(native);
    assert_memory_equal(first, second, 5 * HEIGHT * WIDTH * sizeof *first);
    memory_free(first);
    memory_free(second);
    unet_engine_close(&moved);
    unet_engine_close(&native);
    unsetenv("UNET_CPU");
}

static void engines_move_between_machines(void **state)
{
    (void)state;
    for (int from = 0; from <= (int)cpu_tier_detected(); from++)
        for (int to = 0; to <= (int)cpu_tier_detected(); to++)
            check_moved(cpu_tier_name((enum cpu_tier)from), cpu_tier_name((enum cpu_tier)to));
}

static void a_wrong_tier_is_a_usage_error(void **state)
{
    (void)state;
    unet_error error;
    unet_engine *engine = NULL;
    const char *path = saved_engine("c", "usage.engine");
    setenv("UNET_CPU", "fastest", 1);
    assert_error(unet_engine_open(path, NULL, &engine, &error), UNET_ERROR_USAGE, &error,
                 "fastest");
    unsetenv("UNET_CPU");
    assert_null(engine);
}

/* A pipe's bytes lie wherever they were read to. */
static void an_engine_may_come_through_a_pipe(void **state)
{
    (void)state;
    unet_error error;
    char command[9000], pipe_path[4096];
    unet_engine *engine = NULL;
    const char *path = saved_engine(cpu_tier_name(cpu_tier_detected()), "piped.engine");
    snprintf(pipe_path, sizeof pipe_path, "%s", temporary_path("pipe"));
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_false(unet_is_engine_file(pipe_path)); /* and it does not wait for a writer */
    snprintf(command, sizeof command, "cat '%s' > '%s' &", path, pipe_path);
    assert_int_equal(system(command), 0);
    assert_ok(unet_engine_open(pipe_path, NULL, &engine, &error), &error);
    assert_int_equal((uintptr_t)engine->packed % MEMORY_ALIGNMENT, 0);
    assert_false(engine->repacked);
    float *logits = outputs_of(engine);
    assert_near_reference(logits, false, 31);
    memory_free(logits);
    unet_engine_close(&engine);
}

/* ---------------------------------------------------------------- bf16 */

static bool machine_has_bf16(void)
{
    return (cpu_features() & CPU_AVX512_BF16) != 0;
}

static float largest_difference_in_bf16(const float *logits, const float *others)
{
    return (float)max_difference(logits, others, 5 * HEIGHT * WIDTH);
}

static void a_bf16_engine_makes_the_round_trip(void **state)
{
    (void)state;
    unet_error error;
    struct notes notes = {0};
    unet_engine_info info = {.size = sizeof info};
    if (!machine_has_bf16()) {
        print_message("not on this machine: it has no AVX512_BF16\n");
        skip();
    }
    const char *path = temporary_path("bf16.engine");
    unet_engine *built = network_engine_of(true, 21, GRAPH_BF16), *plain = network_engine(true, 21);
    assert_ok(unet_engine_save(built, path, &error), &error);
    unet_engine *loaded = opened(path, &notes);
    assert_int_equal(notes.notices, 0);
    assert_false(loaded->repacked);
    assert_ok(unet_engine_verify(loaded, &error), &error);
    assert_ok(unet_engine_get_info(loaded, &info, &error), &error);
    assert_string_equal(info.precision, "bf16");
    assert_string_equal(info.built_precision, "bf16");
    float *first = outputs_of(built), *second = outputs_of(loaded), *fp32 = outputs_of(plain);
    assert_memory_equal(first, second, 5 * HEIGHT * WIDTH * sizeof *first);
    assert_true(largest_difference_in_bf16(first, fp32) > 1e-5f); /* it really is another one */
    assert_true(largest_difference_in_bf16(first, fp32) < 0.02f);
    memory_free(first);
    memory_free(second);
    memory_free(fp32);
    unet_engine_close(&built);
    unet_engine_close(&plain);
    unet_engine_close(&loaded);
}

/* Where no kernel multiplies bf16 faster it is the fp32 engine, to the bit, and says so. */
static void a_bf16_engine_runs_anywhere(void **state)
{
    (void)state;
    unet_error error;
    unet_engine_info info = {.size = sizeof info};
    for (int tier = 0; tier <= (int)cpu_tier_detected(); tier++) {
        struct notes notes = {0};
        const char *path = temporary_path("anywhere.engine");
        unet_engine *built = network_engine_of(false, 31, GRAPH_BF16);
        assert_ok(unet_engine_save(built, path, &error), &error);
        unet_engine_close(&built);
        setenv("UNET_CPU", cpu_tier_name((enum cpu_tier)tier), 1);
        unet_engine *moved = opened(path, &notes), *native = network_engine(false, 31);
        assert_true(moved->repacked);
        assert_int_equal(notes.notices, 1);
        assert_non_null(strstr(notes.text, "layers in bf16"));
        assert_non_null(strstr(notes.text, "run in fp32"));
        assert_ok(unet_engine_get_info(moved, &info, &error), &error);
        assert_string_equal(info.precision, "fp32");
        assert_string_equal(info.built_precision, "bf16");
        assert_int_equal(moved->plan.packed_bytes, native->plan.packed_bytes);
        assert_memory_equal(moved->packed, native->packed, native->plan.packed_bytes);
        float *first = outputs_of(moved);
        assert_near_reference(first, false, 31);
        memory_free(first);
        unet_engine_close(&moved);
        unet_engine_close(&native);
        unsetenv("UNET_CPU");
    }
}

/* ---------------------------------------------------------------- questions */

static void tells_its_facts(void **state)
{
    (void)state;
    unet_error error;
    unet_engine_info info = {.size = sizeof info};
    unet_engine *engine = network_engine(true, 1);
    assert_ok(unet_engine_get_info(engine, &info, &error), &error);
    assert_string_equal(info.architecture, "unet-bilinear");
    assert_string_equal(info.precision, "fp32");
    assert_string_equal(info.built_for, cpu_tier_name(cpu_tier_detected()));
    assert_string_equal(info.built_precision, "fp32");
    assert_int_equal(info.format_version, 6);
    assert_int_equal(info.in_channels, 3);
    assert_int_equal(info.classes, 5);
    assert_int_equal(info.tuned_height, 40);
    assert_int_equal(info.tuned_width, 48);
    assert_int_equal(info.parameter_count, 12345);
    assert_int_equal(info.file_bytes, engine->file.size);
    assert_int_equal(info.layer_count, 5);
    assert_int_equal(info.preprocess.normalize, UNET_NORMALIZE_255);
    assert_true(info.preprocess.scale == 1);
    assert_int_equal(info.mask_value_count, 5);
    assert_memory_equal(info.mask_values, "\0\x20\x40\x80\xff", 5);
    info.size = 0;
    assert_error(unet_engine_get_info(engine, &info, &error), UNET_ERROR_USAGE, &error, "size");
    unet_engine_close(&engine);
}

static void tells_its_layers(void **state)
{
    (void)state;
    unet_error error;
    unet_layer_info layer = {.size = sizeof layer};
    unet_engine *engine = network_engine(true, 1);
    assert_ok(unet_engine_get_layer(engine, 0, &layer, &error), &error);
    assert_string_equal(layer.op, "load");
    assert_ok(unet_engine_get_layer(engine, 1, &layer, &error), &error);
    assert_string_equal(layer.name, "conv1");
    assert_string_equal(layer.op, "conv");
    assert_string_equal(layer.fused, "relu+pool");
    assert_int_equal(layer.in_channels, 3);
    assert_int_equal(layer.out_channels, 20);
    assert_true(layer.weight_bytes >= 3 * 20 * 9 * sizeof(float));
    assert_string_equal(layer.type, "fp32");
    assert_ok(unet_engine_get_layer(engine, 4, &layer, &error), &error);
    assert_string_equal(layer.fused, "concat+relu+head");
    assert_int_equal(layer.in_channels, 38);
    assert_error(unet_engine_get_layer(engine, 5, &layer, &error), UNET_ERROR_USAGE, &error,
                 "layer 5");
    unet_engine_close(&engine);
}

static void wrong_calls_are_told(void **state)
{
    (void)state;
    unet_error error;
    unet_engine *engine = NULL;
    unet_engine_options options = {0};
    assert_error(unet_engine_open(NULL, NULL, &engine, &error), UNET_ERROR_USAGE, &error, "path");
    assert_error(unet_engine_open("x", &options, &engine, &error), UNET_ERROR_USAGE, &error,
                 "size");
    assert_error(unet_engine_open(temporary_path("none.engine"), NULL, &engine, &error),
                 UNET_ERROR_MODEL, &error, "none.engine: cannot be opened");
    assert_error(unet_engine_save(NULL, "x", &error), UNET_ERROR_USAGE, &error, "engine");
    assert_error(unet_engine_verify(NULL, &error), UNET_ERROR_USAGE, &error, "engine");
    unet_engine_close(&engine);
    unet_engine_close(NULL);
    engine = network_engine(false, 1);
    assert_error(unet_engine_save(engine, temporary_path("no/such/folder.engine"), &error),
                 UNET_ERROR_OUTPUT, &error, "folder.engine");
    unet_engine_close(&engine);
}

/* ---------------------------------------------------------------- memory */

static void building_survives_lack_of_memory(void **state)
{
    (void)state;
    unet_error error;
    struct graph graph;
    struct plan plan;
    struct engine_facts facts = network_facts();
    unet_engine *engine = NULL;
    unet_status status = UNET_ERROR_MEMORY;
    network_optimized(&graph, false, 1);
    assert_ok(plan_create(&graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, &error), &error);
    int failures = 0;
    for (; status != UNET_OK; failures++) {
        memory_fail_after(failures);
        status = engine_create(&graph, &plan, &facts, &engine, &error);
        memory_fail_after(-1);
        if (status == UNET_OK)
            break;
        assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
        assert_null(engine);
        assert_int_equal(graph.node_count, 4); /* still the caller's */
    }
    assert_true(failures > 8);
    assert_int_equal(graph.node_count, 0);
    plan_clear(&plan);
    unet_engine_close(&engine);
}

static void opening_survives_lack_of_memory(void **state)
{
    (void)state;
    const char *path = saved_engine(cpu_tier_name(cpu_tier_detected()), "memory.engine");
    for (int repacked = 0; repacked < 2; repacked++) {
        unet_error error;
        unet_engine *engine = NULL;
        unet_status status = UNET_ERROR_MEMORY;
        int failures = 0;
        setenv("UNET_CPU", repacked ? "c" : "avx512", 1);
        for (; status != UNET_OK; failures++) {
            memory_fail_after(failures);
            status = unet_engine_open(path, NULL, &engine, &error);
            memory_fail_after(-1);
            if (status != UNET_OK)
                assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
        }
        assert_true(failures > 5);
        unet_engine_close(&engine);
    }
    unsetenv("UNET_CPU");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loaded_engine_is_the_built_one),
        cmocka_unit_test(equal_networks_give_equal_bytes),
        cmocka_unit_test(engines_move_between_machines),
        cmocka_unit_test(a_wrong_tier_is_a_usage_error),
        cmocka_unit_test(an_engine_may_come_through_a_pipe),
        cmocka_unit_test(a_bf16_engine_makes_the_round_trip),
        cmocka_unit_test(a_bf16_engine_runs_anywhere),
        cmocka_unit_test(tells_its_facts),
        cmocka_unit_test(tells_its_layers),
        cmocka_unit_test(wrong_calls_are_told),
        cmocka_unit_test(building_survives_lack_of_memory),
        cmocka_unit_test(opening_survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
