/* unet_predict against the same steps taken one by one, with plain arithmetic of the test's own
 * where the library has its own. */
#include "unit/engine/network.h"

#include <float.h>
#include <math.h>

#define HEIGHT 23
#define WIDTH  34
#define PIXELS (HEIGHT * WIDTH)

static unet_session *session_of(const unet_engine *engine)
{
    unet_error error;
    unet_session *session = NULL;
    unet_session_options options = {.size = sizeof options, .threads = 2};
    assert_ok(unet_session_create(engine, &options, &session, &error), &error);
    return session;
}

/* One 3×3 convolution: enough where only channels and classes matter. */
static unet_engine *plain_engine(int in_channels, int classes)
{
    unet_error error;
    uint64_t seed = 40;
    struct plan plan;
    unet_engine *engine = NULL;
    struct engine_facts facts = network_facts();
    struct graph graph = network_start(in_channels);
    facts.in_channels = in_channels;
    facts.classes = classes;
    graph.output = network_conv(&graph, "only", graph.input, classes, 3, &seed);
    assert_ok(plan_create(&graph, target_cpu(CPU_TIER_C), NULL, NULL, &plan, &error), &error);
    assert_ok(engine_create(&graph, &plan, &facts, &engine, &error), &error);
    plan_clear(&plan);
    return engine;
}

static void noise_image(int channels, unet_image *image)
{
    unet_error error;
    uint64_t seed = 17;
    assert_ok(unet_image_new(WIDTH, HEIGHT, channels, 8, image, &error), &error);
    uint8_t *pixels = image->pixels;
    for (int i = 0; i < PIXELS * channels; i++)
        pixels[i] = (uint8_t)random_next(&seed);
}

/* Divided by 255 and made planar. */
static float *plane_values(const unet_image *image)
{
    size_t pixels = (size_t)(image->width * image->height), channels = (size_t)image->channels;
    float *values = memory_alloc_array(pixels * channels, sizeof *values);
    const uint8_t *bytes = image->pixels;
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < pixels; i++)
            values[c * pixels + i] = (float)bytes[i * channels + c] / 255.0f;
    return values;
}

static float *logits_of(unet_session *session, const unet_image *image, int classes)
{
    unet_error error;
    float *values = plane_values(image);
    size_t count = (size_t)(classes * image->width * image->height);
    float *logits = memory_alloc_array(count, sizeof *logits);
    assert_ok(unet_session_run(session, values, 1, image->height, image->width, logits, &error),
              &error);
    memory_free(values);
    return logits;
}

static int argmax_at(const float *logits, int classes, int pixels, int at)
{
    int best = 0;
    for (int c = 1; c < classes; c++)
        if (logits[c * pixels + at] > logits[best * pixels + at])
            best = c;
    return best;
}

static void assert_mask(const unet_prediction *prediction, const float *logits)
{
    int pixels = prediction->width * prediction->height;
    for (int i = 0; i < pixels; i++)
        assert_int_equal(prediction->mask[i], argmax_at(logits, prediction->classes, pixels, i));
}

static void a_mask_is_the_argmax_of_the_logits(void **state)
{
    (void)state;
    unet_error error;
    unet_image image;
    unet_prediction prediction;
    unet_predict_options options = UNET_PREDICT_OPTIONS_INIT;
    unet_engine *engine = network_engine(false, 12);
    unet_session *session = session_of(engine);
    noise_image(3, &image);
    float *logits = logits_of(session, &image, 5);
    options.want_logits = options.want_prob = true;
    assert_ok(unet_predict(session, &image, &options, &prediction, &error), &error);
    assert_int_equal(prediction.width, WIDTH);
    assert_int_equal(prediction.height, HEIGHT);
    assert_int_equal(prediction.classes, 5);
    assert_memory_equal(prediction.logits, logits, 5 * PIXELS * sizeof *logits);
    assert_mask(&prediction, logits);
    for (int i = 0; i < PIXELS; i++) {
        double sum = 0;
        for (int c = 0; c < 5; c++)
            sum += exp((double)logits[c * PIXELS + i]);
        for (int c = 0; c < 5; c++)
            assert_true(fabs(exp((double)logits[c * PIXELS + i]) / sum -
                             (double)prediction.prob[c * PIXELS + i]) < 1e-6);
    }
    unet_prediction_clear(&prediction);
    assert_null(prediction.mask);
    assert_ok(unet_predict(session, &image, NULL, &prediction, &error), &error);
    assert_null(prediction.logits);
    assert_null(prediction.prob);
    assert_mask(&prediction, logits);
    unet_prediction_clear(&prediction);
    memory_free(logits);
    unet_image_clear(&image);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

static void probabilities_alone_are_the_same(void **state)
{
    (void)state;
    unet_error error;
    unet_image image;
    unet_prediction both, alone;
    unet_engine *engine = network_engine(true, 12);
    unet_session *session = session_of(engine);
    noise_image(3, &image);
    unet_predict_options options = {.size = sizeof options, .want_prob = true};
    assert_ok(unet_predict(session, &image, &options, &alone, &error), &error);
    options.want_logits = true;
    assert_ok(unet_predict(session, &image, &options, &both, &error), &error);
    assert_null(alone.logits);
    assert_memory_equal(alone.prob, both.prob, 5 * PIXELS * sizeof *both.prob);
    assert_memory_equal(alone.mask, both.mask, PIXELS);
    unet_prediction_clear(&alone);
    unet_prediction_clear(&both);
    unet_image_clear(&image);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

/* interpolate(mode="bilinear", align_corners=False) in double. */
static double bilinear_at(const float *plane, int height, int width, double y, double x)
{
    y = y < 0 ? 0 : y;
    x = x < 0 ? 0 : x;
    int top = (int)y, left = (int)x;
    int bottom = top + 1 < height ? top + 1 : top, right = left + 1 < width ? left + 1 : left;
    double fy = y - top, fx = x - left;
    double upper = plane[top * width + left] * (1 - fx) + plane[top * width + right] * fx;
    double lower = plane[bottom * width + left] * (1 - fx) + plane[bottom * width + right] * fx;
    return upper * (1 - fy) + lower * fy;
}

static void a_scale_shrinks_before_and_grows_after(void **state)
{
    (void)state;
    enum { SMALL_HEIGHT = (int)(HEIGHT * 0.5), SMALL_WIDTH = (int)(WIDTH * 0.5) };
    unet_error error;
    unet_image image, small;
    unet_prediction prediction;
    unet_engine *engine = network_engine(false, 12);
    unet_session *session = session_of(engine);
    noise_image(3, &image);
    assert_ok(unet_image_resize(&image, SMALL_WIDTH, SMALL_HEIGHT, &small, &error), &error);
    float *logits = logits_of(session, &small, 5);
    unet_predict_options options = {.size = sizeof options, .scale = 0.5, .want_logits = true};
    assert_ok(unet_predict(session, &image, &options, &prediction, &error), &error);
    assert_int_equal(prediction.width, WIDTH);
    assert_int_equal(prediction.height, HEIGHT);
    for (int c = 0; c < 5; c++) {
        for (int i = 0; i < PIXELS; i++) {
            double y = (i / WIDTH + 0.5) * SMALL_HEIGHT / HEIGHT - 0.5;
            double x = (i % WIDTH + 0.5) * SMALL_WIDTH / WIDTH - 0.5;
            double expected = bilinear_at(logits + c * SMALL_HEIGHT * SMALL_WIDTH, SMALL_HEIGHT,
                                          SMALL_WIDTH, y, x);
            assert_true(fabs(expected - (double)prediction.logits[c * PIXELS + i]) < 1e-5);
        }
    }
    assert_mask(&prediction, prediction.logits);
    unet_prediction_clear(&prediction);
    memory_free(logits);
    unet_image_clear(&image);
    unet_image_clear(&small);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

static void one_class_is_a_threshold(void **state)
{
    (void)state;
    const double thresholds[] = {0, 0.5, 0.3, 0.55};
    unet_error error;
    unet_image image;
    unet_prediction prediction;
    unet_engine *engine = plain_engine(1, 1);
    unet_session *session = session_of(engine);
    noise_image(1, &image);
    float *logits = logits_of(session, &image, 1);
    for (size_t t = 0; t < sizeof thresholds / sizeof thresholds[0]; t++) {
        unet_predict_options options = {
            .size = sizeof options, .threshold = thresholds[t], .want_prob = true};
        double threshold = thresholds[t] > 0 ? thresholds[t] : 0.5;
        assert_ok(unet_predict(session, &image, &options, &prediction, &error), &error);
        for (int i = 0; i < PIXELS; i++) {
            double prob = 1 / (1 + exp(-(double)logits[i]));
            assert_true(fabs(prob - (double)prediction.prob[i]) < 1e-6);
            if (fabs(prob - threshold) > 1e-6)
                assert_int_equal(prediction.mask[i], prob > threshold);
        }
        unet_prediction_clear(&prediction);
    }
    memory_free(logits);
    unet_image_clear(&image);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

/* ---------------------------------------------------------------- arrays */

static void arrays_of_bytes_are_images(void **state)
{
    (void)state;
    unet_error error;
    unet_image image;
    unet_prediction from_image, from_array;
    unet_engine *engine = network_engine(false, 12);
    unet_session *session = session_of(engine);
    for (int channels = 1; channels <= 3; channels += 2) {
        noise_image(channels, &image);
        unet_array array = {
            .dtype = UNET_U8, .rank = 3, .shape = {HEIGHT, WIDTH, channels}, .data = image.pixels};
        if (channels == 1)
            array.rank = 2;
        assert_ok(unet_predict(session, &image, NULL, &from_image, &error), &error);
        assert_ok(unet_predict_array(session, &array, NULL, &from_array, &error), &error);
        assert_memory_equal(from_image.mask, from_array.mask, PIXELS);
        unet_prediction_clear(&from_image);
        unet_prediction_clear(&from_array);
        unet_image_clear(&image);
    }
    unet_session_close(&session);
    unet_engine_close(&engine);
}

static void arrays_of_floats_are_fed_as_they_are(void **state)
{
    (void)state;
    unet_error error;
    unet_image image;
    unet_prediction prediction;
    unet_predict_options options = {.size = sizeof options, .want_logits = true};
    unet_engine *engine = network_engine(false, 12), *grey = plain_engine(1, 2);
    unet_session *session = session_of(engine);
    noise_image(3, &image);
    float *values = plane_values(&image), *logits = logits_of(session, &image, 5);
    unet_array array = {.dtype = UNET_F32, .rank = 3, .shape = {3, HEIGHT, WIDTH}, .data = values};
    assert_ok(unet_predict_array(session, &array, &options, &prediction, &error), &error);
    assert_memory_equal(prediction.logits, logits, 5 * PIXELS * sizeof *logits);
    unet_prediction_clear(&prediction);
    options.scale = 0.5;
    assert_error(unet_predict_array(session, &array, &options, &prediction, &error),
                 UNET_ERROR_USAGE, &error, "as it is");
    unet_session_close(&session);
    session = session_of(grey);
    array = (unet_array){.dtype = UNET_F32, .rank = 2, .shape = {HEIGHT, WIDTH}, .data = values};
    assert_ok(unet_predict_array(session, &array, NULL, &prediction, &error), &error);
    assert_int_equal(prediction.classes, 2);
    unet_prediction_clear(&prediction);
    unet_session_close(&session);
    memory_free(values);
    memory_free(logits);
    unet_image_clear(&image);
    unet_engine_close(&engine);
    unet_engine_close(&grey);
}

static void refuse_array(unet_session *session, const unet_array *array, const char *part)
{
    unet_error error;
    unet_prediction prediction = {0};
    assert_error(unet_predict_array(session, array, NULL, &prediction, &error), UNET_ERROR_INPUT,
                 &error, part);
    assert_null(prediction.mask);
}

static void values_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    enum { SIDE = 40 };
    static float values[3 * SIDE * SIDE];
    unet_engine *engine = network_engine(false, 12), *grey = plain_engine(1, 2);
    unet_session *session = session_of(engine), *grey_session = session_of(grey);
    const unet_array array = {UNET_F32, 3, {3, SIDE, SIDE}, values};
    values[(2 * SIDE + 39) * SIDE + 7] = NAN;
    refuse_array(session, &array, "[2, 39, 7] is nan");
    values[(1 * SIDE + 0) * SIDE + 39] = -INFINITY; /* the first is named */
    refuse_array(session, &array, "[1, 0, 39] is -inf");
    values[0] = INFINITY;
    refuse_array(session, &array, "[0, 0, 0] is inf");
    values[0] = 0;
    values[3 * SIDE + 2] = -NAN;
    refuse_array(grey_session, &(unet_array){UNET_F32, 2, {SIDE, SIDE}, values}, "[3, 2] is nan");
    values[3 * SIDE + 2] = FLT_MAX; /* finite, and beyond this array it does not look */
    unet_prediction prediction = {0};
    unet_error error;
    assert_ok(unet_predict_array(grey_session, &(unet_array){UNET_F32, 2, {SIDE, SIDE}, values},
                                 NULL, &prediction, &error),
              &error);
    unet_prediction_clear(&prediction);
    unet_session_close(&session);
    unet_session_close(&grey_session);
    unet_engine_close(&engine);
    unet_engine_close(&grey);
}

static void arrays_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    float values[3 * 4 * 4] = {0};
    unet_engine *engine = network_engine(false, 12);
    unet_session *session = session_of(engine);
    refuse_array(session, &(unet_array){UNET_F32, 3, {2, 4, 4}, values}, "3×height×width");
    refuse_array(session, &(unet_array){UNET_F32, 2, {4, 4}, values}, "3×height×width");
    refuse_array(session, &(unet_array){UNET_F32, 4, {1, 3, 4, 4}, values}, "4 axes");
    refuse_array(session, &(unet_array){UNET_F32, 3, {3, 0, 4}, values}, "4×0");
    refuse_array(session, &(unet_array){UNET_F32, 3, {3, 4, 40000}, values}, "40000");
    refuse_array(session, &(unet_array){UNET_U8, 3, {3, 4, 4}, values}, "has 4");
    refuse_array(session, &(unet_array){UNET_U8, 3, {1, 1, 17}, values}, "1 to 16");
    refuse_array(session, &(unet_array){UNET_U8, 1, {16}, values}, "height×width");
    refuse_array(session, &(unet_array){UNET_U8, 2, {32768, 32768}, values}, "32768×32768");
    refuse_array(session, &(unet_array){UNET_F64, 3, {3, 2, 2}, values}, "float64");
    unet_session_close(&session);
    unet_engine_close(&engine);
}

/* ---------------------------------------------------------------- misuse and lack of memory */

static void refuse_options(unet_session *session, const unet_image *image,
                           unet_predict_options options, const char *part)
{
    unet_error error;
    unet_prediction prediction;
    options.size = sizeof options;
    assert_error(unet_predict(session, image, &options, &prediction, &error), UNET_ERROR_USAGE,
                 &error, part);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    unet_error error;
    unet_image image;
    unet_prediction prediction;
    unet_engine *engine = network_engine(false, 12);
    unet_session *session = session_of(engine);
    noise_image(3, &image);
    refuse_options(session, &image, (unet_predict_options){.scale = -1}, "scale -1");
    refuse_options(session, &image, (unet_predict_options){.scale = NAN}, "scale");
    refuse_options(session, &image, (unet_predict_options){.threshold = 1}, "threshold 1");
    refuse_options(session, &image, (unet_predict_options){.threshold = NAN}, "threshold");
    refuse_options(session, &image,
                   (unet_predict_options){.range_set = true, .range_low = 5, .range_high = 5},
                   "range 5,5");
    refuse_options(
        session, &image,
        (unet_predict_options){
            .range_set = true, .range_percentile = true, .range_low = 1, .range_high = 101},
        "percentiles");
    assert_error(unet_predict(NULL, &image, NULL, &prediction, &error), UNET_ERROR_USAGE, &error,
                 "session");
    unet_prediction_clear(NULL);
    unet_image_clear(&image);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

static void networks_of_four_channels_take_no_images(void **state)
{
    (void)state;
    unet_error error;
    unet_image image;
    unet_prediction prediction;
    unet_engine *engine = plain_engine(4, 300);
    unet_session *session = session_of(engine);
    noise_image(3, &image);
    assert_error(unet_predict(session, &image, NULL, &prediction, &error), UNET_ERROR_MODEL, &error,
                 "300 classes");
    unet_session_close(&session);
    unet_engine_close(&engine);
    engine = plain_engine(4, 2);
    session = session_of(engine);
    assert_error(unet_predict(session, &image, NULL, &prediction, &error), UNET_ERROR_INPUT, &error,
                 "4 channels");
    unet_image_clear(&image);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

static void an_image_that_is_too_small_is_a_bad_input(void **state)
{
    (void)state;
    unet_error error = {0};
    unet_prediction prediction;
    uint8_t pixels[3 * 9] = {0};
    const unet_image image = {.width = 9, .height = 1, .channels = 3, .bits = 8, .pixels = pixels};
    unet_engine *engine = network_engine(false, 12);
    unet_session *session = session_of(engine);
    assert_error(unet_predict(session, &image, NULL, &prediction, &error), UNET_ERROR_INPUT, &error,
                 "too small");
    assert_int_equal(error.status, UNET_ERROR_INPUT);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    unet_error error;
    unet_image image;
    unet_prediction prediction = {0};
    unet_predict_options options = {
        .size = sizeof options, .scale = 0.5, .want_logits = true, .want_prob = true};
    unet_engine *engine = network_engine(false, 12);
    unet_session *session = session_of(engine);
    noise_image(3, &image);
    unet_status status = UNET_ERROR_MEMORY;
    int failures = 0;
    for (; status != UNET_OK; failures++) {
        memory_fail_after(failures);
        status = unet_predict(session, &image, &options, &prediction, &error);
        memory_fail_after(-1);
        if (status != UNET_OK) {
            assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
            assert_null(prediction.mask);
        }
    }
    assert_true(failures > 8);
    unet_prediction_clear(&prediction);
    unet_image_clear(&image);
    unet_session_close(&session);
    unet_engine_close(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mask_is_the_argmax_of_the_logits),
        cmocka_unit_test(probabilities_alone_are_the_same),
        cmocka_unit_test(a_scale_shrinks_before_and_grows_after),
        cmocka_unit_test(one_class_is_a_threshold),
        cmocka_unit_test(arrays_of_bytes_are_images),
        cmocka_unit_test(arrays_of_floats_are_fed_as_they_are),
        cmocka_unit_test(values_that_are_not_finite_are_refused),
        cmocka_unit_test(arrays_that_do_not_fit_are_refused),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(networks_of_four_channels_take_no_images),
        cmocka_unit_test(an_image_that_is_too_small_is_a_bad_input),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
