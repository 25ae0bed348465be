/* make_engine MODEL ENGINE: what the tests of the runtime library need from the whole one. */
#include <unet.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    unet_error error = {0};
    unet_model *model = NULL;
    unet_engine *engine = NULL;
    unet_build_options options = UNET_BUILD_OPTIONS_INIT;
    options.timing = UNET_TIMING_OFF; /* the same kernels in every test run */
    if (argc != 3)
        return 2;
    unet_status status = unet_model_open(argv[1], &model, &error);
    if (status == UNET_OK)
        status = unet_build(model, &options, &engine, &error);
    if (status == UNET_OK)
        status = unet_engine_save(engine, argv[2], &error);
    if (status != UNET_OK)
        fprintf(stderr, "%s\n", error.message);
    unet_engine_close(&engine);
    unet_model_close(&model);
    return status == UNET_OK ? 0 : 1;
}
