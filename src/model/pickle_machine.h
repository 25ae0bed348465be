/* Private to the pickle_*.c files: the stack machine, and what the allow-list may do with it. */
#ifndef UNET_MODEL_PICKLE_MACHINE_H
#define UNET_MODEL_PICKLE_MACHINE_H

#include "model/pickle.h"

struct pickle_machine {
    struct byte_reader *reader;
    struct arena *arena;
    struct pickle_storages *storages;
    const struct pickle_value **stack;
    size_t depth, stack_capacity;
    size_t *marks; /* the depths at which MARK was executed */
    size_t mark_count, marks_capacity;
    const struct pickle_value **memo; /* gaps are NULL */
    size_t memo_size, memo_capacity, memo_count;
    size_t opcodes;
    size_t start; /* the reader's position at the pickle's first byte */
    bool stopped;
};

/* A function builds its result from the arguments, a tuple's items. A type has no `call`. */
typedef unet_status (*pickle_call)(struct pickle_machine *machine,
                                   const struct pickle_value *const *arguments, size_t count,
                                   const struct pickle_value **result, unet_error *error);

struct pickle_global {
    const char *module, *name;
    pickle_call call;
    bool is_storage, is_dtype;
    int dtype;   /* −1: none of ours */
    size_t size; /* bytes of one value */
};

/* NULL if MODULE.NAME is not on the list. */
const struct pickle_global *pickle_find_global(const char *module, size_t module_length,
                                               const char *name, size_t name_length);

/* The calls and the persistent ids that build tensors. */
unet_status pickle_rebuild_tensor(struct pickle_machine *machine,
                                  const struct pickle_value *const *arguments, size_t count,
                                  const struct pickle_value **result, unet_error *error);
unet_status pickle_rebuild_tensor_v3(struct pickle_machine *machine,
                                     const struct pickle_value *const *arguments, size_t count,
                                     const struct pickle_value **result, unet_error *error);
unet_status pickle_rebuild_parameter(struct pickle_machine *machine,
                                     const struct pickle_value *const *arguments, size_t count,
                                     const struct pickle_value **result, unet_error *error);
unet_status pickle_persistent(struct pickle_machine *machine, const struct pickle_value *id,
                              const struct pickle_value **result, unet_error *error);

/* The calls that build NumPy's scalars and the bytes in them, and the state that BUILD gives to a
 * PICKLE_NUMBER_TYPE. Anything but a plain number is refused; other bytes are opaque. */
unet_status pickle_numpy_dtype(struct pickle_machine *machine,
                               const struct pickle_value *const *arguments, size_t count,
                               const struct pickle_value **result, unet_error *error);
unet_status pickle_numpy_scalar(struct pickle_machine *machine,
                                const struct pickle_value *const *arguments, size_t count,
                                const struct pickle_value **result, unet_error *error);
unet_status pickle_encode(struct pickle_machine *machine,
                          const struct pickle_value *const *arguments, size_t count,
                          const struct pickle_value **result, unet_error *error);
unet_status pickle_numpy_state(const struct pickle_machine *machine,
                               const struct pickle_value *state, unet_error *error);

/* What never changes is not allocated. */
extern const struct pickle_value pickle_none, pickle_true, pickle_false, pickle_opaque;

/* A new value, NULL if memory is out. */
struct pickle_value *pickle_new(struct pickle_machine *machine, enum pickle_kind kind);
/* Appends to a tuple, list or dict. MODEL if that nests it too deep. */
unet_status pickle_append(struct pickle_machine *machine, struct pickle_value *container,
                          const struct pickle_value *const *items, size_t count, unet_error *error);
unet_status pickle_no_memory(unet_error *error);
/* MODEL: "… pickle is malformed at byte N: WHAT; …". */
unet_status pickle_malformed(const struct pickle_machine *machine, unet_error *error,
                             const char *what);

/* The stack, which fails rather than under- or overflow. A pop does not reach below a mark. */
unet_status pickle_push(struct pickle_machine *machine, const struct pickle_value *value,
                        unet_error *error);
unet_status pickle_pop(struct pickle_machine *machine, const struct pickle_value **value,
                       unet_error *error);
unet_status pickle_top(const struct pickle_machine *machine, const struct pickle_value **value,
                       unet_error *error);
unet_status pickle_push_mark(struct pickle_machine *machine, unet_error *error);
/* The values above the last mark, which are popped with it; they stay valid until the next push. */
unet_status pickle_pop_mark(struct pickle_machine *machine,
                            const struct pickle_value *const **items, size_t *count,
                            unet_error *error);

unet_status pickle_memo_put(struct pickle_machine *machine, size_t index, unet_error *error);
unet_status pickle_memo_get(struct pickle_machine *machine, size_t index, unet_error *error);

#endif
