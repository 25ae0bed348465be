/* The opcodes of the allow-list: those with which pickle protocols 1 to 5 build plain data and call
 * functions. Python's pickletools describes each of them. What they may call, pickle_globals.c
 * says. Left out on purpose: everything that makes objects of classes (NEWOBJ, INST, OBJ, EXT),
 * and protocol 0's text opcodes, in which torch.save cannot write tensors. */
#include "model/pickle_machine.h"

#include <stdlib.h>
#include <string.h>

/* A U-Net's checkpoint has some 30 opcodes a tensor. This bounds time and memory (each opcode takes
 * at most a few hundred bytes). */
#define MAX_OPCODES ((size_t)1 << 24)

#define MAX_DIGITS 32

struct opcode {
    const char *name;
    unet_status (*run)(struct pickle_machine *machine, const struct opcode *self,
                       unet_error *error);
    int width; /* bytes of the operand, or of the length in front of it */
    enum pickle_kind kind;
    const struct pickle_value *constant;
};

#define OPCODE(name)                                                                               \
    static unet_status name(struct pickle_machine *machine, const struct opcode *self,             \
                            unet_error *error)

/* ---------------------------------------------------------------- operands */

static unet_status ends_early(const struct pickle_machine *machine, unet_error *error)
{
    return error_set(error, UNET_ERROR_MODEL,
                     "its pickle ends in the middle, at byte %zu: the file is truncated, copy or "
                     "save it again",
                     machine->reader->size - machine->start);
}

/* An unsigned little-endian number of `width` bytes. */
static unet_status read_number(struct pickle_machine *machine, int width, uint64_t *value,
                               unet_error *error)
{
    const uint8_t *bytes;
    if (!read_bytes(machine->reader, (size_t)width, &bytes))
        return ends_early(machine, error);
    *value = 0;
    for (int i = 0; i < width; i++)
        *value |= (uint64_t)bytes[i] << (8 * i);
    return UNET_OK;
}

static unet_status read_run(struct pickle_machine *machine, int width, const uint8_t **bytes,
                            size_t *length, unet_error *error)
{
    uint64_t count;
    TRY(read_number(machine, width, &count, error));
    *length = (size_t)count;
    if (!read_bytes(machine->reader, *length, bytes))
        return ends_early(machine, error);
    return UNET_OK;
}

/* Up to the newline, which is consumed and not counted. */
static unet_status read_line(struct pickle_machine *machine, const char **line, size_t *length,
                             unet_error *error)
{
    struct byte_reader *reader = machine->reader;
    const uint8_t *start = reader->bytes + reader->position;
    const uint8_t *end = memchr(start, '\n', reader->size - reader->position);
    if (end == NULL)
        return ends_early(machine, error);
    *line = (const char *)start;
    *length = (size_t)(end - start);
    reader->position += *length + 1;
    return UNET_OK;
}

static unet_status push_new(struct pickle_machine *machine, struct pickle_value value,
                            unet_error *error)
{
    struct pickle_value *made = pickle_new(machine, value.kind);
    if (made == NULL)
        return pickle_no_memory(error);
    *made = value;
    return pickle_push(machine, made, error);
}

/* ---------------------------------------------------------------- scalars and strings */

OPCODE(run_constant)
{
    return pickle_push(machine, self->constant, error);
}

OPCODE(run_integer)
{
    uint64_t bits;
    TRY(read_number(machine, self->width, &bits, error));
    int64_t value = self->width == 4 ? (int32_t)(uint32_t)bits : (int64_t)bits;
    return push_new(machine, (struct pickle_value){.kind = PICKLE_INT, .integer = value}, error);
}

/* Protocol 1, and Python 2 beyond 32 bits, write integers as text, truth values as 00 and 01. */
OPCODE(run_text_integer)
{
    (void)self;
    const char *line;
    size_t length;
    TRY(read_line(machine, &line, &length, error));
    if (length == 2 && line[0] == '0' && (line[1] == '0' || line[1] == '1'))
        return pickle_push(machine, line[1] == '1' ? &pickle_true : &pickle_false, error);
    char digits[MAX_DIGITS];
    size_t kept = length > 0 && line[length - 1] == 'L' ? length - 1 : length;
    if (kept == 0 || kept >= sizeof digits)
        return pickle_malformed(machine, error, "an integer has no or too many digits");
    memcpy(digits, line, kept);
    digits[kept] = '\0';
    char *end;
    long long value = strtoll(digits, &end, 10);
    if (*end != '\0')
        return pickle_malformed(machine, error, "an integer has other characters than digits");
    return push_new(machine, (struct pickle_value){.kind = PICKLE_INT, .integer = value}, error);
}

OPCODE(run_long)
{
    const uint8_t *bytes;
    size_t length;
    TRY(read_run(machine, self->width, &bytes, &length, error));
    if (length > 8) {
        struct pickle_value wide = {.kind = PICKLE_BYTES, .text = {(const char *)bytes, length}};
        return push_new(machine, wide, error);
    }
    uint64_t bits = length > 0 && bytes[length - 1] >= 0x80 ? UINT64_MAX : 0;
    for (size_t i = length; i-- > 0;)
        bits = bits << 8 | bytes[i];
    return push_new(machine, (struct pickle_value){.kind = PICKLE_INT, .integer = (int64_t)bits},
                    error);
}

OPCODE(run_float)
{
    const uint8_t *bytes;
    if (!read_bytes(machine->reader, (size_t)self->width, &bytes))
        return ends_early(machine, error);
    uint64_t bits = 0;
    for (int i = 0; i < self->width; i++) /* the one big-endian operand */
        bits = bits << 8 | bytes[i];
    struct pickle_value value = {.kind = PICKLE_FLOAT};
    memcpy(&value.real, &bits, sizeof value.real);
    return push_new(machine, value, error);
}

OPCODE(run_text)
{
    const uint8_t *bytes;
    size_t length;
    TRY(read_run(machine, self->width, &bytes, &length, error));
    struct pickle_value value = {.kind = self->kind, .text = {(const char *)bytes, length}};
    return push_new(machine, value, error);
}

/* ---------------------------------------------------------------- containers */

OPCODE(run_empty)
{
    return push_new(machine, (struct pickle_value){.kind = self->kind}, error);
}

static unet_status push_tuple(struct pickle_machine *machine,
                              const struct pickle_value *const *items, size_t count,
                              unet_error *error)
{
    struct pickle_value *tuple = pickle_new(machine, PICKLE_TUPLE);
    if (tuple == NULL)
        return pickle_no_memory(error);
    TRY(pickle_append(machine, tuple, items, count, error));
    return pickle_push(machine, tuple, error);
}

OPCODE(run_tuple)
{
    (void)self;
    const struct pickle_value *const *items;
    size_t count;
    TRY(pickle_pop_mark(machine, &items, &count, error));
    return push_tuple(machine, items, count, error);
}

OPCODE(run_short_tuple)
{
    const struct pickle_value *items[3];
    for (int i = self->width; i-- > 0;)
        TRY(pickle_pop(machine, &items[i], error));
    return push_tuple(machine, items, (size_t)self->width, error);
}

/* Extends the container on top of the stack, which must be of the opcode's kind. Sets are opaque:
 * what goes into them is dropped. */
static unet_status extend(struct pickle_machine *machine, const struct opcode *self,
                          const struct pickle_value *const *items, size_t count, unet_error *error)
{
    const struct pickle_value *top;
    TRY(pickle_top(machine, &top, error));
    if (top->kind != self->kind)
        return pickle_malformed(machine, error, "values are added to what does not hold any");
    if (top->kind == PICKLE_OPAQUE)
        return UNET_OK;
    if (top->kind == PICKLE_DICT && count % 2 != 0)
        return pickle_malformed(machine, error, "a key has no value");
    /* Only pickle_new makes lists and dicts, so they are not const. */
    return pickle_append(machine, (struct pickle_value *)top, items, count, error);
}

OPCODE(run_extend)
{
    const struct pickle_value *const *items;
    size_t count;
    TRY(pickle_pop_mark(machine, &items, &count, error));
    return extend(machine, self, items, count, error);
}

OPCODE(run_extend_one)
{
    const struct pickle_value *items[2];
    for (int i = self->width; i-- > 0;)
        TRY(pickle_pop(machine, &items[i], error));
    return extend(machine, self, items, (size_t)self->width, error);
}

OPCODE(run_frozenset)
{
    const struct pickle_value *const *items;
    size_t count;
    TRY(pickle_pop_mark(machine, &items, &count, error));
    return pickle_push(machine, self->constant, error);
}

/* ---------------------------------------------------------------- stack and memo */

OPCODE(run_mark)
{
    (void)self;
    return pickle_push_mark(machine, error);
}

OPCODE(run_pop)
{
    (void)self;
    const struct pickle_value *value;
    return pickle_pop(machine, &value, error);
}

OPCODE(run_pop_mark)
{
    (void)self;
    const struct pickle_value *const *items;
    size_t count;
    return pickle_pop_mark(machine, &items, &count, error);
}

OPCODE(run_put)
{
    uint64_t index;
    TRY(read_number(machine, self->width, &index, error));
    return pickle_memo_put(machine, (size_t)index, error);
}

OPCODE(run_memoize)
{
    (void)self;
    return pickle_memo_put(machine, machine->memo_count, error);
}

OPCODE(run_get)
{
    uint64_t index;
    TRY(read_number(machine, self->width, &index, error));
    return pickle_memo_get(machine, (size_t)index, error);
}

/* ---------------------------------------------------------------- names and calls */

#define SHOWN(length) ((int)((length) < 100 ? (length) : 100))

static unet_status push_global(struct pickle_machine *machine, const char *module,
                               size_t module_length, const char *name, size_t name_length,
                               unet_error *error)
{
    struct pickle_value value = {.kind = PICKLE_GLOBAL};
    value.global = pickle_find_global(module, module_length, name, name_length);
    if (value.global != NULL)
        return push_new(machine, value, error);
    return error_set(error, UNET_ERROR_MODEL,
                     "its pickle refers to %.*s.%.*s (opcode before byte %zu), which may be code "
                     "and is not among what a state_dict needs; nothing was executed: save "
                     "model.state_dict() alone with torch.save",
                     SHOWN(module_length), module, SHOWN(name_length), name,
                     machine->reader->position - machine->start);
}

OPCODE(run_global)
{
    (void)self;
    const char *module, *name;
    size_t module_length, name_length;
    TRY(read_line(machine, &module, &module_length, error));
    TRY(read_line(machine, &name, &name_length, error));
    return push_global(machine, module, module_length, name, name_length, error);
}

OPCODE(run_stack_global)
{
    (void)self;
    const struct pickle_value *module, *name;
    TRY(pickle_pop(machine, &name, error));
    TRY(pickle_pop(machine, &module, error));
    if (module->kind != PICKLE_STRING || name->kind != PICKLE_STRING)
        return pickle_malformed(machine, error, "a function's name is no string");
    return push_global(machine, module->text.bytes, module->text.length, name->text.bytes,
                       name->text.length, error);
}

OPCODE(run_reduce)
{
    (void)self;
    const struct pickle_value *arguments, *function, *result = NULL;
    TRY(pickle_pop(machine, &arguments, error));
    TRY(pickle_pop(machine, &function, error));
    if (function->kind != PICKLE_GLOBAL || function->global->call == NULL ||
        arguments->kind != PICKLE_TUPLE)
        return pickle_malformed(machine, error, "it calls what is no function");
    TRY(function->global->call(machine, arguments->list.items, arguments->list.count, &result,
                               error));
    return pickle_push(machine, result, error);
}

/* Attributes: a state_dict's _metadata, which no tensor depends on. They are dropped. Those of a
 * NumPy type must be a plain number's. */
OPCODE(run_build)
{
    (void)self;
    const struct pickle_value *state, *object;
    TRY(pickle_pop(machine, &state, error));
    TRY(pickle_top(machine, &object, error));
    if (object->kind == PICKLE_NUMBER_TYPE)
        return pickle_numpy_state(machine, state, error);
    if (object->kind != PICKLE_DICT && object->kind != PICKLE_OPAQUE)
        return pickle_malformed(machine, error, "it sets attributes of what has none");
    return UNET_OK;
}

OPCODE(run_persistent)
{
    (void)self;
    const struct pickle_value *id, *result = NULL;
    TRY(pickle_pop(machine, &id, error));
    TRY(pickle_persistent(machine, id, &result, error));
    return pickle_push(machine, result, error);
}

/* ---------------------------------------------------------------- the pickle as a whole */

OPCODE(run_protocol)
{
    uint64_t version;
    TRY(read_number(machine, self->width, &version, error));
    if (version > 5)
        return error_set(error, UNET_ERROR_MODEL,
                         "its pickle has protocol %u; save it again with pickle_protocol=2 to 5",
                         (unsigned)version);
    return UNET_OK;
}

/* Frames tell a streaming reader how much to fetch; a reader that has it all skips them. */
OPCODE(run_frame)
{
    uint64_t length;
    TRY(read_number(machine, self->width, &length, error));
    if (length > machine->reader->size - machine->reader->position)
        return ends_early(machine, error);
    return UNET_OK;
}

OPCODE(run_stop)
{
    (void)self;
    (void)error;
    machine->stopped = true;
    return UNET_OK;
}

static const struct opcode opcodes[256] = {
    [0x80] = {.name = "PROTO", .run = run_protocol, .width = 1},
    [0x95] = {.name = "FRAME", .run = run_frame, .width = 8},
    ['.'] = {.name = "STOP", .run = run_stop},

    ['N'] = {.name = "NONE", .run = run_constant, .constant = &pickle_none},
    [0x88] = {.name = "NEWTRUE", .run = run_constant, .constant = &pickle_true},
    [0x89] = {.name = "NEWFALSE", .run = run_constant, .constant = &pickle_false},
    ['I'] = {.name = "INT", .run = run_text_integer},
    ['L'] = {.name = "LONG", .run = run_text_integer},
    ['J'] = {.name = "BININT", .run = run_integer, .width = 4},
    ['K'] = {.name = "BININT1", .run = run_integer, .width = 1},
    ['M'] = {.name = "BININT2", .run = run_integer, .width = 2},
    [0x8a] = {.name = "LONG1", .run = run_long, .width = 1},
    [0x8b] = {.name = "LONG4", .run = run_long, .width = 4},
    ['G'] = {.name = "BINFLOAT", .run = run_float, .width = 8},

    /* Python 2's str, in which it wrote names too */
    ['U'] = {.name = "SHORT_BINSTRING", .run = run_text, .width = 1, .kind = PICKLE_STRING},
    ['T'] = {.name = "BINSTRING", .run = run_text, .width = 4, .kind = PICKLE_STRING},
    [0x8c] = {.name = "SHORT_BINUNICODE", .run = run_text, .width = 1, .kind = PICKLE_STRING},
    ['X'] = {.name = "BINUNICODE", .run = run_text, .width = 4, .kind = PICKLE_STRING},
    [0x8d] = {.name = "BINUNICODE8", .run = run_text, .width = 8, .kind = PICKLE_STRING},
    ['C'] = {.name = "SHORT_BINBYTES", .run = run_text, .width = 1, .kind = PICKLE_BYTES},
    ['B'] = {.name = "BINBYTES", .run = run_text, .width = 4, .kind = PICKLE_BYTES},
    [0x8e] = {.name = "BINBYTES8", .run = run_text, .width = 8, .kind = PICKLE_BYTES},
    [0x96] = {.name = "BYTEARRAY8", .run = run_text, .width = 8, .kind = PICKLE_BYTES},

    [')'] = {.name = "EMPTY_TUPLE", .run = run_empty, .kind = PICKLE_TUPLE},
    [']'] = {.name = "EMPTY_LIST", .run = run_empty, .kind = PICKLE_LIST},
    ['}'] = {.name = "EMPTY_DICT", .run = run_empty, .kind = PICKLE_DICT},
    ['t'] = {.name = "TUPLE", .run = run_tuple},
    [0x85] = {.name = "TUPLE1", .run = run_short_tuple, .width = 1},
    [0x86] = {.name = "TUPLE2", .run = run_short_tuple, .width = 2},
    [0x87] = {.name = "TUPLE3", .run = run_short_tuple, .width = 3},
    ['a'] = {.name = "APPEND", .run = run_extend_one, .width = 1, .kind = PICKLE_LIST},
    ['e'] = {.name = "APPENDS", .run = run_extend, .kind = PICKLE_LIST},
    ['s'] = {.name = "SETITEM", .run = run_extend_one, .width = 2, .kind = PICKLE_DICT},
    ['u'] = {.name = "SETITEMS", .run = run_extend, .kind = PICKLE_DICT},
    [0x8f] = {.name = "EMPTY_SET", .run = run_constant, .constant = &pickle_opaque},
    [0x90] = {.name = "ADDITEMS", .run = run_extend, .kind = PICKLE_OPAQUE},
    [0x91] = {.name = "FROZENSET", .run = run_frozenset, .constant = &pickle_opaque},

    ['('] = {.name = "MARK", .run = run_mark},
    ['0'] = {.name = "POP", .run = run_pop},
    ['1'] = {.name = "POP_MARK", .run = run_pop_mark},
    ['q'] = {.name = "BINPUT", .run = run_put, .width = 1},
    ['r'] = {.name = "LONG_BINPUT", .run = run_put, .width = 4},
    [0x94] = {.name = "MEMOIZE", .run = run_memoize},
    ['h'] = {.name = "BINGET", .run = run_get, .width = 1},
    ['j'] = {.name = "LONG_BINGET", .run = run_get, .width = 4},

    ['c'] = {.name = "GLOBAL", .run = run_global},
    [0x93] = {.name = "STACK_GLOBAL", .run = run_stack_global},
    ['R'] = {.name = "REDUCE", .run = run_reduce},
    ['b'] = {.name = "BUILD", .run = run_build},
    ['Q'] = {.name = "BINPERSID", .run = run_persistent},

    /* refused, by these names */
    [0x81] = {.name = "NEWOBJ"},
    [0x92] = {.name = "NEWOBJ_EX"},
    ['i'] = {.name = "INST"},
    ['o'] = {.name = "OBJ"},
    [0x82] = {.name = "EXT1"},
    [0x83] = {.name = "EXT2"},
    [0x84] = {.name = "EXT4"},
    ['P'] = {.name = "PERSID"},
    ['S'] = {.name = "STRING"},
    ['V'] = {.name = "UNICODE"},
    ['F'] = {.name = "FLOAT"},
    ['d'] = {.name = "DICT"},
    ['l'] = {.name = "LIST"},
    ['g'] = {.name = "GET"},
    ['p'] = {.name = "PUT"},
    ['2'] = {.name = "DUP"},
    [0x97] = {.name = "NEXT_BUFFER"},
    [0x98] = {.name = "READONLY_BUFFER"},
};

static unet_status refuse_opcode(const struct pickle_machine *machine, uint8_t code,
                                 unet_error *error)
{
    const char *name = opcodes[code].name;
    return error_set(error, UNET_ERROR_MODEL,
                     "its pickle uses opcode 0x%02x (%s) at byte %zu, which no state_dict needs; "
                     "nothing was executed: save model.state_dict() with torch.save",
                     code, name != NULL ? name : "unknown",
                     machine->reader->position - 1 - machine->start);
}

/* Executes opcodes up to STOP. */
static unet_status execute(struct pickle_machine *machine, unet_error *error)
{
    while (!machine->stopped) {
        uint8_t code;
        if (!read_u8(machine->reader, &code))
            return ends_early(machine, error);
        const struct opcode *opcode = &opcodes[code];
        if (opcode->run == NULL)
            return refuse_opcode(machine, code, error);
        if (++machine->opcodes > MAX_OPCODES)
            return pickle_malformed(machine, error, "it has more opcodes than any checkpoint");
        TRY(opcode->run(machine, opcode, error));
    }
    return UNET_OK;
}

unet_status pickle_load(struct byte_reader *reader, struct arena *arena,
                        struct pickle_storages *storages, const struct pickle_value **result,
                        unet_error *error)
{
    struct pickle_machine machine = {
        .reader = reader, .arena = arena, .storages = storages, .start = reader->position};
    unet_status status = execute(&machine, error);
    if (status == UNET_OK)
        status = pickle_pop(&machine, result, error);
    memory_free(machine.stack);
    memory_free(machine.marks);
    memory_free(machine.memo);
    return status;
}
