#include "build/trial.h"

#include <string.h>

#include "base/memory.h"
#include "base/threads.h"
#include "graph/passes.h"
#include "plan/candidates.h"
#include "quant/rescale.h"
#include "run/session.h"

bool trial_is_layer(const struct graph_node *node)
{
    return node->op == GRAPH_CONV || node->op == GRAPH_CONV_TRANSPOSE;
}

/* ---------------------------------------------------------------- the book */

struct kernel_book_entry {
    char *name;
    enum kernel_type type;
    const struct kernel *kernel;
};

static unet_status grow(struct kernel_book *book, int count, unet_error *error)
{
    if (count <= book->capacity)
        return UNET_OK;
    size_t bytes = (size_t)count * sizeof *book->entries;
    struct kernel_book_entry *grown = memory_realloc(book->entries, bytes);
    if (grown == NULL)
        return error_memory(error, bytes, "kernels");
    book->entries = grown;
    book->capacity = count;
    return UNET_OK;
}

unet_status kernel_book_add(struct kernel_book *book, const struct plan *plan, unet_error *error)
{
    TRY(grow(book, book->count + plan->step_count, error));
    for (int i = 0; i < plan->step_count; i++) {
        const struct plan_step *step = &plan->steps[i];
        char *name = memory_strdup(plan_step_name(plan, step));
        if (name == NULL)
            return error_memory(error, 1, "kernels");
        book->entries[book->count++] =
            (struct kernel_book_entry){name, step->desc.in_type, step->kernel};
    }
    return UNET_OK;
}

void kernel_book_clear(struct kernel_book *book)
{
    for (int i = 0; i < book->count; i++)
        memory_free(book->entries[i].name);
    memory_free(book->entries);
    *book = (struct kernel_book){0};
}

static const struct kernel *book_find(const struct kernel_book *book, const char *name,
                                      enum kernel_type type)
{
    for (int i = 0; book != NULL && i < book->count; i++)
        if (book->entries[i].type == type && strcmp(book->entries[i].name, name) == 0)
            return book->entries[i].kernel;
    return NULL;
}

/* ---------------------------------------------------------------- the plan */

/* Passes drop nodes, so they are known by their names. */
static const struct kernel *wanted_kernel(const struct trial_request *request, const char *name)
{
    for (int n = 0; request->kernels != NULL && n < request->graph->node_count; n++)
        if (strcmp(request->graph->nodes[n].name, name) == 0)
            return request->kernels[n];
    return NULL;
}

static bool runs(const struct plan *plan, const struct plan_step *step, const struct kernel *kernel)
{
    char text[128];
    return kernel != NULL && kernel->op == step->desc.op &&
           target_refusal(&plan->target, kernel, &step->desc, text, sizeof text) == NULL;
}

static const char *pick(const struct trial_request *request, const struct plan *plan,
                        const struct plan_step *step)
{
    const char *name = plan_step_name(plan, step);
    const struct kernel *wanted = wanted_kernel(request, name);
    const struct kernel *usual = book_find(request->book, name, step->desc.in_type);
    if (runs(plan, step, wanted))
        return wanted->name;
    return runs(plan, step, usual) ? usual->name : step->kernel->name;
}

static unet_status make_plan(const struct trial_request *request, const struct graph *graph,
                             struct plan *plan, unet_error *error)
{
    struct plan usual;
    TRY(plan_create(graph, request->target, NULL, NULL, &usual, error));
    size_t count = (size_t)usual.step_count;
    const char **names = memory_calloc(count, sizeof *names);
    unet_status status = UNET_OK;
    if (names == NULL)
        status = error_memory(error, count * sizeof *names, "kernel names");
    for (size_t i = 0; i < count && status == UNET_OK; i++)
        names[i] = pick(request, &usual, &usual.steps[i]);
    if (status == UNET_OK)
        status = plan_create(graph, request->target, names, NULL, plan, error);
    memory_free(names);
    plan_clear(&usual);
    return status;
}

unet_status trial_graph(const struct graph *from, const enum graph_type *types, bool apart,
                        struct graph *typed, unet_error *error)
{
    TRY(graph_copy(from, typed, error));
    graph_set_types(typed, types);
    unet_status status = quant_shift(typed, error);
    if (status == UNET_OK && !apart)
        status = graph_fuse_upsample(typed, error);
    if (status != UNET_OK)
        graph_clear(typed);
    return status;
}

unet_status trial_plan(const struct trial_request *request, struct graph *graph, struct plan *plan,
                       unet_error *error)
{
    bool apart = request->apart || target_is_device(&request->target);
    TRY(trial_graph(request->graph, request->types, apart, graph, error));
    unet_status status = make_plan(request, graph, plan, error);
    if (status != UNET_OK)
        graph_clear(graph);
    return status;
}

enum graph_type trial_node_type(const struct graph *graph, const char *name)
{
    for (int n = 0; n < graph->node_count; n++)
        if (strcmp(graph->nodes[n].name, name) == 0)
            return graph->values[graph->nodes[n].inputs[0]].type;
    return GRAPH_F32;
}

/* ---------------------------------------------------------------- running */

static void pack_step(void *context, int index, int thread)
{
    (void)thread;
    struct trial *trial = context;
    const struct plan_step *step = &trial->engine.plan.steps[index];
    struct kernel_weights weights = plan_step_weights(&trial->engine.plan, step);
    if (step->packed_bytes > 0)
        step->kernel->pack(step->kernel, &step->desc, &weights,
                           (char *)trial->packed + step->packed_offset);
}

static unet_status pack(struct trial *trial, struct thread_pool *pool, unet_error *error)
{
    unet_engine *engine = &trial->engine;
    size_t bytes = engine->plan.packed_bytes;
    trial->packed = memory_alloc_aligned(bytes);
    if (trial->packed == NULL)
        return error_memory(error, bytes, "packed weights");
    thread_pool_run(pool, engine->plan.step_count, pack_step, trial);
    engine->packed = trial->packed;
    return UNET_OK;
}

static unet_status start_on_cpu(struct trial *trial, int threads, unet_error *error)
{
    unet_session_options options = UNET_SESSION_OPTIONS_INIT;
    options.threads = threads;
    TRY(unet_session_create(&trial->engine, &options, &trial->session, error));
    return pack(trial, session_threads(trial->session), error);
}

/* A session there has no threads, but packing for it takes as long as packing for the CPU. */
static unet_status start_on_device(struct trial *trial, int threads, unet_error *error)
{
    struct thread_pool *pool = NULL;
    TRY(thread_pool_create(threads, &pool, error));
    unet_status status = pack(trial, pool, error);
    thread_pool_free(&pool);
    TRY(status);
    TRY(engine_upload(&trial->engine, error));
    memory_free_aligned(trial->packed);
    trial->packed = NULL;
    return unet_session_create(&trial->engine, NULL, &trial->session, error);
}

static unet_status start(const struct trial_request *request, struct trial *trial,
                         unet_error *error)
{
    unet_engine *engine = &trial->engine;
    TRY(trial_plan(request, &engine->graph, &engine->plan, error));
    engine->facts = *request->facts;
    engine->target = request->target;
    if (target_is_device(&request->target))
        return start_on_device(trial, request->threads, error);
    return start_on_cpu(trial, request->threads, error);
}

unet_status trial_create(const struct trial_request *request, struct trial **trial,
                         unet_error *error)
{
    struct trial *made = memory_calloc(1, sizeof *made);
    if (made == NULL)
        return error_memory(error, sizeof *made, "a trial");
    unet_status status = start(request, made, error);
    if (status == UNET_OK)
        *trial = made;
    else
        trial_free(&made);
    return status;
}

void trial_free(struct trial **address)
{
    struct trial *trial = address != NULL ? *address : NULL;
    if (trial == NULL)
        return;
    *address = NULL;
    unet_session_close(&trial->session);
    memory_free_aligned(trial->packed);
    engine_forget_upload(&trial->engine);
    plan_clear(&trial->engine.plan);
    graph_clear(&trial->engine.graph);
    memory_free(trial);
}
