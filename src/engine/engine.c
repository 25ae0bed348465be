#include "engine/engine.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/options.h"
#include "engine/format.h"
#include "engine/machine.h"
#include "graph/passes.h"

/* ---------------------------------------------------------------- packed weights */

static bool is_aligned(const void *pointer)
{
    return (uintptr_t)pointer % MEMORY_ALIGNMENT == 0;
}

static unet_status allocate_packed(unet_engine *engine, unet_error *error)
{
    engine->own_packed = memory_alloc_aligned(engine->plan.packed_bytes);
    if (engine->own_packed == NULL)
        return error_memory(error, engine->plan.packed_bytes, "packed weights");
    engine->packed = engine->own_packed;
    return UNET_OK;
}

/* Only bytes that came through a pipe lie unaligned. */
static unet_status use_packed(unet_engine *engine, unet_error *error)
{
    const struct engine_section_entry *entry = &engine->sections[ENGINE_PACKED];
    if (entry->bytes != engine->plan.packed_bytes)
        return error_set(error, UNET_ERROR_MODEL,
                         "its packed weights have %zu bytes where its kernels need %zu; rebuild it "
                         "with 'unet build'",
                         entry->bytes, engine->plan.packed_bytes);
    TRY(engine_check_section(engine, ENGINE_PACKED, error));
    engine->packed = engine->file.bytes + entry->offset;
    if (is_aligned(engine->packed))
        return UNET_OK;
    const void *unaligned = engine->packed;
    TRY(allocate_packed(engine, error));
    memcpy(engine->own_packed, unaligned, entry->bytes);
    return UNET_OK;
}

static unet_status repack(unet_engine *engine, unet_error *error)
{
    TRY(engine_check_section(engine, ENGINE_WEIGHTS, error));
    TRY(graph_check(&engine->graph, error));
    TRY(allocate_packed(engine, error));
    plan_pack(&engine->plan, engine->own_packed);
    engine->repacked = true;
    return UNET_OK;
}

static bool same_kernels(const struct plan *plan, const char *const *names)
{
    for (int i = 0; i < plan->step_count; i++)
        if (strcmp(plan->steps[i].kernel->name, names[i]) != 0)
            return false;
    return true;
}

/* The recorded kernels where the engine was built for this target and they run here; else the
 * target's own choice, for which the weights are packed anew. */
static unet_status plan_for_target(unet_engine *engine, const char *const *names,
                                   const struct log *log, unet_error *error)
{
    char target[TARGET_NAME_BYTES];
    unet_error why = {.message = "it was built for another machine"};
    bool changed;
    target_name(&engine->target, target);
    TRY(engine_adapt_graph(engine, log, &changed, error));
    if (!changed && strcmp(engine->built_for, target) == 0) {
        unet_status status =
            plan_create(&engine->graph, engine->target, names, log, &engine->plan, &why);
        if (status == UNET_OK)
            return use_packed(engine, error);
        if (status == UNET_ERROR_MEMORY)
            return error_set(error, status, "%s", why.message);
    }
    TRY(plan_create(&engine->graph, engine->target, NULL, log, &engine->plan, error));
    if (!changed && same_kernels(&engine->plan, names))
        return use_packed(engine, error);
    TRY(repack(engine, error));
    if (!changed)
        log_line(
            log, LOG_NOTICE,
            "the engine's weights, packed for %s, were packed anew for %s in memory: %s; 'unet "
            "build' takes an engine too, and times its kernels here",
            engine->built_for, target, why.message);
    return UNET_OK;
}

/* ---------------------------------------------------------------- open */

static unet_status name_fusions(unet_engine *engine, unet_error *error)
{
    const struct plan *plan = &engine->plan;
    engine->fused = memory_calloc((size_t)plan->step_count, sizeof *engine->fused);
    if (engine->fused == NULL)
        return error_memory(error, (size_t)plan->step_count * sizeof *engine->fused, "an engine");
    for (int i = 0; i < plan->step_count; i++)
        if (plan->steps[i].node != GRAPH_NONE)
            graph_fused_text(&engine->graph.nodes[plan->steps[i].node], engine->fused[i],
                             sizeof engine->fused[i]);
    return UNET_OK;
}

static unet_status open_bytes(unet_engine *engine, const char *device, const struct log *log,
                              unet_error *error)
{
    const char *const *names;
    TRY(engine_read(engine, &names, error));
    TRY(engine_choose_target(engine, device, log, error));
    target_device(&engine->target, engine->device);
    TRY(plan_for_target(engine, names, log, error));
    TRY(engine_upload(engine, error));
    return name_fusions(engine, error);
}

unet_status unet_engine_open(const char *path, const unet_engine_options *options,
                             unet_engine **engine, unet_error *error)
{
    if (path == NULL || engine == NULL)
        return error_set(error, UNET_ERROR_USAGE, "unet_engine_open needs a path and an engine");
    unet_engine_options known;
    TRY(options_read(&known, sizeof known, options, "unet_engine_options", error));
    unet_engine *made = memory_calloc(1, sizeof *made);
    if (made == NULL)
        return error_memory(error, sizeof *made, "an engine");
    struct log log = {.function = known.log, .user = known.log_user};
    unet_status status = file_map_open(path, 0, UNET_ERROR_MODEL, &made->file, error);
    if (status == UNET_OK) {
        status = open_bytes(made, known.device, &log, error);
        if (status != UNET_OK)
            error_prefix(error, status, "%s", path);
    }
    if (status == UNET_OK)
        *engine = made;
    else
        unet_engine_close(&made);
    return status;
}

unet_status engine_open_block(void *block, size_t bytes, const char *device, const struct log *log,
                              unet_engine **engine, unet_error *error)
{
    unet_engine *made = memory_calloc(1, sizeof *made);
    if (made == NULL) {
        memory_free_aligned(block);
        return error_memory(error, sizeof *made, "an engine");
    }
    made->block = block;
    made->file = (struct file_map){.bytes = block, .size = bytes};
    unet_status status = open_bytes(made, device, log, error);
    if (status == UNET_OK)
        *engine = made;
    else
        unet_engine_close(&made);
    return status;
}

unet_status engine_create(struct graph *graph, const struct plan *plan,
                          const struct engine_facts *facts, unet_engine **engine, unet_error *error)
{
    void *block;
    size_t bytes;
    char device[DEVICE_NAME_BYTES];
    target_device(&plan->target, device);
    TRY(engine_write(graph, plan, facts, &block, &bytes, error));
    TRY(engine_open_block(block, bytes, device, NULL, engine, error));
    graph_clear(graph);
    return UNET_OK;
}

void unet_engine_close(unet_engine **address)
{
    unet_engine *engine = address != NULL ? *address : NULL;
    if (engine == NULL)
        return;
    *address = NULL;
    plan_clear(&engine->plan);
    graph_clear(&engine->graph);
    memory_free(engine->fused);
    memory_free_aligned(engine->own_packed);
    engine_forget_upload(engine);
    target_close(&engine->target);
    if (engine->block != NULL)
        memory_free_aligned(engine->block);
    else
        file_map_close(&engine->file);
    memory_free(engine);
}

/* ---------------------------------------------------------------- save, verify, ask */

unet_status unet_engine_save(const unet_engine *engine, const char *path, unet_error *error)
{
    if (engine == NULL || path == NULL)
        return error_set(error, UNET_ERROR_USAGE, "unet_engine_save needs an engine and a path");
    return file_write_whole(path, engine->file.bytes, engine->file.size, error);
}

unet_status unet_engine_verify(const unet_engine *engine, unet_error *error)
{
    if (engine == NULL)
        return error_set(error, UNET_ERROR_USAGE, "unet_engine_verify needs an engine");
    for (int i = 0; i < ENGINE_SECTION_COUNT; i++)
        TRY(engine_check_section(engine, (enum engine_section)i, error));
    return graph_check(&engine->graph, error);
}

bool unet_is_engine_file(const char *path)
{
    int descriptor = path != NULL ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (descriptor < 0)
        return false;
    char start[ENGINE_MAGIC_BYTES];
    struct stat about;
    bool is_engine = fstat(descriptor, &about) == 0 && S_ISREG(about.st_mode) &&
                     read(descriptor, start, sizeof start) == (ssize_t)sizeof start &&
                     memcmp(start, ENGINE_MAGIC, sizeof start) == 0;
    close(descriptor);
    return is_engine;
}

unet_status unet_engine_get_info(const unet_engine *engine, unet_engine_info *info,
                                 unet_error *error)
{
    if (engine == NULL || info == NULL)
        return error_set(error, UNET_ERROR_USAGE, "unet_engine_get_info needs an engine and info");
    const struct engine_facts *facts = &engine->facts;
    const unet_engine_info known = {.architecture = facts->architecture,
                                    .precision = engine_graph_precision(&engine->graph),
                                    .built_for = engine->built_for,
                                    .repacked = engine->repacked,
                                    .format_version = ENGINE_VERSION,
                                    .in_channels = facts->in_channels,
                                    .classes = facts->classes,
                                    .tuned_height = facts->tuned_height,
                                    .tuned_width = facts->tuned_width,
                                    .parameter_count = facts->parameter_count,
                                    .file_bytes = engine->file.size,
                                    .layer_count = (size_t)engine->plan.step_count,
                                    .preprocess = facts->preprocess,
                                    .mask_value_count = facts->mask_value_count,
                                    .mask_value_channels = facts->mask_value_channels,
                                    .mask_values = facts->mask_values,
                                    .built_precision = engine->built_precision,
                                    .device = engine->device,
                                    .device_name = target_device_name(&engine->target)};
    return options_write(info, &known, sizeof known, "unet_engine_info", error);
}

static const char *op_name(const unet_engine *engine, const struct plan_step *step)
{
    if (step->node != GRAPH_NONE)
        return graph_op_name(engine->graph.nodes[step->node].op);
    return step->desc.op == KERNEL_LOAD ? "load" : "store";
}

static const char *type_name(const struct plan_step *step)
{
    static const enum graph_type types[KERNEL_TYPE_COUNT] = {[KERNEL_F32] = GRAPH_F32,
                                                             [KERNEL_F16] = GRAPH_F16,
                                                             [KERNEL_BF16] = GRAPH_BF16,
                                                             [KERNEL_U8] = GRAPH_U8,
                                                             [KERNEL_E4M3] = GRAPH_E4M3};
    enum kernel_type type = step->desc.store_out ? step->desc.out_type : step->desc.pooled_type;
    return engine_precision_name(types[type]);
}

unet_status unet_engine_get_layer(const unet_engine *engine, size_t index, unet_layer_info *info,
                                  unet_error *error)
{
    if (engine == NULL || info == NULL || index >= (size_t)engine->plan.step_count)
        return error_set(error, UNET_ERROR_USAGE, "layer %zu: the engine has %d layers", index,
                         engine != NULL ? engine->plan.step_count : 0);
    const struct plan_step *step = &engine->plan.steps[index];
    unet_layer_info known = {.name = plan_step_name(&engine->plan, step),
                             .op = op_name(engine, step),
                             .fused = engine->fused[index],
                             .kernel = step->kernel->name,
                             .out_channels = step->desc.out_channels,
                             .weight_bytes = step->packed_bytes,
                             .type = type_name(step)};
    for (int i = 0; i < step->desc.source_count; i++)
        known.in_channels += step->desc.source_channels[i];
    return options_write(info, &known, sizeof known, "unet_layer_info", error);
}
