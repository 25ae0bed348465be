/* What the writer and the reader of engine files share; docs/engine-format.md says it in words. */
#ifndef UNET_ENGINE_FORMAT_H
#define UNET_ENGINE_FORMAT_H

#include "engine/engine.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "engine files are little-endian and their floats are used in place"
#endif

#define ENGINE_MAGIC       "\x89UNE\r\n\x1a\n"
#define ENGINE_MAGIC_BYTES 8
#define ENGINE_VERSION     6

#define ENGINE_PREFIX_BYTES 24 /* magic, version, section count, file size */
#define ENGINE_ENTRY_BYTES  40
#define ENGINE_HASHED_BYTES (ENGINE_PREFIX_BYTES + ENGINE_SECTION_COUNT * ENGINE_ENTRY_BYTES)
#define ENGINE_HEADER_BYTES (ENGINE_HASHED_BYTES + 16)

#define ENGINE_CONSTANT_ALIGNMENT 64
#define ENGINE_FACTS_BYTES        240
#define ENGINE_NONE               UINT32_MAX

#define ENGINE_MAX_NAME        512
#define ENGINE_MAX_MASK_VALUES 65535

/* "weights": for messages. */
const char *engine_section_name(enum engine_section section);

/* Where a section begins that follows `end`: weights and packed weights at a page, others at a
 * cache line. */
size_t engine_section_offset(enum engine_section section, size_t end);

/* Codes of operations in the file; they outlive any change of the enumeration. */
uint32_t engine_op_code(enum graph_op op);
bool engine_op_from_code(uint32_t code, enum graph_op *op);

/* The same of types of values. */
uint32_t engine_type_code(enum graph_type type);
bool engine_type_from_code(uint32_t code, enum graph_type *type);
/* "bf16": what a value is called that is stored as this. */
const char *engine_precision_name(enum graph_type type);
/* The same of an engine: its narrowest value's, or "tf32". */
const char *engine_graph_precision(const struct graph *graph);

/* The constants of a node in the file's order. */
enum { ENGINE_NODE_CONSTANTS = 6 };
struct graph_constant *engine_node_constant(struct graph_node *node, int index);

/* Serialises; `block` is aligned memory of `bytes`. */
unet_status engine_write(const struct graph *graph, const struct plan *plan,
                         const struct engine_facts *facts, void **block, size_t *bytes,
                         unet_error *error);

/* Fills sections, facts and graph from engine->file, and names the kernel of each step in `names`
 * (in the graph's arena). Checks everything but the weights and the packed weights. */
unet_status engine_read(unet_engine *engine, const char *const **names, unet_error *error);

/* MODEL if the section's bytes are not those that were written. */
unet_status engine_check_section(const unet_engine *engine, enum engine_section section,
                                 unet_error *error);

#endif
