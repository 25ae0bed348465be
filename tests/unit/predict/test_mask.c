/* Where nobody wants logits the network reads pixels and writes the mask itself. Its masks must be,
 * to the last pixel, those of the way by planes: of logits that are asked for, and of float arrays.
 */
#include "unit/engine/network.h"

#include <math.h>
#include <stdlib.h>

#include "run/session.h"

/* What a network of this test is made of. */
struct made {
    int in_channels, classes;
    bool head; /* the last layer is a 1×1 that others take in; else a 3×3, whose output is stored */
    bool special; /* some logits are NaN or infinite */
    unet_normalize normalize;
};

/* Finite weights whose products overflow: infinities, and NaN where they meet. */
static void spoil(const struct graph *graph)
{
    for (int i = 0; i < graph->node_count; i++) {
        struct graph_constant weight = graph->nodes[i].weight;
        for (int64_t w = 0; w < weight.count; w++)
            weight.data[w] *= i == 0 ? 1e4f : 1e38f;
    }
}

static unet_engine *engine_of(const struct made *made)
{
    unet_error error;
    uint64_t seed = 7;
    struct plan plan;
    enum cpu_tier tier;
    unet_engine *engine = NULL;
    struct engine_facts facts = network_facts();
    struct graph graph = network_start(made->in_channels);
    facts.in_channels = made->in_channels;
    facts.classes = made->classes;
    facts.preprocess.normalize = made->normalize;
    for (int c = 0; c < made->in_channels; c++) {
        facts.preprocess.mean[c] = 0.4 + 0.1 * c;
        facts.preprocess.std[c] = 0.3 - 0.05 * c;
    }
    int last = network_conv(&graph, "first", graph.input, 21, 3, &seed);
    last = network_relu(&graph, "relu1", last);
    last = network_relu(&graph, "relu2", network_conv(&graph, "second", last, 18, 3, &seed));
    graph.output = network_conv(&graph, "out", last, made->classes, made->head ? 1 : 3, &seed);
    if (made->special)
        spoil(&graph);
    assert_ok(graph_optimize(&graph, &error), &error);
    assert_ok(cpu_tier_allowed(&tier, &error), &error);
    assert_ok(plan_create(&graph, target_cpu(tier), NULL, NULL, &plan, &error), &error);
    assert_ok(engine_create(&graph, &plan, &facts, &engine, &error), &error);
    plan_clear(&plan);
    return engine;
}

static unet_session *session_of(const unet_engine *engine, int threads)
{
    unet_error error;
    unet_session *session = NULL;
    unet_session_options options = {.size = sizeof options, .threads = threads};
    assert_ok(unet_session_create(engine, &options, &session, &error), &error);
    return session;
}

static void fill_image(unet_image *image, int channels, int bits, int height, int width)
{
    unet_error error;
    uint64_t seed = 5;
    assert_ok(unet_image_new(width, height, channels, bits, image, &error), &error);
    uint8_t *pixels = image->pixels;
    for (int i = 0; i < height * width * channels * bits / 8; i++)
        pixels[i] = (uint8_t)random_next(&seed);
}

static int class_of(const float *logits, int classes, int pixels, int at, float threshold)
{
    int best = 0;
    if (classes == 1)
        return 1.0f / (1.0f + expf(-logits[at])) > threshold;
    for (int c = 1; c < classes; c++)
        if (logits[c * pixels + at] > logits[best * pixels + at])
            best = c;
    return best;
}

/* A threshold that is some pixel's probability: strictness shows. */
static double edge_of(const unet_prediction *prediction)
{
    float logit = prediction->logits[prediction->width * prediction->height / 2];
    double edge = (double)(1.0f / (1.0f + expf(-logit)));
    return edge > 0 && edge < 1 ? edge : 0.5;
}

static int nan_count(const unet_prediction *prediction)
{
    int found = 0;
    for (int i = 0; i < prediction->classes * prediction->width * prediction->height; i++)
        found += isnan(prediction->logits[i]) != 0;
    return found;
}

/* Returns how many logits were NaN. */
static int compare(unet_session *session, const unet_image *image, double threshold)
{
    unet_error error;
    unet_prediction alone, with;
    unet_predict_options options = {.size = sizeof options, .threshold = threshold};
    assert_ok(unet_predict(session, image, &options, &alone, &error), &error);
    options.want_logits = true;
    assert_ok(unet_predict(session, image, &options, &with, &error), &error);
    int pixels = with.width * with.height;
    for (int i = 0; i < pixels; i++)
        assert_int_equal(alone.mask[i],
                         class_of(with.logits, with.classes, pixels, i, (float)threshold));
    assert_memory_equal(alone.mask, with.mask, (size_t)pixels);
    assert_null(alone.logits);
    double edge = edge_of(&with);
    int found = nan_count(&with);
    unet_prediction_clear(&alone);
    unet_prediction_clear(&with);
    return threshold == edge ? found : found + compare(session, image, edge);
}

static void compare_images(const struct made *made)
{
    static const int sizes[][2] = {{1, 1}, {3, 5}, {16, 16}, {17, 33}, {70, 61}};
    unet_engine *engine = engine_of(made);
    unet_session *session = session_of(engine, 2);
    int found = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int channels = 1; channels <= 3; channels += 2) {
            unet_image image;
            fill_image(&image, channels, i == 3 ? 16 : 8, sizes[i][0], sizes[i][1]);
            found += compare(session, &image, 0.25);
            unet_image_clear(&image);
        }
    assert_true(found > 0 || !made->special);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

static void masks_are_those_of_the_logits(void **state)
{
    (void)state;
    static const int classes[] = {1, 2, 19, 256};
    for (int tier = 0; tier <= (int)cpu_tier_detected(); tier++) {
        setenv("UNET_CPU", cpu_tier_name((enum cpu_tier)tier), 1);
        for (int variant = 0; variant < 32; variant++) {
            struct made made = {.in_channels = variant & 1 ? 3 : 1,
                                .classes = classes[variant >> 3],
                                .head = variant & 2,
                                .special = variant & 4,
                                .normalize = (unet_normalize)(UNET_NORMALIZE_255 + variant % 3)};
            compare_images(&made);
        }
    }
    unsetenv("UNET_CPU");
}

/* Pixels against planes: logits have the same bits. */
static void pixels_are_their_planes(void **state)
{
    (void)state;
    enum { HEIGHT = 37, WIDTH = 50, PIXELS = HEIGHT * WIDTH };
    unet_error error;
    unet_image image;
    unet_prediction prediction;
    float planes[3 * PIXELS], *logits = memory_alloc_array(19 * PIXELS, sizeof *logits);
    const struct made made = {
        .in_channels = 3, .classes = 19, .head = true, .normalize = UNET_NORMALIZE_255};
    unet_predict_options options = {.size = sizeof options, .want_logits = true};
    for (int most = 1; most < 256; most += 254) { /* zeros and ones are taken as they are */
        unet_engine *engine = engine_of(&made);
        unet_session *session = session_of(engine, 2);
        fill_image(&image, 3, 8, HEIGHT, WIDTH);
        for (int i = 0; i < 3 * PIXELS; i++) {
            uint8_t *pixel = (uint8_t *)image.pixels + i;
            *pixel = (uint8_t)(*pixel % (most + 1));
            planes[i % 3 * PIXELS + i / 3] = (float)*pixel / (float)most;
        }
        assert_ok(unet_predict(session, &image, &options, &prediction, &error), &error);
        assert_ok(unet_session_run(session, planes, 1, HEIGHT, WIDTH, logits, &error), &error);
        assert_memory_equal(prediction.logits, logits, 19 * PIXELS * sizeof *logits);
        unet_prediction_clear(&prediction);
        unet_image_clear(&image);
        unet_session_close(&session);
        unet_engine_close(&engine);
    }
    memory_free(logits);
}

static void a_mask_costs_no_planes_and_no_allocation(void **state)
{
    (void)state;
    enum { HEIGHT = 61, WIDTH = 70 };
    unet_error error;
    static uint8_t bytes[3 * HEIGHT * WIDTH], mask[2][HEIGHT * WIDTH];
    static float values[3 * 256];
    const struct made made = {
        .in_channels = 3, .classes = 2, .head = true, .normalize = UNET_NORMALIZE_255};
    uint64_t seed = 3;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)random_next(&seed);
    for (size_t i = 0; i < 3 * 256; i++)
        values[i] = random_float(&seed, -1, 1);
    unet_engine *engine = engine_of(&made);
    for (int threads = 1; threads <= 2; threads++) {
        unet_session *session = session_of(engine, threads == 1 ? 1 : 5);
        const struct session_io io = {.pixels = {bytes, 3, values}, .mask = {mask[threads - 1], 0}};
        assert_ok(unet_session_reserve(session, HEIGHT, WIDTH, &error), &error);
        memory_fail_after(0); /* any allocation would fail … */
        unet_status status = session_run(session, &io, HEIGHT, WIDTH, &error);
        assert_int_equal(memory_fail_after(-1), 0); /* … and none was tried */
        assert_ok(status, &error);
        unet_session_close(&session);
    }
    assert_memory_equal(mask[0], mask[1], sizeof mask[0]);
    unet_engine_close(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_are_those_of_the_logits),
        cmocka_unit_test(pixels_are_their_planes),
        cmocka_unit_test(a_mask_costs_no_planes_and_no_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
