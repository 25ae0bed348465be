/* How torch.save writes a tensor: a persistent id names a storage, and a call of torch._utils makes
 * a view of it. Nothing of the storage's bytes is needed here. */
#include "model/pickle_machine.h"

#include <string.h>

/* ---------------------------------------------------------------- storages */

void pickle_storages_clear(struct pickle_storages *storages)
{
    name_index_clear(&storages->by_key);
    memory_free(storages->items);
    *storages = (struct pickle_storages){0};
}

struct pickle_storage *pickle_storages_find(const struct pickle_storages *storages, const char *key,
                                            size_t length)
{
    size_t at;
    return name_index_find(&storages->by_key, key, length, &at) ? storages->items[at] : NULL;
}

static bool add_storage(struct pickle_storages *storages, struct pickle_storage *storage)
{
    if (storages->count == storages->capacity) {
        size_t capacity = storages->capacity == 0 ? 128 : storages->capacity * 2;
        struct pickle_storage **items = memory_realloc(storages->items, capacity * sizeof(*items));
        if (items == NULL)
            return false;
        storages->items = items;
        storages->capacity = capacity;
    }
    if (!name_index_add(&storages->by_key, storage->key, storage->key_length, storages->count))
        return false;
    storages->items[storages->count++] = storage;
    return true;
}

static unet_status intern_storage(struct pickle_machine *machine,
                                  const struct pickle_storage *described,
                                  struct pickle_storage **storage, unet_error *error)
{
    *storage = pickle_storages_find(machine->storages, described->key, described->key_length);
    if (*storage != NULL) {
        if ((*storage)->type != described->type || (*storage)->count != described->count)
            return pickle_malformed(machine, error, "two descriptions of a storage differ");
        return UNET_OK;
    }
    *storage = arena_alloc(machine->arena, sizeof **storage);
    if (*storage == NULL)
        return pickle_no_memory(error);
    **storage = *described;
    return add_storage(machine->storages, *storage) ? UNET_OK : pickle_no_memory(error);
}

static bool is_count(const struct pickle_value *value)
{
    return value->kind == PICKLE_INT && value->integer >= 0;
}

/* The sixth item of older files' ids: None, or (key, first value, values) of a view. */
static unet_status read_view(const struct pickle_machine *machine,
                             const struct pickle_value *metadata, struct pickle_value *storage,
                             unet_error *error)
{
    if (metadata->kind == PICKLE_NONE)
        return UNET_OK;
    if (metadata->kind != PICKLE_TUPLE || metadata->list.count != 3 ||
        !is_count(metadata->list.items[1]) || !is_count(metadata->list.items[2]))
        return pickle_malformed(machine, error, "a storage's view is no (key, offset, size)");
    int64_t first = metadata->list.items[1]->integer, count = metadata->list.items[2]->integer;
    if (count > storage->view.count - first)
        return pickle_malformed(machine, error, "a storage's view reaches beyond it");
    storage->view.first = first;
    storage->view.count = count;
    return UNET_OK;
}

static unet_status check_id(const struct pickle_machine *machine, const struct pickle_value *id,
                            unet_error *error)
{
    if (id->kind == PICKLE_TUPLE && id->list.count > 0 &&
        pickle_is_string(id->list.items[0], "module"))
        return error_set(error, UNET_ERROR_MODEL,
                         "it holds a whole network with its code, which is not executed; save "
                         "model.state_dict() instead of the model");
    if (machine->storages == NULL || id->kind != PICKLE_TUPLE || id->list.count < 5 ||
        id->list.count > 6 || !pickle_is_string(id->list.items[0], "storage"))
        return pickle_malformed(machine, error, "a persistent id describes no storage");
    const struct pickle_value *const *items = id->list.items;
    if (items[1]->kind != PICKLE_GLOBAL || !items[1]->global->is_storage ||
        items[2]->kind != PICKLE_STRING || !is_count(items[4]))
        return pickle_malformed(machine, error, "a storage lacks a type, key or size");
    return UNET_OK;
}

/* ("storage", type, key, device, count[, view]). The device is of no interest. */
unet_status pickle_persistent(struct pickle_machine *machine, const struct pickle_value *id,
                              const struct pickle_value **result, unet_error *error)
{
    TRY(check_id(machine, id, error));
    const struct pickle_value *const *items = id->list.items;
    struct pickle_storage described = {.key = items[2]->text.bytes,
                                       .key_length = items[2]->text.length,
                                       .type = items[1]->global,
                                       .count = items[4]->integer};
    struct pickle_value *value = pickle_new(machine, PICKLE_STORAGE);
    if (value == NULL)
        return pickle_no_memory(error);
    TRY(intern_storage(machine, &described, &value->view.storage, error));
    value->view.count = described.count;
    if (id->list.count == 6)
        TRY(read_view(machine, items[5], value, error));
    *result = value;
    return UNET_OK;
}

/* ---------------------------------------------------------------- tensors */

static unet_status wrong_call(const struct pickle_machine *machine, unet_error *error,
                              const char *function, const char *what)
{
    return error_set(error, UNET_ERROR_MODEL,
                     "its pickle is malformed at byte %zu: %s is given %s; the file is damaged, "
                     "copy or save it again",
                     machine->reader->position - machine->start, function, what);
}

static bool read_sides(const struct pickle_value *tuple, int64_t *sides)
{
    if (tuple->kind != PICKLE_TUPLE || tuple->list.count > UNET_MAX_RANK)
        return false;
    for (uint32_t i = 0; i < tuple->list.count; i++) {
        if (!is_count(tuple->list.items[i]))
            return false;
        sides[i] = tuple->list.items[i]->integer;
    }
    return true;
}

/* The last value of the view, counted from its first: false if the sum overflows. */
static bool last_value(const struct pickle_tensor *tensor, int64_t *last)
{
    *last = 0;
    for (int i = 0; i < tensor->rank; i++) {
        int64_t reach;
        if (__builtin_mul_overflow(tensor->shape[i] - 1, tensor->stride[i], &reach) ||
            __builtin_add_overflow(*last, reach, last))
            return false;
    }
    return true;
}

/* Whether the view lies in `available` values from `offset` on. */
static bool is_inside(const struct pickle_tensor *tensor, int64_t count, int64_t offset,
                      int64_t available)
{
    int64_t last;
    if (offset > available)
        return false;
    return count == 0 || (last_value(tensor, &last) && last < available - offset);
}

/* (storage, offset, shape, strides, …) */
static unet_status read_layout(const struct pickle_machine *machine, const char *function,
                               const struct pickle_value *const *arguments,
                               struct pickle_tensor *tensor, unet_error *error)
{
    int64_t count;
    if (!is_count(arguments[1]))
        return wrong_call(machine, error, function, "an offset that is no count");
    if (!read_sides(arguments[2], tensor->shape))
        return wrong_call(machine, error, function, "a shape that is not of at most 8 counts");
    tensor->rank = (int)arguments[2]->list.count;
    if (!tensor_count(tensor->shape, tensor->rank, &count))
        return wrong_call(machine, error, function, "a shape of too many values");
    if (!read_sides(arguments[3], tensor->stride) ||
        arguments[3]->list.count != arguments[2]->list.count)
        return wrong_call(machine, error, function, "a stride that is not of one count a side");
    /* An untyped storage counts bytes; its views count values. */
    int64_t unit = (int64_t)(tensor->type->size / tensor->storage->type->size);
    int64_t offset = arguments[1]->integer;
    if (!is_inside(tensor, count, offset, arguments[0]->view.count / unit))
        return wrong_call(machine, error, function, "a view that reaches beyond its storage");
    tensor->first = arguments[0]->view.first / unit + offset;
    return UNET_OK;
}

static unet_status make_tensor(struct pickle_machine *machine, const char *function,
                               const struct pickle_value *const *arguments,
                               const struct pickle_global *type, const struct pickle_value **result,
                               unet_error *error)
{
    struct pickle_tensor *tensor = arena_alloc(machine->arena, sizeof *tensor);
    struct pickle_value *value = pickle_new(machine, PICKLE_TENSOR);
    if (tensor == NULL || value == NULL)
        return pickle_no_memory(error);
    tensor->storage = arguments[0]->view.storage;
    tensor->type = type;
    TRY(read_layout(machine, function, arguments, tensor, error));
    value->tensor = tensor;
    *result = value;
    return UNET_OK;
}

/* What follows the strides concerns training alone. */
unet_status pickle_rebuild_tensor(struct pickle_machine *machine,
                                  const struct pickle_value *const *arguments, size_t count,
                                  const struct pickle_value **result, unet_error *error)
{
    static const char function[] = "torch._utils._rebuild_tensor_v2";
    if (count < 4 || arguments[0]->kind != PICKLE_STORAGE)
        return wrong_call(machine, error, function, "no storage, offset, shape and strides");
    return make_tensor(machine, function, arguments, arguments[0]->view.storage->type, result,
                       error);
}

/* (storage, offset, shape, strides, requires_grad, hooks, dtype, …), of an untyped storage. */
unet_status pickle_rebuild_tensor_v3(struct pickle_machine *machine,
                                     const struct pickle_value *const *arguments, size_t count,
                                     const struct pickle_value **result, unet_error *error)
{
    static const char function[] = "torch._utils._rebuild_tensor_v3";
    if (count < 7 || arguments[0]->kind != PICKLE_STORAGE ||
        arguments[0]->view.storage->type->size != 1 || arguments[6]->kind != PICKLE_GLOBAL ||
        !arguments[6]->global->is_dtype)
        return wrong_call(machine, error, function, "no untyped storage or no dtype");
    return make_tensor(machine, function, arguments, arguments[6]->global, result, error);
}

/* A parameter is its data: (data, requires_grad, hooks[, state]). */
unet_status pickle_rebuild_parameter(struct pickle_machine *machine,
                                     const struct pickle_value *const *arguments, size_t count,
                                     const struct pickle_value **result, unet_error *error)
{
    if (count < 1 || arguments[0]->kind != PICKLE_TENSOR)
        return pickle_malformed(machine, error, "a parameter is made of no tensor");
    *result = arguments[0];
    return UNET_OK;
}
