/* Segments one image with nothing but the public header:
 *
 *     segment ENGINE|MODEL IMAGE MASK.png
 *
 * The mask is an 8-bit grey PNG, a pixel its class index. The way is always the same: a model or
 * an engine file becomes an engine, the engine a session, and the session turns images into
 * predictions. */
#include <unet.h>

#include <stdio.h>

/* An engine file is mapped; a checkpoint (.pth, .wts, .safetensors) is built in memory. */
static unet_status open_network(const char *path, unet_engine **engine, unet_error *error)
{
    if (unet_is_engine_file(path))
        return unet_engine_open(path, NULL, engine, error);
    unet_build_options options = UNET_BUILD_OPTIONS_INIT;
    options.timing = UNET_TIMING_OFF; /* timing kernels pays off where the engine is kept */
    unet_model *model = NULL;
    unet_status status = unet_model_open(path, &model, error);
    if (status == UNET_OK)
        status = unet_build(model, &options, engine, error);
    unet_model_close(&model); /* the engine has what it needs */
    return status;
}

/* How much of the image each class takes. */
static void print_shares(const unet_prediction *prediction)
{
    size_t counts[UNET_MAX_CLASSES] = {0};
    size_t pixels = (size_t)prediction->width * (size_t)prediction->height;
    for (size_t i = 0; i < pixels; i++)
        counts[prediction->mask[i]]++;
    for (int c = 0; c < UNET_MAX_CLASSES; c++)
        if (counts[c] > 0)
            printf("class %d: %.2f%%\n", c, 100.0 * (double)counts[c] / (double)pixels);
}

static unet_status segment(unet_session *session, const char *image_path, const char *mask_path,
                           unet_error *error)
{
    unet_image image = {0};
    unet_prediction prediction = {0};
    unet_status status = unet_image_load(image_path, &image, error);
    if (status == UNET_OK)
        status = unet_predict(session, &image, NULL, &prediction, error);
    if (status == UNET_OK) {
        unet_image mask = {prediction.width, prediction.height, 1, 8, prediction.mask};
        status = unet_mask_save(mask_path, &mask, error);
    }
    if (status == UNET_OK)
        print_shares(&prediction);
    unet_prediction_clear(&prediction);
    unet_image_clear(&image);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: segment ENGINE|MODEL IMAGE MASK.png\n");
        return 2;
    }
    unet_error error;
    unet_engine *engine = NULL;
    unet_session *session = NULL;
    unet_status status = open_network(argv[1], &engine, &error);
    if (status == UNET_OK)
        status = unet_session_create(engine, NULL, &session, &error);
    if (status == UNET_OK) /* a session can be used for any number of images, one at a time */
        status = segment(session, argv[2], argv[3], &error);
    if (status != UNET_OK)
        fprintf(stderr, "segment: %s: %s\n", unet_status_name(status), error.message);
    unet_session_close(&session);
    unet_engine_close(&engine);
    return status == UNET_OK ? 0 : 1;
}
