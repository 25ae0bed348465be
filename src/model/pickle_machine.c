#include "model/pickle_machine.h"

#include <string.h>

/* Far above what any checkpoint of a U-Net holds (about 30 opcodes a tensor): they bound the memory
 * that a hostile file can take. */
#define MAX_DEPTH   ((size_t)1 << 20)
#define MAX_ITEMS   ((size_t)1 << 26)
#define MAX_NESTING 32

const struct pickle_value pickle_none = {.kind = PICKLE_NONE};
const struct pickle_value pickle_true = {.kind = PICKLE_BOOL, .truth = true};
const struct pickle_value pickle_false = {.kind = PICKLE_BOOL, .truth = false};
const struct pickle_value pickle_opaque = {.kind = PICKLE_OPAQUE};

unet_status pickle_no_memory(unet_error *error)
{
    return error_set(error, UNET_ERROR_MEMORY, "out of memory for the values of its pickle");
}

unet_status pickle_malformed(const struct pickle_machine *machine, unet_error *error,
                             const char *what)
{
    return error_set(
        error, UNET_ERROR_MODEL,
        "its pickle is malformed at byte %zu: %s; the file is damaged, copy or save it "
        "again",
        machine->reader->position - machine->start, what);
}

struct pickle_value *pickle_new(struct pickle_machine *machine, enum pickle_kind kind)
{
    struct pickle_value *value = arena_alloc(machine->arena, sizeof *value);
    if (value != NULL)
        value->kind = kind;
    return value;
}

/* The arena keeps outgrown arrays, so a list takes at most twice what doubling alone would. */
static bool reserve_items(struct pickle_machine *machine, struct pickle_value *container,
                          size_t count)
{
    size_t used = container->list.count;
    if (used + count <= container->list.capacity)
        return true;
    size_t capacity = used + count > 2 * used ? used + count : 2 * used;
    const struct pickle_value **grown = arena_alloc_array(machine->arena, capacity, sizeof *grown);
    if (grown == NULL)
        return false;
    if (used > 0)
        memcpy(grown, container->list.items, used * sizeof *grown);
    container->list.items = grown;
    container->list.capacity = (uint32_t)capacity;
    return true;
}

unet_status pickle_append(struct pickle_machine *machine, struct pickle_value *container,
                          const struct pickle_value *const *items, size_t count, unet_error *error)
{
    if (count > MAX_ITEMS - container->list.count)
        return pickle_malformed(machine, error, "a list is too long");
    if (!reserve_items(machine, container, count))
        return pickle_no_memory(error);
    for (size_t i = 0; i < count; i++) {
        container->list.items[container->list.count++] = items[i];
        if (container->nesting <= items[i]->nesting)
            container->nesting = items[i]->nesting + 1;
    }
    if (container->nesting > MAX_NESTING)
        return pickle_malformed(machine, error, "its values are nested too deep");
    return UNET_OK;
}

/* Makes room for one more element of `size` bytes; `array` is the address of its pointer. */
static bool reserve(void *array, size_t *capacity, size_t used, size_t size)
{
    if (used < *capacity)
        return true;
    size_t grown_capacity = *capacity == 0 ? 64 : *capacity * 2;
    void *old;
    memcpy(&old, array, sizeof old);
    void *grown = memory_realloc(old, grown_capacity * size);
    if (grown == NULL)
        return false;
    memcpy(array, &grown, sizeof grown);
    *capacity = grown_capacity;
    return true;
}

/* ---------------------------------------------------------------- stack */

static size_t stack_floor(const struct pickle_machine *machine)
{
    return machine->mark_count == 0 ? 0 : machine->marks[machine->mark_count - 1];
}

unet_status pickle_push(struct pickle_machine *machine, const struct pickle_value *value,
                        unet_error *error)
{
    if (machine->depth >= MAX_DEPTH)
        return pickle_malformed(machine, error, "its stack is too deep");
    if (!reserve(&machine->stack, &machine->stack_capacity, machine->depth, sizeof value))
        return pickle_no_memory(error);
    machine->stack[machine->depth++] = value;
    return UNET_OK;
}

unet_status pickle_top(const struct pickle_machine *machine, const struct pickle_value **value,
                       unet_error *error)
{
    if (machine->depth <= stack_floor(machine))
        return pickle_malformed(machine, error, "its stack is empty");
    *value = machine->stack[machine->depth - 1];
    return UNET_OK;
}

unet_status pickle_pop(struct pickle_machine *machine, const struct pickle_value **value,
                       unet_error *error)
{
    TRY(pickle_top(machine, value, error));
    machine->depth--;
    return UNET_OK;
}

unet_status pickle_push_mark(struct pickle_machine *machine, unet_error *error)
{
    if (machine->mark_count >= MAX_DEPTH)
        return pickle_malformed(machine, error, "its marks are too deep");
    if (!reserve(&machine->marks, &machine->marks_capacity, machine->mark_count,
                 sizeof *machine->marks))
        return pickle_no_memory(error);
    machine->marks[machine->mark_count++] = machine->depth;
    return UNET_OK;
}

unet_status pickle_pop_mark(struct pickle_machine *machine,
                            const struct pickle_value *const **items, size_t *count,
                            unet_error *error)
{
    if (machine->mark_count == 0)
        return pickle_malformed(machine, error, "a mark is missing");
    size_t floor = machine->marks[--machine->mark_count];
    *count = machine->depth - floor;
    *items = *count > 0 ? machine->stack + floor : NULL; /* the stack may not even be allocated */
    machine->depth = floor;
    return UNET_OK;
}

/* ---------------------------------------------------------------- memo */

/* Picklers number their memos from 0 up, so an index beyond the bytes read is a lie that would
 * only take memory. */
unet_status pickle_memo_put(struct pickle_machine *machine, size_t index, unet_error *error)
{
    const struct pickle_value *value;
    TRY(pickle_top(machine, &value, error));
    if (index >= machine->reader->position - machine->start)
        return pickle_malformed(machine, error, "a memo index is too large");
    while (machine->memo_size <= index) {
        if (!reserve(&machine->memo, &machine->memo_capacity, machine->memo_size, sizeof value))
            return pickle_no_memory(error);
        machine->memo[machine->memo_size++] = NULL;
    }
    if (machine->memo[index] == NULL)
        machine->memo_count++;
    machine->memo[index] = value;
    return UNET_OK;
}

unet_status pickle_memo_get(struct pickle_machine *machine, size_t index, unet_error *error)
{
    if (index >= machine->memo_size || machine->memo[index] == NULL)
        return pickle_malformed(machine, error, "a memo index was never set");
    return pickle_push(machine, machine->memo[index], error);
}
