#include "engine/format.h"

#define SECTION_ALIGNMENT ((size_t)64)
#define PAGE_ALIGNMENT    ((size_t)4096)

const char *engine_section_name(enum engine_section section)
{
    static const char *const names[ENGINE_SECTION_COUNT] = {
        [ENGINE_FACTS] = "facts",     [ENGINE_GRAPH] = "graph",
        [ENGINE_STEPS] = "steps",     [ENGINE_MASK_VALUES] = "mask values",
        [ENGINE_WEIGHTS] = "weights", [ENGINE_PACKED] = "packed weights",
    };
    return names[section];
}

size_t engine_section_offset(enum engine_section section, size_t end)
{
    size_t alignment = section >= ENGINE_WEIGHTS ? PAGE_ALIGNMENT : SECTION_ALIGNMENT;
    return (end + alignment - 1) / alignment * alignment;
}

static const uint32_t op_codes[GRAPH_OP_COUNT] = {
    [GRAPH_CONV] = 1,     [GRAPH_CONV_TRANSPOSE] = 2, [GRAPH_BATCH_NORM] = 3, [GRAPH_RELU] = 4,
    [GRAPH_MAX_POOL] = 5, [GRAPH_UPSAMPLE] = 6,       [GRAPH_PAD] = 7,        [GRAPH_CONCAT] = 8,
};

uint32_t engine_op_code(enum graph_op op)
{
    return op_codes[op];
}

bool engine_op_from_code(uint32_t code, enum graph_op *op)
{
    for (int i = 0; i < GRAPH_OP_COUNT; i++) {
        if (op_codes[i] != code)
            continue;
        *op = (enum graph_op)i;
        return true;
    }
    return false;
}

static const struct {
    uint32_t code;
    const char *precision;
} types[GRAPH_TYPE_COUNT] = {
    [GRAPH_F32] = {1, "fp32"}, [GRAPH_F16] = {4, "fp16"}, [GRAPH_BF16] = {2, "bf16"},
    [GRAPH_U8] = {3, "int8"},  [GRAPH_E4M3] = {5, "fp8"},
};

uint32_t engine_type_code(enum graph_type type)
{
    return types[type].code;
}

bool engine_type_from_code(uint32_t code, enum graph_type *type)
{
    for (int i = 0; i < GRAPH_TYPE_COUNT; i++) {
        if (types[i].code != code)
            continue;
        *type = (enum graph_type)i;
        return true;
    }
    return false;
}

const char *engine_precision_name(enum graph_type type)
{
    return types[type].precision;
}

const char *engine_graph_precision(const struct graph *graph)
{
    enum graph_type type = graph_precision(graph);
    return type == GRAPH_F32 && graph->tf32 ? "tf32" : engine_precision_name(type);
}

struct graph_constant *engine_node_constant(struct graph_node *node, int index)
{
    struct graph_constant *const constants[ENGINE_NODE_CONSTANTS] = {
        &node->weight,    &node->bias,        &node->head_weight,
        &node->head_bias, &node->weight_step, &node->mean};
    return constants[index];
}
