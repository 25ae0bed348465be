/* Calibration: its histograms against the scalar interpreter's tensors, how it stops, and images
 * that cannot be used. */
#include "unit/engine/network.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "build/calibrate.h"
#include "build/settle.h"
#include "graph/reference.h"

enum { SEED = 8, IMAGES = 3, HEIGHT = 21, WIDTH = 26 };

/* ---------------------------------------------------------------- images */

struct notes {
    int notices;
    char text[1024];
};

static void note(void *user, int level, const char *line)
{
    struct notes *notes = user;
    if (level > 0)
        return;
    notes->notices++;
    snprintf(notes->text, sizeof notes->text, "%s", line);
}

/* A PNG of random bytes up to `most`, as the only writer of colour that the library has: an overlay
 * over a mask of zeros leaves the picture as it is. */
static char *image_file(const char *name, int height, int width, int most, uint64_t seed)
{
    unet_error error;
    unet_image image, mask;
    assert_ok(unet_image_new(width, height, 3, 8, &image, &error), &error);
    assert_ok(unet_image_new(width, height, 1, 8, &mask, &error), &error);
    for (int i = 0; i < 3 * height * width; i++)
        ((uint8_t *)image.pixels)[i] = (uint8_t)(random_next(&seed) % (unsigned)(most + 1));
    memset(mask.pixels, 0, (size_t)(height * width));
    char *path = memory_strdup(temporary_path(name));
    assert_ok(unet_overlay_save(path, &image, &mask, &error), &error);
    unet_image_clear(&image);
    unet_image_clear(&mask);
    return path;
}

static struct calibration_request request_of(const char *const *images, size_t count)
{
    static const struct log silent = {NULL, NULL};
    return (struct calibration_request){
        .images = images, .count = count, .threads = 2, .log = &silent};
}

static struct calibration calibrated(const unet_engine *engine,
                                     const struct calibration_request *request)
{
    unet_error error;
    struct calibration calibration;
    assert_ok(calibrate(engine, request, &calibration, &error), &error);
    return calibration;
}

static void check_fails(const unet_engine *engine, const struct calibration_request *request,
                        unet_status expected, const char *part)
{
    unet_error error;
    struct calibration calibration;
    assert_error(calibrate(engine, request, &calibration, &error), expected, &error, part);
}

/* ---------------------------------------------------------------- against the interpreter */

struct truth {
    float *values; /* of all images, each channels × plane */
    int channels, plane, images;
};

/* What the interpreter writes into the value of this name, pixels having been divided by 255. */
static struct truth truth_of(const char *name, bool transposed, char *const *paths, int count)
{
    unet_error error;
    struct graph graph;
    struct graph_size sizes[64];
    network_hourglass(&graph, transposed, SEED);
    for (int v = 0; v < graph.value_count; v++)
        if (strcmp(graph.values[v].name, name) == 0)
            graph.output = v;
    assert_ok(graph_infer(&graph, HEIGHT, WIDTH, sizes, &error), &error);
    const struct graph_size *size = &sizes[graph.output];
    struct truth truth = {.channels = graph.values[graph.output].channels,
                          .plane = size->height * size->width,
                          .images = count};
    size_t each = (size_t)(truth.channels * truth.plane);
    truth.values = memory_alloc_array(each * (size_t)count, sizeof *truth.values);
    for (int i = 0; i < count; i++) {
        unet_image image;
        float input[3 * HEIGHT * WIDTH];
        assert_ok(unet_image_load(paths[i], &image, &error), &error);
        for (int k = 0; k < 3 * HEIGHT * WIDTH; k++)
            input[k % 3 * HEIGHT * WIDTH + k / 3] = (float)((uint8_t *)image.pixels)[k] / 255;
        assert_ok(
            graph_reference_run(&graph, input, HEIGHT, WIDTH, truth.values + i * (int)each, &error),
            &error);
        unet_image_clear(&image);
    }
    graph_clear(&graph);
    return truth;
}

/* The share of values that a plain count finds in another bin than the histogram: sums of another
 * order end a little beside each other, so few may cross a border. */
static double misplaced(const struct calibrated_value *value, const struct truth *truth,
                        int channel)
{
    static uint32_t expected[HISTOGRAM_BINS];
    double bin = calibration_bin(value, channel), apart = 0;
    int pixels = truth->images * truth->plane;
    memset(expected, 0, sizeof expected);
    for (int i = 0; i < pixels; i++) {
        int image = i / truth->plane, at = i % truth->plane;
        float x = truth->values[(image * truth->channels + channel) * truth->plane + at];
        int index = bin > 0 ? (int)(fabs((double)x) / bin) : 0;
        expected[index < HISTOGRAM_BINS ? index : HISTOGRAM_BINS - 1]++;
    }
    for (int i = 0; i < HISTOGRAM_BINS; i++)
        apart += fabs((double)expected[i] - (double)calibration_counts(value, channel)[i]) / 2;
    return apart / pixels;
}

static void check_channel(const struct calibrated_value *value, const struct truth *truth,
                          int channel)
{
    double sum = 0, max = 0;
    int pixels = truth->images * truth->plane;
    for (int i = 0; i < pixels; i++) {
        int image = i / truth->plane, at = i % truth->plane;
        double x = truth->values[(image * truth->channels + channel) * truth->plane + at];
        sum += x;
        max = fmax(max, fabs(x));
    }
    assert_true(fabs(calibration_mean(value, channel) - sum / pixels) < 1e-5);
    if (!value->counted)
        return;
    assert_true(fabs((double)calibration_max(value, channel) - max) < 1e-5);
    assert_true(misplaced(value, truth, channel) < 0.02);
}

static void check_value(const unet_engine *engine, const struct calibration *calibration, int index,
                        bool transposed, char *const *paths)
{
    const struct calibrated_value *value = &calibration->values[index];
    struct truth truth = truth_of(engine->graph.values[index].name, transposed, paths, IMAGES);
    assert_int_equal(value->channels, truth.channels);
    for (int c = 0; c < value->channels; c++)
        check_channel(value, &truth, c);
    memory_free(truth.values);
}

static void check_network(bool transposed, char *const *paths)
{
    unet_engine *engine = network_engine(transposed, SEED);
    struct calibration_request request = request_of((const char *const *)paths, IMAGES);
    struct calibration calibration = calibrated(engine, &request);
    int counted = 0, known = 0;
    assert_int_equal(calibration.value_count, engine->graph.value_count);
    assert_int_equal(calibration.images, IMAGES);
    for (int v = 0; v < calibration.value_count; v++) {
        counted += calibration.values[v].counted;
        known += calibration.values[v].channels > 0;
        if (calibration.values[v].channels > 0)
            check_value(engine, &calibration, v, transposed, paths);
    }
    assert_int_equal(counted,
                     transposed ? 3 : 2); /* conv1, conv2, up; the head's is never stored */
    assert_int_equal(known, counted + 1); /* the pool's mean */
    calibration_clear(&calibration);
    unet_engine_close(&engine);
}

static void counts_what_the_interpreter_computes(void **state)
{
    (void)state;
    char *paths[IMAGES], name[32];
    for (int i = 0; i < IMAGES; i++) {
        snprintf(name, sizeof name, "counts-%d.png", i);
        paths[i] = image_file(name, HEIGHT, WIDTH, 255 - 50 * i, (uint64_t)(7 + i));
    }
    for (int transposed = 0; transposed < 2; transposed++)
        check_network(transposed, paths);
    for (int i = 0; i < IMAGES; i++)
        memory_free(paths[i]);
}

static void assert_same(const struct calibration *a, const struct calibration *b)
{
    assert_int_equal(a->value_count, b->value_count);
    for (int v = 0; v < a->value_count; v++) {
        size_t blocks = (size_t)kernel_blocks(a->values[v].channels);
        assert_int_equal(a->values[v].channels, b->values[v].channels);
        if (blocks > 0)
            assert_memory_equal(a->values[v].blocks, b->values[v].blocks,
                                blocks * sizeof *a->values[v].blocks);
    }
}

static void threads_change_nothing(void **state)
{
    (void)state;
    unet_engine *engine = network_engine(true, SEED);
    char *path = image_file("threads.png", 40, 50, 255, 4);
    struct calibration_request request = request_of((const char *const *)&path, 1);
    request.threads = 1;
    struct calibration one = calibrated(engine, &request);
    for (request.threads = 2; request.threads <= 5; request.threads++) {
        struct calibration more = calibrated(engine, &request);
        assert_same(&one, &more);
        calibration_clear(&more);
    }
    calibration_clear(&one);
    memory_free(path);
    unet_engine_close(&engine);
}

/* ---------------------------------------------------------------- sizes */

static uint64_t pixels_seen(const struct calibration *calibration)
{
    uint64_t most = 0;
    for (int v = 0; v < calibration->value_count; v++)
        if (calibration->values[v].counted && calibration->values[v].blocks->pixels > most)
            most = calibration->values[v].blocks->pixels;
    return most;
}

static void images_run_at_their_size_or_the_given_one(void **state)
{
    (void)state;
    unet_engine *engine = network_engine(false, SEED);
    char *paths[] = {image_file("small.png", 16, 20, 255, 1),
                     image_file("large.png", 30, 50, 255, 2)};
    struct calibration_request request = request_of((const char *const *)paths, 2);
    struct calibration own = calibrated(engine, &request);
    assert_int_equal(pixels_seen(&own), 16 * 20 + 30 * 50);
    request.height = 30;
    request.width = 50;
    struct calibration given = calibrated(engine, &request);
    assert_int_equal(pixels_seen(&given), 2 * 30 * 50);
    calibration_clear(&own);
    calibration_clear(&given);
    memory_free(paths[0]);
    memory_free(paths[1]);
    unet_engine_close(&engine);
}

static void arrays_are_images_too(void **state)
{
    (void)state;
    unet_error error;
    unet_engine *engine = network_engine(false, SEED);
    float *values = network_input(3 * 24 * 32, 3);
    unet_array array = {.dtype = UNET_F32, .rank = 3, .shape = {3, 24, 32}, .data = values};
    const char *path = temporary_path("array.npy");
    assert_ok(unet_array_save(path, &array, &error), &error);
    struct calibration_request request = request_of(&path, 1);
    request.height = request.width = 16;
    struct calibration calibration = calibrated(engine, &request);
    assert_int_equal(pixels_seen(&calibration), 24 * 32);
    calibration_clear(&calibration);
    memory_free(values);
    unet_engine_close(&engine);
}

/* ---------------------------------------------------------------- early stop */

enum { MANY = 5 * SETTLE_WINDOW };

struct tale {
    int calls, stop_at; /* 0: never */
    unet_calibration_progress last;
};

static bool listen(void *user, const unet_calibration_progress *progress)
{
    struct tale *tale = user;
    tale->calls++;
    assert_int_equal(progress->total, MANY);
    assert_int_equal(progress->done, tale->calls - 1);
    assert_true(progress->seconds_left >= 0);
    assert_true((progress->seconds_left > 0) == (progress->done > 0 && progress->next != NULL));
    tale->last = *progress;
    return tale->calls != tale->stop_at;
}

static struct calibration_request many(const char **paths, const char *path, struct tale *tale)
{
    for (int i = 0; i < MANY; i++)
        paths[i] = path;
    struct calibration_request request = request_of(paths, MANY);
    request.progress = listen;
    request.progress_user = tale;
    return request;
}

static void stops_once_ranges_stand_still(void **state)
{
    (void)state;
    struct notes notes = {0};
    struct tale tale = {0};
    const struct log log = {note, &notes};
    const char *paths[MANY];
    unet_engine *engine = network_engine(true, SEED);
    char *path = image_file("still.png", 30, 40, 255, 3);
    struct calibration_request request = many(paths, path, &tale);
    request.log = &log;
    struct calibration calibration = calibrated(engine, &request);
    assert_true(calibration.settled);
    assert_int_equal(calibration.images, 2 * SETTLE_WINDOW); /* one look to know, one to compare */
    assert_non_null(strstr(notes.text, "16 of 40"));
    assert_int_equal(tale.calls, 2 * SETTLE_WINDOW + 1);
    assert_null(tale.last.next);
    calibration_clear(&calibration);
    memory_free(path);
    unet_engine_close(&engine);
}

static void all_means_all(void **state)
{
    (void)state;
    struct tale tale = {0};
    const char *paths[MANY];
    unet_engine *engine = network_engine(true, SEED);
    char *path = image_file("all.png", 30, 40, 255, 3);
    struct calibration_request request = many(paths, path, &tale);
    request.all = true;
    struct calibration calibration = calibrated(engine, &request);
    assert_false(calibration.settled);
    assert_int_equal(calibration.images, MANY);
    assert_int_equal(tale.calls, MANY + 1);
    assert_null(tale.last.next);
    calibration_clear(&calibration);
    memory_free(path);
    unet_engine_close(&engine);
}

/* Darkest first: with each image values reach further. */
static void goes_on_while_ranges_grow(void **state)
{
    (void)state;
    struct tale tale = {0};
    const char *paths[MANY];
    char *own[MANY], name[32];
    unet_engine *engine = network_engine(true, SEED);
    struct calibration_request request = many(paths, NULL, &tale);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "growing-%d.png", i);
        paths[i] = own[i] = image_file(name, 30, 40, 10 + 6 * i, 3);
    }
    struct calibration calibration = calibrated(engine, &request);
    assert_false(calibration.settled);
    assert_int_equal(calibration.images, MANY);
    calibration_clear(&calibration);
    for (int i = 0; i < MANY; i++)
        memory_free(own[i]);
    unet_engine_close(&engine);
}

static void a_callback_may_cancel(void **state)
{
    (void)state;
    struct tale tale = {.stop_at = 4};
    const char *paths[MANY];
    unet_engine *engine = network_engine(true, SEED);
    char *path = image_file("cancel.png", 30, 40, 255, 3);
    struct calibration_request request = many(paths, path, &tale);
    check_fails(engine, &request, UNET_ERROR_CANCELLED, "after 3 of 40");
    assert_int_equal(tale.calls, 4);
    memory_free(path);
    unet_engine_close(&engine);
}

/* ---------------------------------------------------------------- the reach of a tensor */

static void reach_is_of_all_channels_together(void **state)
{
    (void)state;
    struct histogram *block = memory_calloc(1, sizeof *block);
    const struct calibrated_value value = {true, 2, block};
    struct reach reach = reach_of(&value);
    assert_true(reach.max == 0 && reach.percentile == 0);
    block->per_bin[0] = HISTOGRAM_BINS / 8.0f; /* up to 8 */
    block->max[0] = 7.5f;
    block->counts[0][HISTOGRAM_BINS / 4] = 3; /* at 2 */
    block->counts[0][HISTOGRAM_BINS - 2] = 1;
    block->per_bin[1] = HISTOGRAM_BINS / 1.0f; /* up to 1 */
    block->max[1] = 0.9f;
    block->counts[1][HISTOGRAM_BINS / 2] = 29996;
    reach = reach_of(&value);
    assert_true(reach.max == 7.5f);
    /* 29,997 of 30,000 are not larger: the first of the three at 2. */
    assert_true(fabsf(reach.percentile - 2) < 8.0f / HISTOGRAM_BINS);
    memory_free(block);
}

/* A new largest value alone moves the range of minmax, and no other. */
static void outliers_unsettle_minmax_alone(void **state)
{
    (void)state;
    struct histogram *block = memory_calloc(1, sizeof *block);
    struct calibrated_value value = {true, 1, block};
    const struct calibration calibration = {.values = &value, .value_count = 1};
    struct reach by_percentile = {0, 0}, by_max = {0, 0};
    block->per_bin[0] = HISTOGRAM_BINS / 8.0f;
    block->max[0] = 2;
    block->counts[0][HISTOGRAM_BINS / 4] = 1000000;
    assert_false(settle_look(&calibration, UNET_CALIBRATION_AUTO, &by_percentile));
    assert_false(settle_look(&calibration, UNET_CALIBRATION_MINMAX, &by_max));
    block->max[0] = 7;
    block->counts[0][HISTOGRAM_BINS / 8 * 7] = 1;
    assert_true(settle_look(&calibration, UNET_CALIBRATION_AUTO, &by_percentile));
    assert_false(settle_look(&calibration, UNET_CALIBRATION_MINMAX, &by_max));
    assert_true(settle_look(&calibration, UNET_CALIBRATION_MINMAX, &by_max));
    block->counts[0][HISTOGRAM_BINS / 8 * 7] = 1000;
    assert_false(settle_look(&calibration, UNET_CALIBRATION_AUTO, &by_percentile));
    memory_free(block);
}

/* ---------------------------------------------------------------- what cannot be used */

static void a_broken_image_is_named_and_skipped(void **state)
{
    (void)state;
    struct notes notes = {0};
    const struct log log = {note, &notes};
    unet_engine *engine = network_engine(false, SEED);
    char *good = image_file("good.png", 30, 40, 255, 3);
    const char *paths[] = {repository_path("tests/golden/bad-images/half-1.png"), good};
    struct calibration_request request = request_of(paths, 2);
    request.log = &log;
    struct calibration mixed = calibrated(engine, &request);
    assert_int_equal(mixed.images, 1);
    assert_int_equal(mixed.skipped, 1);
    assert_int_equal(notes.notices, 1);
    assert_non_null(strstr(notes.text, "half-1.png"));
    request.images = paths + 1;
    request.count = 1;
    struct calibration alone = calibrated(engine, &request);
    assert_same(&mixed, &alone);
    calibration_clear(&mixed);
    calibration_clear(&alone);
    memory_free(good);
    unet_engine_close(&engine);
}

static void without_images_there_is_no_calibration(void **state)
{
    (void)state;
    unet_engine *engine = network_engine(false, SEED);
    const char *paths[] = {"no-such-image.png",
                           repository_path("tests/golden/bad-images/half-1.png")};
    struct calibration_request request = request_of(paths, 2);
    check_fails(engine, &request, UNET_ERROR_INPUT, "none of 2 images");
    check_fails(engine, &request, UNET_ERROR_INPUT, "no-such-image.png");
    request.count = 0;
    check_fails(engine, &request, UNET_ERROR_USAGE, "at least one image");
    unet_engine_close(&engine);
}

/* Weights that are finite, and sums that are not. */
static unet_engine *overflowing_engine(void)
{
    unet_error error;
    struct plan plan;
    unet_engine *engine = NULL;
    struct graph graph;
    struct engine_facts facts = network_facts();
    network_optimized(&graph, true, SEED);
    for (int i = 0; i < graph.node_count; i++)
        if (strcmp(graph.nodes[i].name, "conv2") == 0)
            for (int64_t k = 0; k < graph.nodes[i].weight.count; k++)
                graph.nodes[i].weight.data[k] = 3e38f;
    assert_ok(plan_create(&graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, &error), &error);
    assert_ok(engine_create(&graph, &plan, &facts, &engine, &error), &error);
    plan_clear(&plan);
    return engine;
}

static void what_is_no_number_is_refused(void **state)
{
    (void)state;
    unet_engine *engine = overflowing_engine();
    char *path = image_file("over.png", 30, 40, 255, 3);
    struct calibration_request request = request_of((const char *const *)&path, 1);
    check_fails(engine, &request, UNET_ERROR_MODEL, "over.png: layer conv2");
    memory_free(path);
    unet_engine_close(&engine);
}

static void a_constant_image_is_an_image(void **state)
{
    (void)state;
    unet_engine *engine = network_engine(true, SEED);
    char *path = image_file("black.png", 30, 40, 0, 3);
    struct calibration_request request = request_of((const char *const *)&path, 1);
    struct calibration calibration = calibrated(engine, &request);
    for (int v = 0; v < calibration.value_count; v++)
        for (int c = 0; c < calibration.values[v].channels; c++)
            assert_true(isfinite(calibration_mean(&calibration.values[v], c)) &&
                        isfinite(calibration_bin(&calibration.values[v], c)));
    calibration_clear(&calibration);
    memory_free(path);
    unet_engine_close(&engine);
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    unet_error error;
    unet_status status = UNET_ERROR_MEMORY;
    struct calibration calibration;
    unet_engine *engine = network_engine(true, SEED);
    char *path = image_file("memory.png", 30, 40, 255, 3);
    struct calibration_request request = request_of((const char *const *)&path, 1);
    request.threads = 1; /* failures are counted by thread */
    for (long n = 0; status != UNET_OK; n++) {
        memory_fail_after(n);
        status = calibrate(engine, &request, &calibration, &error);
        memory_fail_after(-1);
        if (status != UNET_OK)
            assert_error(status, UNET_ERROR_MEMORY, &error, "out of memory");
    }
    calibration_clear(&calibration);
    calibration_clear(&calibration);
    calibration_clear(NULL);
    memory_free(path);
    unet_engine_close(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_what_the_interpreter_computes),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(images_run_at_their_size_or_the_given_one),
        cmocka_unit_test(arrays_are_images_too),
        cmocka_unit_test(stops_once_ranges_stand_still),
        cmocka_unit_test(all_means_all),
        cmocka_unit_test(goes_on_while_ranges_grow),
        cmocka_unit_test(a_callback_may_cancel),
        cmocka_unit_test(reach_is_of_all_channels_together),
        cmocka_unit_test(outliers_unsettle_minmax_alone),
        cmocka_unit_test(a_broken_image_is_named_and_skipped),
        cmocka_unit_test(without_images_there_is_no_calibration),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(a_constant_image_is_an_image),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
