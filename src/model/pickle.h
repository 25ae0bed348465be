/* A pickle → values, by an allow-list: it executes only opcodes that build data, and calls only
 * functions of pickle_globals.c, which build tensors and containers. Everything else is refused by
 * its name. Memory stays proportional to the pickle's length, and nothing recurses. */
#ifndef UNET_MODEL_PICKLE_H
#define UNET_MODEL_PICKLE_H

#include "base/file.h"
#include "base/tensor.h"

enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_FLOAT,
    PICKLE_STRING,
    PICKLE_BYTES, /* also integers too long for int64, little-endian */
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_DICT,
    PICKLE_GLOBAL,  /* a function or type of the allow-list */
    PICKLE_STORAGE, /* numbers outside the pickle */
    PICKLE_TENSOR,
    PICKLE_NUMBER_TYPE, /* a numpy.dtype of plain numbers */
    PICKLE_OPAQUE,      /* harmless, and of no use to a network: sets, devices */
};

/* What torch.save calls a storage: a flat array that tensors are views of. */
struct pickle_storage {
    const char *key; /* in the pickle's bytes, not terminated */
    size_t key_length;
    const struct pickle_global *type;
    int64_t count;       /* values */
    const uint8_t *data; /* count × element size bytes, once the reader has found them */
};

/* A view of a storage. `first`, `shape` and `stride` count values; the view is inside. */
struct pickle_tensor {
    struct pickle_storage *storage;
    const struct pickle_global *type; /* its dtype; not the storage's where that is untyped */
    int64_t first;
    int rank;
    int64_t shape[UNET_MAX_RANK], stride[UNET_MAX_RANK];
};

/* Strings and bytes point into the pickle. Containers may hold each other in circles: look into
 * them to a fixed depth. */
struct pickle_value {
    enum pickle_kind kind;
    uint32_t nesting; /* containers in it, one within another */
    union {
        bool truth;
        int64_t integer;
        double real;
        struct {
            const char *bytes; /* not terminated */
            size_t length;
        } text;
        struct { /* a dict's are key, value, key, value */
            const struct pickle_value **items;
            uint32_t count, capacity;
        } list;
        struct {
            struct pickle_storage *storage;
            int64_t first, count; /* old files have storages that are views of others */
        } view;
        const struct pickle_global *global;
        const struct pickle_tensor *tensor;
        const struct pickle_number_type *number_type;
    };
};

/* The storages that a pickle refers to, each once. Zero-initialise it. */
struct pickle_storages {
    struct pickle_storage **items;
    size_t count, capacity;
    struct name_index by_key;
};

void pickle_storages_clear(struct pickle_storages *storages);
/* NULL if the pickle speaks of no such storage. */
struct pickle_storage *pickle_storages_find(const struct pickle_storages *storages, const char *key,
                                            size_t length);

/* Executes one pickle from the reader's position up to its end. The values live in `arena` and
 * point into the reader's bytes. `storages` may be NULL where a pickle must not refer to any.
 * MODEL, MEMORY. */
unet_status pickle_load(struct byte_reader *reader, struct arena *arena,
                        struct pickle_storages *storages, const struct pickle_value **result,
                        unet_error *error);

/* The type's dtype; −1 if it is none that libunet has. */
int pickle_type_dtype(const struct pickle_global *type);
/* PyTorch's name, "FloatStorage" or "uint16". */
const char *pickle_type_name(const struct pickle_global *type);
/* Bytes of one value; 0 where that is not known. */
size_t pickle_type_size(const struct pickle_global *type);

/* "a list", "a tensor", … */
const char *pickle_kind_name(enum pickle_kind kind);
bool pickle_is_string(const struct pickle_value *value, const char *text);
/* The value at a string key, the last if there are several; NULL if there is none or `dict` is no
 * dict. */
const struct pickle_value *pickle_dict_get(const struct pickle_value *dict, const char *key);

#endif
