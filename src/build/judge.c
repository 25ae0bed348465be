#include "build/judge.h"

#include <string.h>
#include <strings.h>

#include "base/memory.h"

struct judged_image {
    unet_image image; /* without pixels: the array is it */
    unet_array array;
    double scale;
    uint8_t *reference; /* height × width */
    int height, width;
};

size_t judge_count(size_t count)
{
    size_t wanted = count / 4, least = 2, half = count / 2;
    wanted = wanted > least ? wanted : least;
    wanted = wanted < JUDGE_MOST_IMAGES ? wanted : JUDGE_MOST_IMAGES;
    wanted = wanted < half ? wanted : half;
    return wanted > 0 ? wanted : count;
}

/* ---------------------------------------------------------------- images */

static void clear_image(struct judged_image *image)
{
    unet_image_clear(&image->image);
    unet_array_clear(&image->array);
    memory_free(image->reference);
    *image = (struct judged_image){0};
}

static bool is_array_name(const char *path)
{
    size_t length = strlen(path);
    return length > 4 && strcasecmp(path + length - 4, ".npy") == 0;
}

static unet_status resize(const struct judge_request *request, struct judged_image *judged,
                          unet_error *error)
{
    unet_image resized;
    judged->scale = 1;
    if (judged->image.width == request->width && judged->image.height == request->height)
        return UNET_OK;
    TRY(unet_image_resize(&judged->image, request->width, request->height, &resized, error));
    unet_image_clear(&judged->image);
    judged->image = resized;
    return UNET_OK;
}

static unet_status load(const struct judge_request *request, const char *path,
                        struct judged_image *judged, unet_error *error)
{
    *judged = (struct judged_image){0};
    if (is_array_name(path))
        return unet_array_load(path, &judged->array, error);
    TRY(unet_image_load(path, &judged->image, error));
    return request->width > 0 ? resize(request, judged, error) : UNET_OK;
}

static uint64_t pixels_of(const struct judged_image *judged)
{
    uint64_t pixels = (uint64_t)judged->image.width * (uint64_t)judged->image.height;
    for (int i = 0; judged->array.data != NULL && i < judged->array.rank; i++)
        pixels = (i == 0 ? 1 : pixels) * (uint64_t)judged->array.shape[i];
    return pixels;
}

/* The first of images [from, to) that can be read, if any. */
static unet_status take_one(const struct judge_request *request, struct judge *judge, size_t from,
                            size_t to, bool *taken, unet_error *error)
{
    for (size_t i = from; i < to; i++) {
        struct judged_image *next = &judge->images[judge->count];
        unet_status status = load(request, request->images[i], next, error);
        if (status == UNET_OK) {
            taken[i] = true;
            judge->pixels += pixels_of(next);
            judge->count++;
            return UNET_OK;
        }
        clear_image(next);
        if (status != UNET_ERROR_INPUT)
            return status;
        log_line(request->log, request->quiet ? LOG_DETAIL : LOG_NOTICE, "%s; it will not be used",
                 error->message);
    }
    return UNET_OK;
}

/* From the middle of each of as many equal parts of the list on. */
static unet_status take(const struct judge_request *request, struct judge *judge, bool *taken,
                        unet_error *error)
{
    for (size_t j = 0; j < request->wanted; j++) {
        size_t from = (2 * j + 1) * request->count / (2 * request->wanted);
        size_t to = (2 * j + 3) * request->count / (2 * request->wanted);
        if (judge->count >= 2 && judge->pixels > JUDGE_MOST_PIXELS)
            return UNET_OK;
        TRY(take_one(request, judge, from, to < request->count ? to : request->count, taken,
                     error));
    }
    for (size_t i = 0; i < request->count && judge->count == 0; i++)
        if (!taken[i])
            TRY(take_one(request, judge, i, i + 1, taken, error));
    return UNET_OK;
}

unet_status judge_open(const struct judge_request *request, struct judge *judge, bool *taken,
                       unet_error *error)
{
    unet_error own = {UNET_OK, ""};
    *judge = (struct judge){0};
    judge->images = memory_calloc(request->wanted, sizeof *judge->images);
    if (judge->images == NULL)
        return error_memory(error, request->wanted * sizeof *judge->images, "images");
    unet_status status = take(request, judge, taken, &own);
    if (status == UNET_OK && judge->count == 0)
        status = UNET_ERROR_INPUT;
    if (status != UNET_OK) {
        judge_close(judge);
        return error_set(error, status, "%s%s",
                         status == UNET_ERROR_INPUT ? "none of the images can be read; the last: "
                                                    : "",
                         own.message);
    }
    return UNET_OK;
}

void judge_close(struct judge *judge)
{
    for (size_t i = 0; i < judge->count; i++)
        clear_image(&judge->images[i]);
    memory_free(judge->images);
    *judge = (struct judge){0};
}

/* ---------------------------------------------------------------- masks */

static unet_status predict(const struct judged_image *judged, unet_session *session,
                           unet_prediction *prediction, unet_error *error)
{
    unet_predict_options options = UNET_PREDICT_OPTIONS_INIT;
    options.scale = judged->scale;
    if (judged->array.data != NULL)
        return unet_predict_array(session, &judged->array, NULL, prediction, error);
    return unet_predict(session, &judged->image, &options, prediction, error);
}

unet_status judge_set_reference(struct judge *judge, unet_session *session, unet_error *error)
{
    judge->classes = session_engine(session)->facts.classes;
    for (size_t i = 0; i < judge->count; i++) {
        struct judged_image *image = &judge->images[i];
        unet_prediction prediction;
        TRY(predict(image, session, &prediction, error));
        memory_free(image->reference);
        image->reference = prediction.mask;
        image->height = prediction.height;
        image->width = prediction.width;
        prediction.mask = NULL;
        unet_prediction_clear(&prediction);
    }
    return UNET_OK;
}

static unet_status add_image(const struct judged_image *image, unet_session *session,
                             unet_flips *flips, unet_error *error)
{
    unet_prediction prediction;
    TRY(predict(image, session, &prediction, error));
    unet_status status = unet_flips_add(flips, image->reference, prediction.mask, image->width,
                                        image->height, NULL, error);
    unet_prediction_clear(&prediction);
    return status;
}

unet_status judge_masks(const struct judge *judge, unet_session *session,
                        struct budget_verdict *verdict, unet_error *error)
{
    unet_flips flips;
    int classes = judge->classes > 1 ? judge->classes : 2; /* of one class masks are 0 and 1 */
    TRY(unet_flips_new(classes, &flips, error));
    unet_status status = UNET_OK;
    for (size_t i = 0; i < judge->count && status == UNET_OK; i++)
        status = add_image(&judge->images[i], session, &flips, error);
    if (status == UNET_OK)
        *verdict = (struct budget_verdict){unet_flips_share(&flips), flips.worst_share,
                                           unet_flips_least_iou(&flips, NULL)};
    unet_flips_clear(&flips);
    return status;
}
