#include "engine/machine.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "engine/format.h"
#include "graph/passes.h"

/* ---------------------------------------------------------------- the target */

static bool built_for_cpu(const unet_engine *engine)
{
    for (int tier = 0; tier < CPU_TIER_COUNT; tier++)
        if (strcmp(engine->built_for, cpu_tier_name((enum cpu_tier)tier)) == 0)
            return true;
    return false;
}

static unet_status use_cpu(unet_engine *engine, unet_error *error)
{
    enum cpu_tier tier;
    TRY(cpu_tier_allowed(&tier, error));
    engine->target = target_cpu(tier);
    return UNET_OK;
}

/* The first device, where there is one. */
static unet_status use_any(unet_engine *engine, int level, const struct log *log, unet_error *error)
{
    unet_error why;
    if (target_open(0, &engine->target, &why) == UNET_OK)
        return UNET_OK;
    log_line(log, level, "the engine, built for %s, runs on the CPU: %s", engine->built_for,
             why.message);
    return use_cpu(engine, error);
}

unet_status engine_choose_target(unet_engine *engine, const char *device, const struct log *log,
                                 unet_error *error)
{
    int index;
    if (device == NULL)
        return built_for_cpu(engine) ? use_cpu(engine, error)
                                     : use_any(engine, LOG_NOTICE, log, error);
    if (strcmp(device, "cpu") == 0)
        return use_cpu(engine, error);
    if (strcmp(device, "auto") == 0)
        return use_any(engine, LOG_DETAIL, log, error);
    TRY(device_parse(device, &index, error));
    return target_open(index, &engine->target, error);
}

/* ---------------------------------------------------------------- the graph */

static bool has_type(const struct graph *graph, enum graph_type type)
{
    for (int i = 0; i < graph->value_count; i++)
        if (graph->values[i].type == type)
            return true;
    return false;
}

static const char *type_refusal(const unet_engine *engine, enum graph_type type, char *text,
                                size_t bytes)
{
    return target_type_refusal(&engine->target, plan_kernel_type(type), false, text, bytes);
}

/* What the target would run no faster than float32, or not at all, becomes another type. */
static bool drop_type(unet_engine *engine, enum graph_type type, enum graph_type to,
                      const struct log *log)
{
    char text[160];
    const char *reason = type_refusal(engine, type, text, sizeof text);
    if (reason == NULL || !has_type(&engine->graph, type))
        return false;
    graph_widen_type(&engine->graph, type, to);
    log_line(log, LOG_NOTICE,
             "the engine has layers in %s, which %s; they run in %s, their weights packed anew "
             "in memory",
             engine_precision_name(type), reason, engine_precision_name(to));
    return true;
}

/* To 16 bits where the target has them, but those of bf16 alone: whether the weights of a rescaled
 * graph fit into fp16 nobody has looked at. */
static bool drop_e4m3(unet_engine *engine, const struct log *log)
{
    char text[160];
    bool bf16 = type_refusal(engine, GRAPH_BF16, text, sizeof text) == NULL;
    return drop_type(engine, GRAPH_E4M3, bf16 ? GRAPH_BF16 : GRAPH_F32, log);
}

static bool drop_types(unet_engine *engine, const struct log *log)
{
    bool e4m3 = drop_e4m3(engine, log);
    bool f16 = drop_type(engine, GRAPH_F16, GRAPH_F32, log);
    bool bf16 = drop_type(engine, GRAPH_BF16, GRAPH_F32, log);
    return e4m3 || f16 || bf16;
}

static bool drop_tf32(unet_engine *engine, const struct log *log)
{
    char text[160];
    const char *reason = target_type_refusal(&engine->target, KERNEL_F32, true, text, sizeof text);
    if (reason == NULL || !engine->graph.tf32)
        return false;
    engine->graph.tf32 = false;
    log_line(log, LOG_NOTICE, "the engine is one of tf32, which %s; it runs in fp32", reason);
    return true;
}

/* Bytes stay bytes: they are what the masks were judged with. A CPU has kernels for them always. */
static unet_status check_bytes(const unet_engine *engine, unet_error *error)
{
    char text[160], name[TARGET_NAME_BYTES];
    if (!target_is_device(&engine->target) || !has_type(&engine->graph, GRAPH_U8))
        return UNET_OK;
    const char *reason = target_type_refusal(&engine->target, KERNEL_U8, false, text, sizeof text);
    if (reason == NULL)
        return UNET_OK;
    char precisions[TARGET_PRECISIONS_BYTES];
    target_precisions(&engine->target, precisions);
    target_name(&engine->target, name);
    return error_set(error, UNET_ERROR_DEVICE,
                     "an engine of int8 is none for %s, which runs %s; build one for it, or use "
                     "the CPU",
                     name, precisions);
}

static bool has_fused_upsample(const struct graph *graph)
{
    for (int i = 0; i < graph->node_count; i++)
        if (graph->nodes[i].upsampled > 0)
            return true;
    return false;
}

unet_status engine_adapt_graph(unet_engine *engine, const struct log *log, bool *changed,
                               unet_error *error)
{
    struct graph *graph = &engine->graph;
    TRY(check_bytes(engine, error));
    bool types = drop_types(engine, log);
    *changed = drop_tf32(engine, log) || types;
    if (target_is_device(&engine->target) && has_fused_upsample(graph)) {
        *changed = true;
        return graph_separate_upsample(graph, error);
    }
    if (!target_is_device(&engine->target) && !built_for_cpu(engine)) {
        *changed = true;
        return graph_fuse_upsample(graph, error);
    }
    return UNET_OK;
}

/* ---------------------------------------------------------------- the weights */

static unet_status upload(unet_engine *engine, struct device_stream *stream, unet_error *error)
{
    const struct device_backend *backend = engine->target.backend;
    TRY(backend->upload(stream, engine->device_packed, engine->packed, engine->plan.packed_bytes,
                        error));
    return backend->wait(stream, error);
}

unet_status engine_upload(unet_engine *engine, unet_error *error)
{
    const struct device_backend *backend = engine->target.backend;
    struct device_stream *stream;
    if (!target_is_device(&engine->target))
        return UNET_OK;
    if (engine->plan.packed_bytes > 0) {
        TRY(backend->alloc(engine->target.device, engine->plan.packed_bytes, &engine->device_packed,
                           error));
        TRY(backend->stream_open(engine->target.device, &stream, error));
        unet_status status = upload(engine, stream, error);
        backend->stream_close(stream);
        TRY(status);
    }
    memory_free_aligned(engine->own_packed);
    engine->own_packed = NULL;
    engine->packed = NULL;
    return UNET_OK;
}

void engine_forget_upload(unet_engine *engine)
{
    if (engine->device_packed != NULL)
        engine->target.backend->free(engine->target.device, engine->device_packed);
    engine->device_packed = NULL;
}
