/* An engine that was built elsewhere, or without timing, with kernels that are timed here. */
#include <string.h>

#include "base/memory.h"
#include "build/build.h"
#include "build/plan_build.h"
#include "engine/engine.h"

/* What it is made of was decided when it was built. */
static unet_status check_options(const unet_build_options *options, unet_error *error)
{
    const unet_preprocess *preprocess = &options->preprocess;
    const char *given = options->precision != UNET_PRECISION_AUTO ? "a precision is"
                        : options->calibration_count > 0          ? "images are"
                        : options->calibration_table != NULL      ? "a table is"
                        : preprocess->normalize != UNET_NORMALIZE_DEFAULT || preprocess->scale != 0
                            ? "preprocessing is"
                            : NULL;
    if (given == NULL)
        return UNET_OK;
    return error_set(error, UNET_ERROR_USAGE,
                     "%s given, but an engine has its own; build the checkpoint instead", given);
}

static unet_status plan_timed(struct planner *planner, const struct graph *graph,
                              const struct engine_facts *facts, unet_engine **engine,
                              unet_error *error)
{
    struct graph copy;
    struct plan plan;
    TRY(graph_copy(graph, &copy, error));
    unet_status status = planner_plan(planner, &copy, &plan, NULL, error);
    if (status == UNET_OK) {
        status = planner_save(planner, error);
        if (status == UNET_OK)
            status = engine_create(&copy, &plan, facts, engine, error);
        plan_clear(&plan);
    }
    graph_clear(&copy);
    return status;
}

unet_status unet_engine_retime(const unet_engine *engine, const unet_build_options *options,
                               unet_engine **retimed, unet_error *error)
{
    unet_build_options known;
    bool size_given;
    if (engine == NULL || retimed == NULL)
        return error_set(error, UNET_ERROR_USAGE, "unet_engine_retime needs two engines");
    TRY(build_options_read(options, &known, &size_given, error));
    TRY(check_options(&known, error));
    TRY(unet_engine_verify(engine, error));
    struct engine_facts facts = engine->facts;
    if (size_given) {
        facts.tuned_height = known.height;
        facts.tuned_width = known.width;
    } else {
        known.height = facts.tuned_height;
        known.width = facts.tuned_width;
    }
    known.device = engine->device; /* for which its graph is laid out by now */
    const struct log log = {.function = known.log, .user = known.log_user};
    struct planner planner;
    unet_status status = planner_open(&known, &log, &planner, error);
    if (status == UNET_OK)
        status = plan_timed(&planner, &engine->graph, &facts, retimed, error);
    planner_close(&planner);
    return status;
}
