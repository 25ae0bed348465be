/* runtime_only ENGINE INPUT.npy LOGITS.npy: what a deployed program does, linked with the runtime
 * library alone, every object of it. That this links proves that nothing in there refers to the
 * readers of checkpoints or to the builder; that it runs and agrees with PyTorch, that nothing is
 * missing. */
#include <unet.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 1e-3

static int fail(const char *what, const unet_error *error)
{
    fprintf(stderr, "%s: %s\n", what, error->message);
    return 1;
}

/* The libraries that only the builder needs must not even be loaded. */
static int foreign_libraries(void)
{
    static const char *const foreign[] = {"libzip", "libjansson", "libunet.so"};
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];
    int found = 0;
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
            found += strstr(line, foreign[i]) != NULL;
    if (maps != NULL)
        fclose(maps);
    return found;
}

static double difference(const float *a, const float *b, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, isnan(a[i]) ? INFINITY : fabs((double)a[i] - (double)b[i]));
    return most;
}

static int compare(unet_session *session, const unet_array *input, const unet_array *expected)
{
    unet_error error = {0};
    unet_prediction prediction;
    unet_predict_options options = UNET_PREDICT_OPTIONS_INIT;
    options.want_logits = true;
    if (unet_predict_array(session, input, &options, &prediction, &error) != UNET_OK)
        return fail("prediction", &error);
    size_t count = (size_t)prediction.classes * (size_t)(prediction.width * prediction.height);
    double most = difference(prediction.logits, expected->data, count);
    printf("%d × %d, %d classes: logits differ by %g\n", prediction.width, prediction.height,
           prediction.classes, most);
    unet_prediction_clear(&prediction);
    return most > LIMIT;
}

int main(int argc, char **argv)
{
    unet_error error = {0};
    unet_engine *engine = NULL;
    unet_session *session = NULL;
    unet_array input = {0}, expected = {0};
    if (argc != 4 || foreign_libraries() > 0)
        return 2;
    int failed;
    if (unet_array_load(argv[2], &input, &error) != UNET_OK ||
        unet_array_load(argv[3], &expected, &error) != UNET_OK)
        failed = fail("arrays", &error);
    else if (unet_engine_open(argv[1], NULL, &engine, &error) != UNET_OK ||
             unet_session_create(engine, NULL, &session, &error) != UNET_OK)
        failed = fail("engine", &error);
    else
        failed = compare(session, &input, &expected);
    unet_session_close(&session);
    unet_engine_close(&engine);
    unet_array_clear(&input);
    unet_array_clear(&expected);
    return failed;
}
