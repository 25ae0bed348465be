/* The reader of engine files. Nothing in the file is believed: header, facts, graph and steps are
 * hashed and checked in full; every size is what the rules of the format make it, so that no
 * section can overlap another. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/format.h"

#define REBUILD "rebuild it with 'unet build'"

unet_status engine_check_section(const unet_engine *engine, enum engine_section section,
                                 unet_error *error)
{
    const struct engine_section_entry *entry = &engine->sections[section];
    struct hash128 hash;
    TRY(hash_in_pieces(engine->file.bytes + entry->offset, entry->bytes, &hash, error));
    if (!hash_equal(&hash, &entry->hash))
        return error_set(error, UNET_ERROR_MODEL,
                         "its section '%s' is damaged; copy the file again or " REBUILD,
                         engine_section_name(section));
    return UNET_OK;
}

static unet_status invalid(enum engine_section section, const char *what, unet_error *error)
{
    return error_set(error, UNET_ERROR_MODEL, "its section '%s' is invalid: %s; " REBUILD,
                     engine_section_name(section), what);
}

static struct byte_reader section_reader(const unet_engine *engine, enum engine_section section)
{
    return (struct byte_reader){.bytes = engine->file.bytes + engine->sections[section].offset,
                                .size = engine->sections[section].bytes};
}

/* ---------------------------------------------------------------- header */

static unet_status check_magic(const struct file_map *file, unet_error *error)
{
    if (file->size >= ENGINE_MAGIC_BYTES &&
        memcmp(file->bytes, ENGINE_MAGIC, ENGINE_MAGIC_BYTES) == 0)
        return UNET_OK;
    if (file->size >= 4 && memcmp(file->bytes, ENGINE_MAGIC, 4) == 0)
        return error_set(error, UNET_ERROR_MODEL,
                         "is cut off or was changed as if it were text; copy it again as binary");
    return error_set(error, UNET_ERROR_MODEL,
                     "is not an engine file; 'unet build' makes one from a checkpoint");
}

/* Asked before any hash: an engine of another version is no damaged one. */
static unet_status check_prefix(const struct file_map *file, struct byte_reader *reader,
                                unet_error *error)
{
    TRY(check_magic(file, error));
    uint32_t version, count;
    uint64_t bytes;
    reader->position = ENGINE_MAGIC_BYTES;
    if (!read_u32(reader, &version))
        return error_set(error, UNET_ERROR_MODEL, "ends in its header; copy the file again");
    if (version != ENGINE_VERSION)
        return error_set(error, UNET_ERROR_MODEL,
                         "has engine format %u, this libunet (%s) reads %d; " REBUILD, version,
                         unet_version(), ENGINE_VERSION);
    if (!read_u32(reader, &count) || !read_u64(reader, &bytes) || file->size < ENGINE_HEADER_BYTES)
        return error_set(error, UNET_ERROR_MODEL, "ends in its header; copy the file again");
    struct hash128 expected, hash = hash_bytes(file->bytes, ENGINE_HASHED_BYTES);
    memcpy(expected.bytes, file->bytes + ENGINE_HASHED_BYTES, sizeof expected.bytes);
    if (!hash_equal(&hash, &expected))
        return error_set(error, UNET_ERROR_MODEL,
                         "its header is damaged; copy the file again or " REBUILD);
    if (bytes != file->size)
        return error_set(error, UNET_ERROR_MODEL,
                         "has %zu bytes where its header says %llu; copy the file again",
                         file->size, (unsigned long long)bytes);
    if (count != ENGINE_SECTION_COUNT)
        return error_set(error, UNET_ERROR_MODEL, "its header names %u sections, not %d; " REBUILD,
                         count, ENGINE_SECTION_COUNT);
    return UNET_OK;
}

static bool read_entry(struct byte_reader *reader, uint32_t id, struct engine_section_entry *entry)
{
    uint32_t stored_id, reserved;
    uint64_t offset, bytes;
    const uint8_t *hash;
    if (!read_u32(reader, &stored_id) || !read_u32(reader, &reserved) ||
        !read_u64(reader, &offset) || !read_u64(reader, &bytes) || !read_bytes(reader, 16, &hash))
        return false;
    entry->offset = offset;
    entry->bytes = bytes;
    memcpy(entry->hash.bytes, hash, sizeof entry->hash.bytes);
    return stored_id == id && reserved == 0;
}

static bool all_zero(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* A section may only lie where the rules put it. */
static bool place_is_right(const struct file_map *file, enum engine_section section, size_t *end,
                           const struct engine_section_entry *entry)
{
    if (entry->offset != engine_section_offset(section, *end) || entry->offset > file->size ||
        entry->bytes > file->size - entry->offset ||
        !all_zero(file->bytes + *end, entry->offset - *end))
        return false;
    *end = entry->offset + entry->bytes;
    return true;
}

static unet_status read_header(unet_engine *engine, unet_error *error)
{
    const struct file_map *file = &engine->file;
    struct byte_reader reader = {.bytes = file->bytes, .size = file->size};
    TRY(check_prefix(file, &reader, error));
    size_t end = ENGINE_HEADER_BYTES;
    for (uint32_t i = 0; i < ENGINE_SECTION_COUNT; i++) {
        struct engine_section_entry *entry = &engine->sections[i];
        if (!read_entry(&reader, i + 1, entry) ||
            !place_is_right(file, (enum engine_section)i, &end, entry))
            return error_set(
                error, UNET_ERROR_MODEL,
                "its section '%s' does not lie where it must; copy the file again or " REBUILD,
                engine_section_name((enum engine_section)i));
    }
    if (end != file->size)
        return error_set(error, UNET_ERROR_MODEL,
                         "%zu bytes follow its last section; copy the file again or " REBUILD,
                         file->size - end);
    return UNET_OK;
}

/* ---------------------------------------------------------------- texts */

static bool is_text(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] < 0x20 || bytes[i] == 0x7f)
            return false;
    return true;
}

/* A field of fixed width: text, then zeros to its end, at least one. */
static bool read_field(struct byte_reader *reader, char *text, size_t width)
{
    const uint8_t *bytes;
    if (!read_bytes(reader, width, &bytes))
        return false;
    size_t length = strnlen((const char *)bytes, width);
    if (length == width || !is_text(bytes, length) || !all_zero(bytes + length, width - length))
        return false;
    memcpy(text, bytes, width);
    return true;
}

/* `name` has room for ENGINE_MAX_NAME characters and the NUL. */
static bool read_name(struct byte_reader *reader, char *name)
{
    uint16_t length;
    const uint8_t *bytes;
    if (!read_u16(reader, &length) || length > ENGINE_MAX_NAME ||
        !read_bytes(reader, length, &bytes) || !is_text(bytes, length))
        return false;
    memcpy(name, bytes, length);
    name[length] = '\0';
    return true;
}

/* ---------------------------------------------------------------- facts */

static bool read_count(struct byte_reader *reader, uint32_t limit, int *value)
{
    uint32_t stored;
    if (!read_u32(reader, &stored) || stored > limit)
        return false;
    *value = (int)stored;
    return true;
}

static bool read_floats(struct byte_reader *reader, float *values, size_t count)
{
    const uint8_t *bytes;
    if (!read_bytes(reader, count * sizeof *values, &bytes))
        return false;
    memcpy(values, bytes, count * sizeof *values);
    return true;
}

static bool read_preprocess_values(struct byte_reader *reader, unet_preprocess *preprocess)
{
    uint64_t scale;
    if (!read_u64(reader, &scale) ||
        !read_floats(reader, preprocess->mean, UNET_MAX_MEAN_CHANNELS) ||
        !read_floats(reader, preprocess->std, UNET_MAX_MEAN_CHANNELS))
        return false;
    memcpy(&preprocess->scale, &scale, sizeof scale);
    return true;
}

static const char *preprocess_fault(const struct engine_facts *facts)
{
    const unet_preprocess *preprocess = &facts->preprocess;
    if (!(preprocess->scale > 0) || !isfinite(preprocess->scale))
        return "the scale is no positive number";
    if (preprocess->normalize != UNET_NORMALIZE_MEAN_STD)
        return NULL;
    if (facts->in_channels > UNET_MAX_MEAN_CHANNELS)
        return "there are more channels than means";
    for (int c = 0; c < facts->in_channels; c++)
        if (!isfinite(preprocess->mean[c]) || !isfinite(preprocess->std[c]) ||
            !(preprocess->std[c] > 0))
            return "a mean or standard deviation is no number";
    return NULL;
}

static const char *mask_fault(const unet_engine *engine, const struct engine_facts *facts)
{
    int channels = facts->mask_value_channels;
    bool none = facts->mask_value_count == 0 && channels == 0;
    if (!none && (facts->mask_value_count == 0 || (channels != 1 && channels != 3)))
        return "the mask values have no channels";
    if (facts->mask_value_count * (size_t)channels != engine->sections[ENGINE_MASK_VALUES].bytes)
        return "the count of mask values is not their section's";
    return NULL;
}

static bool parse_facts(struct byte_reader *reader, char precision[16], struct engine_facts *facts)
{
    int normalize, mask_count;
    uint64_t parameters;
    if (!read_field(reader, facts->architecture, sizeof facts->architecture) ||
        !read_field(reader, precision, 16) ||
        !read_count(reader, GRAPH_MAX_CHANNELS, &facts->in_channels) ||
        !read_count(reader, GRAPH_MAX_CHANNELS, &facts->classes) ||
        !read_count(reader, GRAPH_MAX_CHANNELS, &facts->width) ||
        !read_count(reader, UNET_MAX_SIDE, &facts->tuned_height) ||
        !read_count(reader, UNET_MAX_SIDE, &facts->tuned_width) ||
        !read_count(reader, UNET_NORMALIZE_MEAN_STD, &normalize) ||
        normalize == UNET_NORMALIZE_DEFAULT || !read_u64(reader, &parameters) ||
        parameters > INT64_MAX || !read_preprocess_values(reader, &facts->preprocess) ||
        !read_count(reader, ENGINE_MAX_MASK_VALUES, &mask_count) ||
        !read_count(reader, 3, &facts->mask_value_channels))
        return false;
    facts->preprocess.size = sizeof facts->preprocess;
    facts->preprocess.normalize = (unet_normalize)normalize;
    facts->parameter_count = (int64_t)parameters;
    facts->mask_value_count = (size_t)mask_count;
    return reader->position == reader->size;
}

static unet_status read_facts(unet_engine *engine, unet_error *error)
{
    TRY(engine_check_section(engine, ENGINE_FACTS, error));
    TRY(engine_check_section(engine, ENGINE_MASK_VALUES, error));
    struct byte_reader reader = section_reader(engine, ENGINE_FACTS);
    struct engine_facts *facts = &engine->facts;
    if (!parse_facts(&reader, engine->built_precision, facts))
        return invalid(ENGINE_FACTS, "a field is out of range", error);
    const char *fault = preprocess_fault(facts);
    if (fault == NULL)
        fault = mask_fault(engine, facts);
    if (fault != NULL)
        return invalid(ENGINE_FACTS, fault, error);
    if (facts->mask_value_count > 0)
        facts->mask_values = section_reader(engine, ENGINE_MASK_VALUES).bytes;
    return UNET_OK;
}

/* ---------------------------------------------------------------- graph */

/* What reading a graph needs beside its bytes. */
struct graph_source {
    struct byte_reader reader;
    const uint8_t *weights;
    size_t weight_bytes, position; /* of the next constant */
    struct graph *graph;
    uint32_t value_count, node_count;
    char name[ENGINE_MAX_NAME + 1];
};

static bool read_index(struct graph_source *source, bool may_be_none, int *index)
{
    uint32_t stored;
    if (!read_u32(&source->reader, &stored))
        return false;
    *index = stored == ENGINE_NONE ? GRAPH_NONE : (int)stored;
    return stored == ENGINE_NONE ? may_be_none : stored < source->value_count;
}

static bool read_graph_head(struct graph_source *source)
{
    struct graph *graph = source->graph;
    uint32_t flags, tf32;
    int normalize;
    if (!read_u32(&source->reader, &source->value_count) ||
        !read_u32(&source->reader, &source->node_count) || source->value_count > GRAPH_MAX_VALUES ||
        source->node_count > GRAPH_MAX_NODES || !read_index(source, false, &graph->input) ||
        !read_index(source, false, &graph->output) || !read_u32(&source->reader, &flags) ||
        flags > 1 || !read_u32(&source->reader, &tf32) || tf32 > 1 ||
        !read_count(&source->reader, UNET_NORMALIZE_MEAN_STD, &normalize) ||
        normalize == UNET_NORMALIZE_DEFAULT)
        return false;
    graph->sigmoid_output = flags == 1;
    graph->tf32 = tf32 == 1;
    graph->normalize = (unet_normalize)normalize;
    return true;
}

static unet_status read_value(struct graph_source *source, unet_error *error)
{
    int channels, zero;
    uint32_t code;
    enum graph_type type;
    if (!read_count(&source->reader, GRAPH_MAX_CHANNELS, &channels) ||
        !read_u32(&source->reader, &code) || !engine_type_from_code(code, &type) ||
        !read_count(&source->reader, UINT8_MAX, &zero) || !read_name(&source->reader, source->name))
        return invalid(ENGINE_GRAPH, "a value is cut off or out of range", error);
    int value = graph_add_value(source->graph, source->name, channels);
    if (value == GRAPH_NONE)
        return error_memory(error, sizeof(struct graph_value), "a graph");
    source->graph->values[value].type = type;
    source->graph->values[value].zero = (uint8_t)zero;
    return UNET_OK;
}

/* Points into the file: constants lie one behind the other, each at a cache line. */
static bool read_constant(struct graph_source *source, struct graph_constant *constant)
{
    uint64_t count;
    size_t left = source->weight_bytes - source->position;
    if (!read_u64(&source->reader, &count) || count > left / sizeof(float))
        return false;
    if (count == 0)
        return true;
    size_t bytes = (size_t)count * sizeof(float);
    size_t padded = bytes + -bytes % ENGINE_CONSTANT_ALIGNMENT;
    if (padded > left)
        return false;
    constant->data = (float *)(uintptr_t)(source->weights + source->position);
    constant->count = (int64_t)count;
    source->position += padded;
    return true;
}

static bool read_shape(struct byte_reader *reader, struct graph_node *node)
{
    uint32_t code, flags;
    if (!read_u32(reader, &code) || !engine_op_from_code(code, &node->op) ||
        !read_u32(reader, &flags) || flags > 1)
        return false;
    node->relu = flags == 1;
    return read_count(reader, GRAPH_MAX_KERNEL, &node->kernel_h) &&
           read_count(reader, GRAPH_MAX_KERNEL, &node->kernel_w) &&
           read_count(reader, GRAPH_MAX_KERNEL, &node->stride) &&
           read_count(reader, GRAPH_MAX_KERNEL, &node->padding) &&
           read_count(reader, GRAPH_MAX_INPUTS - 1, &node->upsampled);
}

static bool parse_node(struct graph_source *source, struct graph_node *node)
{
    if (!read_shape(&source->reader, node) || !read_index(source, true, &node->output) ||
        !read_index(source, true, &node->pooled) || !read_index(source, true, &node->head) ||
        !read_count(&source->reader, GRAPH_MAX_INPUTS, &node->input_count))
        return false;
    for (int i = 0; i < node->input_count; i++)
        if (!read_index(source, false, &node->inputs[i]))
            return false;
    for (int i = 0; i < ENGINE_NODE_CONSTANTS; i++)
        if (!read_constant(source, engine_node_constant(node, i)))
            return false;
    return read_name(&source->reader, source->name);
}

static unet_status read_node(struct graph_source *source, unet_error *error)
{
    struct graph_node node = {0};
    if (!parse_node(source, &node))
        return invalid(ENGINE_GRAPH, "a node is cut off or out of range", error);
    struct graph_node *added = graph_add_node(source->graph, node.op, source->name);
    if (added == NULL)
        return error_memory(error, sizeof *added, "a graph");
    node.name = added->name;
    *added = node;
    return UNET_OK;
}

static unet_status check_graph(const unet_engine *engine, unet_error *error)
{
    const struct graph *graph = &engine->graph;
    unet_status status = graph_check_structure(graph, error);
    if (status != UNET_OK)
        return error_prefix(error, status, "its section 'graph' is invalid");
    if (graph->values[graph->input].channels != engine->facts.in_channels ||
        graph->values[graph->output].channels != engine->facts.classes)
        return invalid(ENGINE_GRAPH, "its channels are not those of the facts", error);
    if (strcmp(engine_graph_precision(graph), engine->built_precision) != 0)
        return invalid(ENGINE_GRAPH, "its precision is not that of the facts", error);
    return UNET_OK;
}

static unet_status read_graph(unet_engine *engine, unet_error *error)
{
    TRY(engine_check_section(engine, ENGINE_GRAPH, error));
    struct graph_source source = {.reader = section_reader(engine, ENGINE_GRAPH),
                                  .weights =
                                      engine->file.bytes + engine->sections[ENGINE_WEIGHTS].offset,
                                  .weight_bytes = engine->sections[ENGINE_WEIGHTS].bytes,
                                  .graph = &engine->graph};
    engine->graph.architecture = engine->facts.architecture;
    if (!read_graph_head(&source))
        return invalid(ENGINE_GRAPH, "its head is cut off or out of range", error);
    for (uint32_t i = 0; i < source.value_count; i++)
        TRY(read_value(&source, error));
    for (uint32_t i = 0; i < source.node_count; i++)
        TRY(read_node(&source, error));
    if (source.reader.position != source.reader.size || source.position != source.weight_bytes)
        return invalid(ENGINE_GRAPH, "bytes are left over", error);
    return check_graph(engine, error);
}

/* ---------------------------------------------------------------- steps */

static unet_status read_steps(unet_engine *engine, const char *const **names, unet_error *error)
{
    TRY(engine_check_section(engine, ENGINE_STEPS, error));
    struct byte_reader reader = section_reader(engine, ENGINE_STEPS);
    struct arena *arena = &engine->graph.arena;
    int count = plan_step_count(&engine->graph);
    uint32_t stored;
    if (!read_field(&reader, engine->built_for, sizeof engine->built_for) ||
        !read_u32(&reader, &stored) || stored != (uint32_t)count)
        return invalid(ENGINE_STEPS, "they do not fit the graph", error);
    const char **list = arena_alloc_array(arena, (size_t)count, sizeof *list);
    if (list == NULL)
        return error_memory(error, (size_t)count * sizeof *list, "kernel names");
    for (int i = 0; i < count; i++) {
        char name[ENGINE_MAX_NAME + 1];
        if (!read_name(&reader, name))
            return invalid(ENGINE_STEPS, "a kernel's name is cut off or no text", error);
        list[i] = arena_strdup(arena, name);
        if (list[i] == NULL)
            return error_memory(error, strlen(name), "kernel names");
    }
    if (reader.position != reader.size)
        return invalid(ENGINE_STEPS, "bytes are left over", error);
    *names = list;
    return UNET_OK;
}

unet_status engine_read(unet_engine *engine, const char *const **names, unet_error *error)
{
    TRY(read_header(engine, error));
    TRY(read_facts(engine, error));
    TRY(read_graph(engine, error));
    return read_steps(engine, names, error);
}
