/* One image or array → mask: the steps around a session's run. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/options.h"
#include "image/image.h"
#include "run/session.h"

#define DEFAULT_THRESHOLD 0.5

/* The options of one call, checked, with defaults filled in. */
struct request {
    const struct engine_facts *facts;
    unet_preprocess preprocess;
    struct pixel_range range;
    double threshold;
    bool want_logits, want_prob, for_images_only;
};

/* The network's input, planes or pixels, of height × width. */
struct input {
    struct session_io io;
    int height, width;
};

/* ---------------------------------------------------------------- options */

static unet_status check_range(const unet_predict_options *options, unet_error *error)
{
    if (!options->range_set)
        return UNET_OK;
    double low = options->range_low, high = options->range_high;
    if (!isfinite(low) || !isfinite(high) || low >= high)
        return error_set(error, UNET_ERROR_USAGE,
                         "range %g,%g: the low end must lie below the high", low, high);
    if (options->range_percentile && (low < 0 || high > 100))
        return error_set(error, UNET_ERROR_USAGE, "range %g,%g: percentiles go from 0 to 100", low,
                         high);
    return UNET_OK;
}

static unet_status check_options(const unet_predict_options *options, unet_error *error)
{
    if (!isfinite(options->scale) || options->scale < 0)
        return error_set(error, UNET_ERROR_USAGE, "scale %g: give a number above 0",
                         options->scale);
    if (!(options->threshold >= 0 && options->threshold < 1))
        return error_set(error, UNET_ERROR_USAGE, "threshold %g: give a number above 0 and below 1",
                         options->threshold);
    return check_range(options, error);
}

static unet_status read_request(const unet_session *session, const unet_predict_options *options,
                                struct request *request, unet_error *error)
{
    unet_predict_options known;
    TRY(options_read(&known, sizeof known, options, "unet_predict_options", error));
    TRY(check_options(&known, error));
    const struct engine_facts *facts = &session_engine(session)->facts;
    if (facts->classes > UNET_MAX_CLASSES)
        return error_set(error, UNET_ERROR_MODEL,
                         "the network has %d classes; masks hold %d: use unet_session_run",
                         facts->classes, UNET_MAX_CLASSES);
    *request = (struct request){
        .facts = facts,
        .preprocess = facts->preprocess,
        .range = {known.range_set, known.range_percentile, known.range_low, known.range_high},
        .threshold = known.threshold > 0 ? known.threshold : DEFAULT_THRESHOLD,
        .want_logits = known.want_logits,
        .want_prob = known.want_prob,
        .for_images_only = known.range_set || known.scale > 0};
    if (known.scale > 0)
        request->preprocess.scale = known.scale;
    return UNET_OK;
}

/* ---------------------------------------------------------------- logits → prediction */

static unet_status allocate_floats(size_t count, const char *what, float **floats,
                                   unet_error *error)
{
    *floats = memory_alloc_array(count, sizeof **floats);
    if (*floats == NULL)
        return error_memory(error, count * sizeof **floats, what);
    return UNET_OK;
}

/* All else was checked before: what a run may object to is this input's size. */
static unet_status run(unet_session *session, const struct input *input, unet_error *error)
{
    unet_status status = session_run(session, &input->io, input->height, input->width, error);
    if (status != UNET_ERROR_USAGE)
        return status;
    if (error != NULL)
        error->status = UNET_ERROR_INPUT;
    return UNET_ERROR_INPUT;
}

/* Runs, and brings the logits to the prediction's size. */
static unet_status make_logits(unet_session *session, struct input *input,
                               unet_prediction *prediction, unet_error *error)
{
    int classes = prediction->classes, height = prediction->height, width = prediction->width;
    size_t run_count = (size_t)classes * (size_t)input->height * (size_t)input->width;
    float *run_logits;
    TRY(allocate_floats(run_count, "logits", &run_logits, error));
    prediction->logits = input->io.logits = run_logits;
    TRY(run(session, input, error));
    if (input->height == height && input->width == width)
        return UNET_OK;
    prediction->logits = NULL;
    size_t count = (size_t)classes * (size_t)height * (size_t)width;
    unet_status status = allocate_floats(count, "resized logits", &prediction->logits, error);
    if (status == UNET_OK)
        status = tensor_resize_bilinear(run_logits, classes, input->height, input->width,
                                        prediction->logits, height, width, error);
    memory_free(run_logits);
    return status;
}

/* The mask and what else is wanted, from the logits. */
static unet_status finish(const struct request *request, unet_prediction *prediction,
                          unet_error *error)
{
    size_t pixels = (size_t)prediction->height * (size_t)prediction->width;
    size_t count = pixels * (size_t)prediction->classes;
    logits_to_mask(prediction->logits, prediction->classes, pixels, request->threshold,
                   prediction->mask);
    if (request->want_prob) {
        if (request->want_logits)
            TRY(allocate_floats(count, "probabilities", &prediction->prob, error));
        else
            prediction->prob = prediction->logits; /* in place */
        logits_to_prob(prediction->logits, prediction->classes, pixels, prediction->prob);
    }
    if (prediction->prob == prediction->logits)
        prediction->logits = NULL;
    if (!request->want_logits) {
        memory_free(prediction->logits);
        prediction->logits = NULL;
    }
    return UNET_OK;
}

/* The greatest logit that a single class does not win with. */
static float rival(const struct request *request)
{
    return nextafterf(logit_border(request->threshold), -INFINITY);
}

/* Where nobody wants the logits, the network writes the mask itself. */
static unet_status make_prediction(unet_session *session, const struct request *request,
                                   struct input *input, unet_prediction *prediction,
                                   unet_error *error)
{
    size_t pixels = (size_t)prediction->height * (size_t)prediction->width;
    bool same_size = input->height == prediction->height && input->width == prediction->width;
    prediction->mask = memory_alloc(pixels);
    if (prediction->mask == NULL)
        return error_memory(error, pixels, "a mask");
    if (same_size && !request->want_logits && !request->want_prob) {
        input->io.mask = (struct kernel_mask){prediction->mask, rival(request)};
        return run(session, input, error);
    }
    TRY(make_logits(session, input, prediction, error));
    return finish(request, prediction, error);
}

static unet_status predict_input(unet_session *session, const struct request *request,
                                 struct input *input, int height, int width,
                                 unet_prediction *prediction, unet_error *error)
{
    unet_prediction made = {.width = width, .height = height, .classes = request->facts->classes};
    unet_status status = make_prediction(session, request, input, &made, error);
    if (status == UNET_OK)
        *prediction = made;
    else
        unet_prediction_clear(&made);
    return status;
}

void unet_prediction_clear(unet_prediction *prediction)
{
    if (prediction == NULL)
        return;
    memory_free(prediction->mask);
    memory_free(prediction->logits);
    memory_free(prediction->prob);
    *prediction = (unet_prediction){0};
}

/* ---------------------------------------------------------------- images */

static unet_status predict_words(unet_session *session, const struct request *request,
                                 const unet_image *image, unet_prediction *prediction,
                                 unet_error *error)
{
    float *values;
    struct input input = {0};
    TRY(image_to_tensor(image, &request->preprocess, &request->range, request->facts->in_channels,
                        &values, &input.height, &input.width, error));
    input.io.input = values;
    unet_status status =
        predict_input(session, request, &input, image->height, image->width, prediction, error);
    memory_free_aligned(values);
    return status;
}

/* The network looks its numbers up as it reads the pixels. */
static unet_status predict_bytes(unet_session *session, const struct request *request,
                                 const unet_image *image, unet_prediction *prediction,
                                 unet_error *error)
{
    struct image_pixels pixels;
    TRY(image_to_pixels(image, &request->preprocess, &request->range, request->facts->in_channels,
                        &pixels, error));
    struct input input = {
        .io.pixels = {pixels.image.pixels, pixels.image.channels, pixels.values},
        .height = pixels.image.height,
        .width = pixels.image.width,
    };
    unet_status status =
        predict_input(session, request, &input, image->height, image->width, prediction, error);
    image_pixels_clear(&pixels);
    return status;
}

static unet_status predict_image(unet_session *session, const struct request *request,
                                 const unet_image *image, unet_prediction *prediction,
                                 unet_error *error)
{
    if (image->bits == 8)
        return predict_bytes(session, request, image, prediction, error);
    return predict_words(session, request, image, prediction, error);
}

unet_status unet_predict(unet_session *session, const unet_image *image,
                         const unet_predict_options *options, unet_prediction *prediction,
                         unet_error *error)
{
    if (session == NULL || image == NULL || image->pixels == NULL || prediction == NULL)
        return error_set(error, UNET_ERROR_USAGE,
                         "unet_predict needs a session, an image and a prediction");
    struct request request;
    TRY(read_request(session, options, &request, error));
    return predict_image(session, &request, image, prediction, error);
}

/* ---------------------------------------------------------------- arrays */

static bool side_fits(int64_t side)
{
    return side >= 1 && side <= UNET_MAX_SIDE;
}

/* uint8 H×W×C or H×W. */
static unet_status array_as_image(const unet_array *array, unet_image *image, unet_error *error)
{
    const int64_t *shape = array->shape;
    int64_t channels = array->rank == 3 ? shape[2] : 1;
    if ((array->rank != 2 && array->rank != 3) || channels < 1 || channels > UNET_MAX_CHANNELS)
        return error_set(error, UNET_ERROR_INPUT,
                         "a uint8 array must be height×width or height×width×channels with 1 to %d "
                         "channels; give others as float32, channels×height×width",
                         UNET_MAX_CHANNELS);
    if (!side_fits(shape[0]) || !side_fits(shape[1]) || shape[0] * shape[1] > UNET_MAX_PIXELS)
        return error_set(
            error, UNET_ERROR_INPUT,
            "a uint8 array of %lld×%lld: sides go from 1 to %d, with at most %d pixels",
            (long long)shape[1], (long long)shape[0], UNET_MAX_SIDE, UNET_MAX_PIXELS);
    *image = (unet_image){.width = (int)shape[1],
                          .height = (int)shape[0],
                          .channels = (int)channels,
                          .bits = 8,
                          .pixels = array->data};
    return UNET_OK;
}

/* float32 C×H×W, or H×W for a network of one channel. */
static unet_status array_as_input(const unet_array *array, int channels, struct input *input,
                                  unet_error *error)
{
    const int64_t *sides = array->shape + (array->rank == 3 ? 1 : 0);
    int64_t found = array->rank == 3 ? array->shape[0] : 1;
    if ((array->rank != 2 && array->rank != 3) || found != channels)
        return error_set(error, UNET_ERROR_INPUT,
                         "a float32 array must be %d×height×width for this network; it has %d axes "
                         "and %lld channels",
                         channels, array->rank, (long long)found);
    if (!side_fits(sides[0]) || !side_fits(sides[1]))
        return error_set(error, UNET_ERROR_INPUT,
                         "a float32 array of %lld×%lld pixels: sides go from 1 to %d",
                         (long long)sides[1], (long long)sides[0], UNET_MAX_SIDE);
    *input =
        (struct input){.io.input = array->data, .height = (int)sides[0], .width = (int)sides[1]};
    return UNET_OK;
}

/* True if `bits` are of a NaN or an infinity: an exponent of ones. */
static bool is_special(uint32_t bits)
{
    return (bits & 0x7f800000) == 0x7f800000;
}

/* `count` where there is none. It looks at whole blocks, which compilers do in SIMD. */
static size_t first_special(const float *values, size_t count)
{
    enum { BLOCK = 1024 };
    uint32_t bits[BLOCK];
    for (size_t at = 0; at < count; at += BLOCK) {
        size_t held = count - at < BLOCK ? count - at : BLOCK;
        unsigned found = 0;
        memcpy(bits, values + at, held * sizeof *bits);
        for (size_t i = 0; i < held; i++)
            found |= is_special(bits[i]);
        for (size_t i = 0; found && i < held; i++)
            if (is_special(bits[i]))
                return at + i;
    }
    return count;
}

/* One NaN would spread over all that the network sees of it, and no mask would show it. */
static unet_status check_finite(const unet_array *array, const struct input *input, int channels,
                                unet_error *error)
{
    const float *values = array->data;
    size_t width = (size_t)input->width, plane = (size_t)input->height * width;
    size_t count = (size_t)channels * plane, at = first_special(values, count);
    if (at == count)
        return UNET_OK;
    char channel[32] = "";
    if (array->rank == 3)
        snprintf(channel, sizeof channel, "%zu, ", at / plane);
    float value = values[at];
    return error_set(error, UNET_ERROR_INPUT,
                     "its value at [%s%zu, %zu] is %s, and the mask would not show it: replace "
                     "what is not finite, by numpy.nan_to_num for example",
                     channel, at % plane / width, at % width,
                     isnan(value) ? "nan"
                     : value > 0  ? "inf"
                                  : "-inf");
}

static unet_status predict_floats(unet_session *session, const struct request *request,
                                  const unet_array *array, unet_prediction *prediction,
                                  unet_error *error)
{
    struct input input = {0};
    if (request->for_images_only)
        return error_set(
            error, UNET_ERROR_USAGE,
            "a float32 array is fed as it is: give no scale and no range, or an image");
    TRY(array_as_input(array, request->facts->in_channels, &input, error));
    TRY(check_finite(array, &input, request->facts->in_channels, error));
    return predict_input(session, request, &input, input.height, input.width, prediction, error);
}

unet_status unet_predict_array(unet_session *session, const unet_array *array,
                               const unet_predict_options *options, unet_prediction *prediction,
                               unet_error *error)
{
    if (session == NULL || array == NULL || array->data == NULL || prediction == NULL)
        return error_set(error, UNET_ERROR_USAGE,
                         "unet_predict_array needs a session, an array and a prediction");
    struct request request;
    unet_image image;
    TRY(read_request(session, options, &request, error));
    if (array->dtype == UNET_F32)
        return predict_floats(session, &request, array, prediction, error);
    if (array->dtype != UNET_U8)
        return error_set(error, UNET_ERROR_INPUT, "an array of %s; convert it to float32 or uint8",
                         unet_dtype_name(array->dtype));
    TRY(array_as_image(array, &image, error));
    return predict_image(session, &request, &image, prediction, error);
}
