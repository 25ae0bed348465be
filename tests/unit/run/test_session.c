/* Sessions: against the scalar interpreter at every tier, with any number of threads the same
 * bits, and no allocation while running. */
#include "unit/engine/network.h"

#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/threads.h"
#include "graph/reference.h"
#include "run/session.h"

static unet_session *session_of(const unet_engine *engine, int threads)
{
    unet_error error;
    unet_session *session = NULL;
    unet_session_options options = {.size = sizeof options, .threads = threads};
    assert_ok(unet_session_create(engine, &options, &session, &error), &error);
    return session;
}

static float *logits_for(int height, int width)
{
    size_t count = (size_t)(5 * height * width);
    float *logits = memory_alloc_array(count, sizeof *logits);
    for (size_t i = 0; i < count; i++)
        logits[i] = NAN; /* what is not written will show */
    return logits;
}

static float *run(unet_session *session, const float *input, int height, int width)
{
    unet_error error;
    float *logits = logits_for(height, width);
    assert_ok(unet_session_run(session, input, 1, height, width, logits, &error), &error);
    return logits;
}

static void check_size(const unet_engine *engine, bool transposed, int height, int width)
{
    unet_error error;
    struct graph graph;
    size_t count = (size_t)(height * width);
    float *input = network_input(3 * count, 5), *expected = logits_for(height, width),
          *first = NULL;
    network_hourglass(&graph, transposed, 8);
    assert_ok(graph_reference_run(&graph, input, height, width, expected, &error), &error);
    for (int threads = 1; threads <= 3; threads++) {
        unet_session *session = session_of(engine, threads);
        float *logits = run(session, input, height, width);
        if (first == NULL)
            first = logits;
        assert_memory_equal(logits, first, 5 * count * sizeof *logits);
        if (logits != first)
            memory_free(logits);
        unet_session_close(&session);
    }
    assert_true(max_difference(first, expected, 5 * count) < 1e-5);
    memory_free(first);
    memory_free(expected);
    memory_free(input);
    graph_clear(&graph);
}

static void agrees_with_the_interpreter(void **state)
{
    (void)state;
    const struct graph_size sizes[] = {{2, 2}, {2, 3}, {5, 4}, {16, 16}, {37, 53}, {3, 130}};
    for (int tier = 0; tier <= (int)cpu_tier_detected(); tier++) {
        setenv("UNET_CPU", cpu_tier_name((enum cpu_tier)tier), 1);
        for (int transposed = 0; transposed < 2; transposed++) {
            unet_engine *engine = network_engine(transposed, 8);
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
                check_size(engine, transposed, sizes[i].height, sizes[i].width);
            unet_engine_close(&engine);
        }
    }
    unsetenv("UNET_CPU");
}

/* Channels enough for phases wherever there are two threads: of one chunk with three, of two with
 * two. */
static void wide_layers_give_the_same_bits(void **state)
{
    (void)state;
    unet_error error;
    uint64_t seed = 6;
    struct plan plan;
    struct layout layout;
    unet_engine *engine = NULL;
    struct engine_facts facts = network_facts();
    struct graph graph = network_start(3);
    float *input = network_input(3 * 34 * 34, 5), *expected = logits_for(34, 34);
    int wide = network_conv(&graph, "wide", graph.input, 160, 3, &seed);
    wide = network_relu(&graph, "relu", network_conv(&graph, "wider", wide, 168, 3, &seed));
    graph.output = network_conv(&graph, "out", wide, 5, 3, &seed);
    assert_ok(graph_reference_run(&graph, input, 34, 34, expected, &error), &error);
    assert_ok(graph_optimize(&graph, &error), &error);
    assert_ok(plan_create(&graph, target_cpu(cpu_tier_detected()), NULL, NULL, &plan, &error),
              &error);
    assert_ok(engine_create(&graph, &plan, &facts, &engine, &error), &error);
    assert_ok(layout_create(&engine->plan, 1, 34, 34, 2, &layout, &error), &error);
    assert_true(layout.steps[2].phases > 3);
    unet_session *alone = session_of(engine, 1);
    float *first = run(alone, input, 34, 34);
    for (int threads = 2; threads <= 3; threads++) {
        unet_session *session = session_of(engine, threads);
        float *logits = run(session, input, 34, 34);
        assert_memory_equal(logits, first, 5 * 34 * 34 * sizeof *logits);
        memory_free(logits);
        unet_session_close(&session);
    }
    assert_true(max_difference(first, expected, 5 * 34 * 34) < 1e-5);
    memory_free(first);
    memory_free(expected);
    memory_free(input);
    layout_clear(&layout);
    unet_session_close(&alone);
    plan_clear(&plan);
    unet_engine_close(&engine);
}

static void runs_a_network_without_head(void **state)
{
    (void)state;
    unet_error error;
    uint64_t seed = 5;
    struct plan plan;
    unet_engine *engine = NULL;
    struct engine_facts facts = network_facts();
    struct graph graph = network_start(3);
    float *input = network_input(3 * 20 * 30, 5), *expected = logits_for(20, 30);
    int first = network_conv(&graph, "first", graph.input, 17, 1, &seed);
    graph.output = network_conv(&graph, "second", first, 5, 3, &seed);
    assert_ok(graph_reference_run(&graph, input, 20, 30, expected, &error), &error);
    assert_ok(plan_create(&graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, &error), &error);
    assert_ok(engine_create(&graph, &plan, &facts, &engine, &error), &error);
    unet_session *session = session_of(engine, 2);
    float *logits = run(session, input, 20, 30);
    assert_true(max_difference(logits, expected, 5 * 20 * 30) < 1e-5);
    memory_free(logits);
    memory_free(expected);
    memory_free(input);
    unet_session_close(&session);
    plan_clear(&plan);
    unet_engine_close(&engine);
}

static void a_batch_is_its_images(void **state)
{
    (void)state;
    unet_error error;
    enum { H = 21, W = 18, N = 3 };
    unet_engine *engine = network_engine(false, 2);
    unet_session *session = session_of(engine, 2);
    float *input = network_input(N * 3 * H * W, 3), *batch = logits_for(N * H, W);
    assert_ok(unet_session_run(session, input, N, H, W, batch, &error), &error);
    for (int i = 0; i < N; i++) {
        float *one = run(session, input + i * 3 * H * W, H, W);
        assert_memory_equal(one, batch + i * 5 * H * W, 5 * H * W * sizeof *one);
        memory_free(one);
    }
    memory_free(input);
    memory_free(batch);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

/* ---------------------------------------------------------------- memory */

static void running_allocates_nothing(void **state)
{
    (void)state;
    unet_error error;
    unet_engine *engine = network_engine(false, 2);
    unet_session *session = session_of(engine, 2);
    float *input = network_input(3 * 40 * 48, 3), *logits = logits_for(40, 48);
    assert_ok(unet_session_reserve(session, 40, 48, &error), &error);
    memory_fail_after(0); /* any allocation would fail … */
    struct mallinfo2 before = mallinfo2();
    unet_status status = UNET_OK;
    for (int i = 0; i < 20 && status == UNET_OK; i++)
        status = unet_session_run(session, input, 1, 40, 48, logits, &error);
    struct mallinfo2 after = mallinfo2();
    assert_int_equal(memory_fail_after(-1), 0); /* … and none was tried */
    assert_ok(status, &error);
    assert_int_equal(before.uordblks, after.uordblks);
    assert_int_equal(before.hblkhd, after.hblkhd);
    memory_free(input);
    memory_free(logits);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

static size_t activation_bytes(const unet_session *session)
{
    unet_error error;
    unet_session_info info = {.size = sizeof info};
    assert_ok(unet_session_get_info(session, &info, &error), &error);
    return info.activation_bytes;
}

static void memory_grows_to_the_largest_size_alone(void **state)
{
    (void)state;
    const struct graph_size sizes[] = {{48, 64}, {16, 16}, {31, 33}, {64, 48}, {2, 2}};
    unet_error error;
    unet_engine *engine = network_engine(true, 2);
    unet_session *session = session_of(engine, 2);
    float *input = network_input(3 * 48 * 64, 3), *logits = logits_for(48, 64);
    assert_int_equal(activation_bytes(session), 0);
    for (size_t i = 0; i < 5; i++)
        assert_ok(unet_session_reserve(session, sizes[i].height, sizes[i].width, &error), &error);
    size_t largest = activation_bytes(session);
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < 1000; i++) {
        struct graph_size size = sizes[i % 5];
        assert_ok(unet_session_run(session, input, 1, size.height, size.width, logits, &error),
                  &error);
        assert_int_equal(activation_bytes(session), largest);
    }
    struct mallinfo2 after = mallinfo2();
    assert_true(after.uordblks <= before.uordblks);
    memory_free(input);
    memory_free(logits);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

/* A session whose size cannot be booked goes on at the next size that can. */
static void survives_lack_of_memory(void **state)
{
    (void)state;
    unet_error error;
    unet_engine *engine = network_engine(false, 2);
    float *input = network_input(3 * 40 * 48, 3), *logits = logits_for(40, 48);
    unet_session *session = session_of(engine, 2);
    float *expected = run(session, input, 40, 48);
    unet_session_close(&session);
    unet_status status = UNET_ERROR_MEMORY;
    int failures = 0;
    for (; status != UNET_OK; failures++) {
        unet_session_options options = {.size = sizeof options, .threads = 2, .profile = true};
        memory_fail_after(failures);
        status = unet_session_create(engine, &options, &session, &error);
        if (status == UNET_OK)
            status = unet_session_run(session, input, 1, 40, 48, logits, &error);
        memory_fail_after(-1);
        if (status != UNET_OK)
            assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
        if (session == NULL)
            continue;
        assert_ok(unet_session_run(session, input, 1, 40, 48, logits, &error), &error);
        assert_memory_equal(logits, expected, 5 * 40 * 48 * sizeof *logits);
        unet_session_close(&session);
    }
    assert_true(failures > 8);
    memory_free(input);
    memory_free(logits);
    memory_free(expected);
    unet_engine_close(&engine);
}

static void a_failed_new_size_leaves_the_session_usable(void **state)
{
    (void)state;
    unet_error error;
    unet_engine *engine = network_engine(false, 2);
    unet_session *session = session_of(engine, 1);
    float *input = network_input(3 * 60 * 64, 3), *logits = logits_for(60, 64);
    float *expected = run(session, input, 20, 24);
    unet_status status = UNET_ERROR_MEMORY;
    for (int i = 0; status != UNET_OK; i++) {
        memory_fail_after(i);
        status = unet_session_run(session, input, 1, 60, 64, logits, &error);
        memory_fail_after(-1);
        assert_ok(unet_session_run(session, input, 1, 20, 24, logits, &error), &error);
        assert_memory_equal(logits, expected, 5 * 20 * 24 * sizeof *logits);
    }
    memory_free(input);
    memory_free(logits);
    memory_free(expected);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

static rlim_t address_space(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld", &pages), 1);
    fclose(file);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* The size is refused before anything is booked, and the one that is booked stays. */
static void refuses_what_memory_cannot_hold(void **state)
{
    (void)state;
    unet_error error;
    unet_engine *engine = network_engine(false, 2);
    unet_session *session = session_of(engine, 1);
    float *input = network_input(3 * 20 * 24, 3), *expected = run(session, input, 20, 24);
    unet_session_info before = {.size = sizeof before}, after = {.size = sizeof after};
    assert_ok(unet_session_get_info(session, &before, &error), &error);
    struct rlimit old, tight;
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    tight = (struct rlimit){address_space() + ((rlim_t)100 << 20), old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
    unet_status status = unet_session_reserve(session, 4096, 4096, &error);
    setrlimit(RLIMIT_AS, &old);
    assert_error(status, UNET_ERROR_MEMORY, &error, "4096×4096 needs ");
    unsigned long needed = 0, left = 0;
    const char *numbers = strstr(error.message, "needs ");
    assert_int_equal(sscanf(numbers, "needs %lu MiB of memory more and %lu MiB", &needed, &left),
                     2);
    assert_true(left <= 100 && left > 50 && needed > 4096 * 4096 * 4 * 8 >> 20);
    assert_ok(unet_session_get_info(session, &after, &error), &error);
    assert_int_equal(after.activation_bytes, before.activation_bytes);
    float *again = run(session, input, 20, 24);
    assert_memory_equal(again, expected, 5 * 20 * 24 * sizeof *again);
    memory_free(again);
    memory_free(expected);
    memory_free(input);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

/* ---------------------------------------------------------------- sharing, asking, misuse */

struct thread_work {
    const unet_engine *engine;
    const float *input;
    float *logits;
};

static void *run_in_thread(void *argument)
{
    struct thread_work *work = argument;
    unet_session *session = NULL;
    unet_session_options options = {.size = sizeof options, .threads = 1};
    if (unet_session_create(work->engine, &options, &session, NULL) != UNET_OK)
        return work;
    unet_status status = UNET_OK;
    for (int i = 0; i < 10 && status == UNET_OK; i++)
        status = unet_session_run(session, work->input, 1, 33, 20, work->logits, NULL);
    unet_session_close(&session);
    return status == UNET_OK ? NULL : work;
}

static void sessions_share_an_engine(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    unet_engine *engine = network_engine(true, 2);
    unet_session *session = session_of(engine, 1);
    float *input = network_input(3 * 33 * 20, 3), *expected = run(session, input, 33, 20);
    pthread_t threads[THREADS];
    struct thread_work works[THREADS];
    for (int i = 0; i < THREADS; i++) {
        works[i] = (struct thread_work){engine, input, logits_for(33, 20)};
        assert_int_equal(pthread_create(&threads[i], NULL, run_in_thread, &works[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
        assert_memory_equal(works[i].logits, expected, 5 * 33 * 20 * sizeof *expected);
        memory_free(works[i].logits);
    }
    memory_free(input);
    memory_free(expected);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

static void profiles_every_layer(void **state)
{
    (void)state;
    unet_error error;
    unet_engine *engine = network_engine(false, 2);
    unet_session *session = NULL;
    unet_session_options options = {.size = sizeof options, .threads = 2, .profile = true};
    unet_layer_profile profile = {.size = sizeof profile};
    float *input = network_input(3 * 40 * 48, 3);
    assert_ok(unet_session_create(engine, &options, &session, &error), &error);
    memory_free(run(session, input, 40, 48));
    memory_free(run(session, input, 40, 48));
    for (size_t i = 0; i < 4; i++) {
        assert_ok(unet_session_get_profile(session, i, &profile, &error), &error);
        if (i == 0) /* the first convolution reads the input itself */
            assert_true(profile.milliseconds == 0);
        else
            assert_true(profile.milliseconds > 0 && profile.milliseconds < 10000);
        assert_true(profile.bytes > 0);
        assert_non_null(strchr(profile.kernel, '.'));
    }
    assert_ok(unet_session_get_profile(session, 1, &profile, &error), &error);
    assert_string_equal(profile.name, "conv1");
    assert_true(profile.flops == 2.0 * 3 * 20 * 9 * 40 * 48);
    /* Up-sampling is no work of its own: the convolution that reads it up-sampled has its own. */
    assert_ok(unet_session_get_profile(session, 3, &profile, &error), &error);
    assert_true(profile.flops == 2.0 * (57 * 9 + 5) * 9 * 40 * 48);
    unet_session_reset_profile(session);
    assert_ok(unet_session_get_profile(session, 1, &profile, &error), &error);
    assert_true(profile.milliseconds == 0);
    assert_error(unet_session_get_profile(session, 4, &profile, &error), UNET_ERROR_USAGE, &error,
                 "layer 4");
    memory_free(input);
    unet_session_close(&session);
    session = session_of(engine, 1);
    assert_error(unet_session_get_profile(session, 0, &profile, &error), UNET_ERROR_USAGE, &error,
                 "profile");
    unet_session_reset_profile(session);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

static void tells_what_it_uses(void **state)
{
    (void)state;
    unet_error error;
    unet_session_info info = {.size = sizeof info};
    unet_engine *engine = network_engine(false, 2);
    unet_session *session = session_of(engine, 3);
    assert_ok(unet_session_get_info(session, &info, &error), &error);
    assert_int_equal(info.threads, 3);
    assert_int_equal(info.layer_count, 4);
    assert_int_equal(info.weight_bytes, engine->plan.packed_bytes);
    unet_session_close(&session);
    session = session_of(engine, 0);
    assert_ok(unet_session_get_info(session, &info, &error), &error);
    assert_int_equal(info.threads, cpu_usable_threads());
    assert_int_equal(thread_pool_size(session_threads(session)), info.threads);
    assert_ptr_equal(session_engine(session), engine);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

static void wrong_calls_are_told(void **state)
{
    (void)state;
    unet_error error;
    unet_engine *engine = network_engine(false, 2);
    unet_session *session = NULL;
    unet_session_options options = {.size = sizeof options, .threads = -1};
    float buffer[3 * 4 * 4 + 5 * 4 * 4] = {0};
    assert_error(unet_session_create(NULL, NULL, &session, &error), UNET_ERROR_USAGE, &error,
                 "engine");
    assert_error(unet_session_create(engine, &options, &session, &error), UNET_ERROR_USAGE, &error,
                 "-1 threads");
    unet_session_close(&session);
    unet_session_close(NULL);
    session = session_of(engine, 1);
    assert_error(unet_session_run(session, NULL, 1, 4, 4, buffer, &error), UNET_ERROR_USAGE, &error,
                 "input");
    assert_error(unet_session_run(session, buffer, 0, 4, 4, buffer + 48, &error), UNET_ERROR_USAGE,
                 &error, "batch");
    assert_error(unet_session_run(session, buffer, 1, 4, 4, buffer + 47, &error), UNET_ERROR_USAGE,
                 &error, "overlap");
    assert_ok(unet_session_run(session, buffer, 1, 4, 4, buffer + 48, &error), &error);
    assert_error(unet_session_run(session, buffer, 1, 1, 4, buffer + 48, &error), UNET_ERROR_USAGE,
                 &error, "conv1");
    assert_error(unet_session_reserve(session, 4, 32769, &error), UNET_ERROR_USAGE, &error,
                 "32768");
    assert_error(unet_session_reserve(NULL, 4, 4, &error), UNET_ERROR_USAGE, &error, "session");
    unet_session_close(&session);
    unet_engine_close(&engine);
}

/* ---------------------------------------------------------------- observing */

struct watch {
    const struct plan *plan;
    const float *input;
    int height, width;
    int next, tensors; /* the step that must come; tensors that were compared */
};

/* What the interpreter makes of the raw network up to the value of this name. */
static float *value_by_name(const struct watch *watch, const char *name, int channels)
{
    unet_error error;
    struct graph graph;
    float *values =
        memory_alloc_array((size_t)(channels * watch->height * watch->width), sizeof *values);
    network_hourglass(&graph, true, 8);
    for (int v = 0; v < graph.value_count; v++)
        if (strcmp(graph.values[v].name, name) == 0)
            graph.output = v;
    assert_int_equal(graph.values[graph.output].channels, channels);
    assert_ok(
        graph_reference_run(&graph, watch->input, watch->height, watch->width, values, &error),
        &error);
    graph_clear(&graph);
    return values;
}

static void compare_tensor(struct watch *watch, int value, const struct blocked *tensor)
{
    const char *name = watch->plan->graph->values[value].name;
    float *expected = value_by_name(watch, name, tensor->channels);
    int plane = tensor->height * tensor->width;
    for (int i = 0; i < tensor->channels * plane; i++) {
        int channel = i / plane, y = i % plane / tensor->width, x = i % tensor->width;
        const float *pixel = blocked_at(tensor, y, channel / KERNEL_BLOCK, x);
        assert_true(fabsf(pixel[channel % KERNEL_BLOCK] - expected[i]) < 1e-5f);
    }
    memory_free(expected);
    watch->tensors++;
}

static void look(void *context, const struct plan_step *step, const struct layout_step *laid)
{
    struct watch *watch = context;
    assert_ptr_equal(step, &watch->plan->steps[watch->next]);
    watch->next++;
    if (step->node != GRAPH_NONE && step->out != GRAPH_NONE)
        compare_tensor(watch, step->out, &laid->args.out);
    if (step->pooled != GRAPH_NONE)
        compare_tensor(watch, step->pooled, &laid->args.pooled);
}

static void an_observer_sees_every_tensor(void **state)
{
    (void)state;
    enum { H = 21, W = 18 };
    unet_engine *engine = network_engine(true, 8);
    unet_session *session = session_of(engine, 2);
    float *input = network_input(3 * H * W, 3);
    struct watch watch = {.plan = &engine->plan, .input = input, .height = H, .width = W};
    int first = plan_input_reader(&engine->plan) > 0 ? 1 : 0;
    for (int image = 0; image < 2; image++) {
        watch.next = first;
        session_observe(session, look, &watch);
        memory_free(run(session, input, H, W));
        assert_int_equal(watch.next, engine->plan.step_count);
    }
    assert_int_equal(watch.tensors, 2 * 4); /* conv1 and its pool, conv2, up */
    session_observe(session, NULL, NULL);
    memory_free(run(session, input, H, W));
    assert_int_equal(watch.tensors, 2 * 4);
    memory_free(input);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_interpreter),
        cmocka_unit_test(wide_layers_give_the_same_bits),
        cmocka_unit_test(runs_a_network_without_head),
        cmocka_unit_test(a_batch_is_its_images),
        cmocka_unit_test(running_allocates_nothing),
        cmocka_unit_test(memory_grows_to_the_largest_size_alone),
        cmocka_unit_test(survives_lack_of_memory),
        cmocka_unit_test(a_failed_new_size_leaves_the_session_usable),
        cmocka_unit_test(refuses_what_memory_cannot_hold),
        cmocka_unit_test(sessions_share_an_engine),
        cmocka_unit_test(profiles_every_layer),
        cmocka_unit_test(tells_what_it_uses),
        cmocka_unit_test(an_observer_sees_every_tensor),
        cmocka_unit_test(wrong_calls_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
