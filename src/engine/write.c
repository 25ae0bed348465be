#include <string.h>

#include "base/memory.h"
#include "engine/format.h"

/* A section under construction. `failed` is kept until the end, so that a chain of puts needs one
 * test. */
struct buffer {
    uint8_t *bytes;
    size_t used, capacity;
    bool failed;
};

static void put(struct buffer *buffer, const void *bytes, size_t count)
{
    if (buffer->failed)
        return;
    if (count > buffer->capacity - buffer->used) {
        size_t capacity = (buffer->capacity + count) * 2;
        uint8_t *grown = memory_realloc(buffer->bytes, capacity);
        if (grown == NULL) {
            buffer->failed = true;
            return;
        }
        buffer->bytes = grown;
        buffer->capacity = capacity;
    }
    memcpy(buffer->bytes + buffer->used, bytes, count);
    buffer->used += count;
}

static void put_u16(struct buffer *buffer, uint16_t value)
{
    put(buffer, &value, sizeof value);
}

static void put_u32(struct buffer *buffer, uint32_t value)
{
    put(buffer, &value, sizeof value);
}

static void put_u64(struct buffer *buffer, uint64_t value)
{
    put(buffer, &value, sizeof value);
}

/* A field of fixed width, padded with zeros. */
static void put_text(struct buffer *buffer, const char *text, size_t width)
{
    char field[64] = {0};
    size_t length = strnlen(text, width - 1);
    memcpy(field, text, length);
    put(buffer, field, width);
}

static void put_name(struct buffer *buffer, const char *name)
{
    size_t length = name != NULL ? strnlen(name, ENGINE_MAX_NAME) : 0;
    put_u16(buffer, (uint16_t)length);
    put(buffer, name != NULL ? name : "", length);
}

static void put_index(struct buffer *buffer, int value)
{
    put_u32(buffer, value == GRAPH_NONE ? ENGINE_NONE : (uint32_t)value);
}

/* ---------------------------------------------------------------- sections */

static void put_facts(struct buffer *buffer, const struct engine_facts *facts,
                      const char *precision)
{
    const unet_preprocess *preprocess = &facts->preprocess;
    put_text(buffer, facts->architecture, sizeof facts->architecture);
    put_text(buffer, precision, 16);
    put_u32(buffer, (uint32_t)facts->in_channels);
    put_u32(buffer, (uint32_t)facts->classes);
    put_u32(buffer, (uint32_t)facts->width);
    put_u32(buffer, (uint32_t)facts->tuned_height);
    put_u32(buffer, (uint32_t)facts->tuned_width);
    put_u32(buffer, (uint32_t)preprocess->normalize);
    put_u64(buffer, (uint64_t)facts->parameter_count);
    put(buffer, &preprocess->scale, sizeof preprocess->scale);
    put(buffer, preprocess->mean, sizeof preprocess->mean);
    put(buffer, preprocess->std, sizeof preprocess->std);
    put_u32(buffer, (uint32_t)facts->mask_value_count);
    put_u32(buffer, (uint32_t)facts->mask_value_channels);
}

static void put_node(struct buffer *buffer, const struct graph_node *node)
{
    put_u32(buffer, engine_op_code(node->op));
    put_u32(buffer, node->relu ? 1 : 0);
    put_u32(buffer, (uint32_t)node->kernel_h);
    put_u32(buffer, (uint32_t)node->kernel_w);
    put_u32(buffer, (uint32_t)node->stride);
    put_u32(buffer, (uint32_t)node->padding);
    put_u32(buffer, (uint32_t)node->upsampled);
    put_index(buffer, node->output);
    put_index(buffer, node->pooled);
    put_index(buffer, node->head);
    put_u32(buffer, (uint32_t)node->input_count);
    for (int i = 0; i < node->input_count; i++)
        put_index(buffer, node->inputs[i]);
    struct graph_node copy = *node;
    for (int i = 0; i < ENGINE_NODE_CONSTANTS; i++) {
        const struct graph_constant *constant = engine_node_constant(&copy, i);
        put_u64(buffer, constant->data != NULL ? (uint64_t)constant->count : 0);
    }
    put_name(buffer, node->name);
}

static void put_graph(struct buffer *buffer, const struct graph *graph)
{
    put_u32(buffer, (uint32_t)graph->value_count);
    put_u32(buffer, (uint32_t)graph->node_count);
    put_index(buffer, graph->input);
    put_index(buffer, graph->output);
    put_u32(buffer, graph->sigmoid_output ? 1 : 0);
    put_u32(buffer, graph->tf32 ? 1 : 0);
    put_u32(buffer, (uint32_t)graph->normalize);
    for (int i = 0; i < graph->value_count; i++) {
        put_u32(buffer, (uint32_t)graph->values[i].channels);
        put_u32(buffer, engine_type_code(graph->values[i].type));
        put_u32(buffer, graph->values[i].zero);
        put_name(buffer, graph->values[i].name);
    }
    for (int i = 0; i < graph->node_count; i++)
        put_node(buffer, &graph->nodes[i]);
}

static void put_steps(struct buffer *buffer, const struct plan *plan)
{
    char target[TARGET_NAME_BYTES];
    target_name(&plan->target, target);
    put_text(buffer, target, 16);
    put_u32(buffer, (uint32_t)plan->step_count);
    for (int i = 0; i < plan->step_count; i++)
        put_name(buffer, plan->steps[i].kernel->name);
}

/* Calls for each constant of the graph with its place in the weights section; returns the
 * section's size. `into` may be NULL: only the size is wanted. */
static size_t copy_weights(const struct graph *graph, uint8_t *into)
{
    size_t position = 0;
    for (int n = 0; n < graph->node_count; n++) {
        struct graph_node node = graph->nodes[n];
        for (int i = 0; i < ENGINE_NODE_CONSTANTS; i++) {
            const struct graph_constant *constant = engine_node_constant(&node, i);
            if (constant->data == NULL)
                continue;
            size_t bytes = (size_t)constant->count * sizeof(float);
            size_t padding = -bytes % ENGINE_CONSTANT_ALIGNMENT;
            if (into != NULL) {
                memcpy(into + position, constant->data, bytes);
                memset(into + position + bytes, 0, padding);
            }
            position += bytes + padding;
        }
    }
    return position;
}

/* ---------------------------------------------------------------- the file */

struct draft {
    struct buffer facts, graph, steps;
    struct engine_section_entry sections[ENGINE_SECTION_COUNT];
    uint8_t *block;
    size_t bytes;
};

static unet_status draft_small_sections(const struct graph *graph, const struct plan *plan,
                                        const struct engine_facts *facts, struct draft *draft,
                                        unet_error *error)
{
    put_facts(&draft->facts, facts, engine_graph_precision(graph));
    put_graph(&draft->graph, graph);
    put_steps(&draft->steps, plan);
    if (draft->facts.failed || draft->graph.failed || draft->steps.failed)
        return error_memory(error, draft->graph.capacity, "an engine's graph");
    draft->sections[ENGINE_FACTS].bytes = draft->facts.used;
    draft->sections[ENGINE_GRAPH].bytes = draft->graph.used;
    draft->sections[ENGINE_STEPS].bytes = draft->steps.used;
    draft->sections[ENGINE_MASK_VALUES].bytes =
        facts->mask_value_count * (size_t)facts->mask_value_channels;
    draft->sections[ENGINE_WEIGHTS].bytes = copy_weights(graph, NULL);
    draft->sections[ENGINE_PACKED].bytes = plan->packed_bytes;
    return UNET_OK;
}

static void free_small_sections(struct draft *draft)
{
    memory_free(draft->facts.bytes);
    memory_free(draft->graph.bytes);
    memory_free(draft->steps.bytes);
}

static unet_status allocate_block(struct draft *draft, unet_error *error)
{
    size_t end = ENGINE_HEADER_BYTES;
    for (int i = 0; i < ENGINE_SECTION_COUNT; i++) {
        draft->sections[i].offset = engine_section_offset((enum engine_section)i, end);
        end = draft->sections[i].offset + draft->sections[i].bytes;
    }
    draft->bytes = end;
    draft->block = memory_alloc_aligned(end);
    if (draft->block == NULL)
        return error_memory(error, end, "an engine");
    return UNET_OK;
}

static void fill_section(struct draft *draft, enum engine_section section, const void *bytes)
{
    if (draft->sections[section].bytes > 0)
        memcpy(draft->block + draft->sections[section].offset, bytes,
               draft->sections[section].bytes);
}

static void fill_gaps(struct draft *draft)
{
    size_t end = ENGINE_HEADER_BYTES;
    for (int i = 0; i < ENGINE_SECTION_COUNT; i++) {
        memset(draft->block + end, 0, draft->sections[i].offset - end);
        end = draft->sections[i].offset + draft->sections[i].bytes;
    }
}

static uint8_t *store(uint8_t *at, const void *bytes, size_t count)
{
    memcpy(at, bytes, count);
    return at + count;
}

static unet_status fill_header(struct draft *draft, unet_error *error)
{
    const uint32_t version = ENGINE_VERSION, count = ENGINE_SECTION_COUNT, reserved = 0;
    uint64_t file_bytes = draft->bytes;
    uint8_t *at = store(draft->block, ENGINE_MAGIC, ENGINE_MAGIC_BYTES);
    at = store(at, &version, sizeof version);
    at = store(at, &count, sizeof count);
    at = store(at, &file_bytes, sizeof file_bytes);
    for (uint32_t i = 0; i < ENGINE_SECTION_COUNT; i++) {
        uint32_t id = i + 1;
        uint64_t offset = draft->sections[i].offset, bytes = draft->sections[i].bytes;
        struct hash128 hash;
        TRY(hash_in_pieces(draft->block + offset, bytes, &hash, error));
        at = store(at, &id, sizeof id);
        at = store(at, &reserved, sizeof reserved);
        at = store(at, &offset, sizeof offset);
        at = store(at, &bytes, sizeof bytes);
        at = store(at, hash.bytes, sizeof hash.bytes);
    }
    struct hash128 hash = hash_bytes(draft->block, ENGINE_HASHED_BYTES);
    store(at, hash.bytes, sizeof hash.bytes);
    return UNET_OK;
}

unet_status engine_write(const struct graph *graph, const struct plan *plan,
                         const struct engine_facts *facts, void **block, size_t *bytes,
                         unet_error *error)
{
    struct draft draft = {0};
    unet_status status = draft_small_sections(graph, plan, facts, &draft, error);
    if (status == UNET_OK)
        status = allocate_block(&draft, error);
    if (status == UNET_OK) {
        fill_gaps(&draft);
        fill_section(&draft, ENGINE_FACTS, draft.facts.bytes);
        fill_section(&draft, ENGINE_GRAPH, draft.graph.bytes);
        fill_section(&draft, ENGINE_STEPS, draft.steps.bytes);
        fill_section(&draft, ENGINE_MASK_VALUES, facts->mask_values);
        copy_weights(graph, draft.block + draft.sections[ENGINE_WEIGHTS].offset);
        plan_pack(plan, draft.block + draft.sections[ENGINE_PACKED].offset);
        status = fill_header(&draft, error);
    }
    if (status == UNET_OK) {
        *block = draft.block;
        *bytes = draft.bytes;
    } else {
        memory_free_aligned(draft.block);
    }
    free_small_sections(&draft);
    return status;
}
