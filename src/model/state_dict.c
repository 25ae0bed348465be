#include "model/state_dict.h"

#include <stdio.h>
#include <string.h>

#include "model/mask_values.h"
#include "model/tensor_copy.h"

/* Tied weights share a storage, and expanded ones repeat it; nobody does so many times over. */
#define MAX_EXPANSION   8
#define EXPANSION_FLOOR ((size_t)1 << 20)

#define MAX_NAME 1024

/* ---------------------------------------------------------------- which dict */

static bool is_entry(const struct pickle_value *name, const struct pickle_value *value)
{
    return name->kind == PICKLE_STRING && value->kind == PICKLE_TENSOR;
}

static bool holds_tensors(const struct pickle_value *dict)
{
    if (dict == NULL || dict->kind != PICKLE_DICT)
        return false;
    for (uint32_t i = 0; i < dict->list.count; i += 2)
        if (is_entry(dict->list.items[i], dict->list.items[i + 1]))
            return true;
    return false;
}

/* The state_dict in `root`: what is nested comes first, for a loss beside it may be a tensor too.
 * `depth` is how many wrappers may lie around it. */
static const struct pickle_value *find_state_dict(const struct pickle_value *root, int depth)
{
    static const char *const wrappers[] = {"state_dict", "model_state_dict", "model", "net"};
    for (size_t i = 0; depth > 0 && i < sizeof wrappers / sizeof wrappers[0]; i++) {
        const struct pickle_value *nested = pickle_dict_get(root, wrappers[i]);
        if (nested == NULL)
            continue;
        /* two levels: {"model": {"state_dict": …}} */
        const struct pickle_value *found = find_state_dict(nested, depth - 1);
        if (found != NULL)
            return found;
    }
    return holds_tensors(root) ? root : NULL;
}

/* "'epoch', 'optimizer', …" for a message. */
static void list_keys(const struct pickle_value *dict, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < dict->list.count && used < bytes; i += 2) {
        const struct pickle_value *key = dict->list.items[i];
        if (key->kind != PICKLE_STRING)
            continue;
        int length = key->text.length < 40 ? (int)key->text.length : 40;
        int wrote = snprintf(text + used, bytes - used, "%s'%.*s'", used > 0 ? ", " : "", length,
                             key->text.bytes);
        used += (size_t)wrote;
    }
}

static unet_status no_state_dict(const struct pickle_value *root, unet_error *error)
{
    if (root->kind != PICKLE_DICT)
        return error_set(error, UNET_ERROR_MODEL,
                         "holds %s where a dict of tensors is expected; save model.state_dict() "
                         "with torch.save",
                         pickle_kind_name(root->kind));
    char keys[200];
    list_keys(root, keys, sizeof keys);
    return error_set(error, UNET_ERROR_MODEL,
                     "holds no dict of tensors, neither as a whole nor under state_dict, "
                     "model_state_dict, model or net; save model.state_dict() with torch.save. Its "
                     "keys: %s",
                     keys[0] != '\0' ? keys : "none");
}

/* ---------------------------------------------------------------- names */

static bool all_begin_with(const struct pickle_value *dict, const char *prefix, size_t skip)
{
    size_t length = strlen(prefix);
    for (uint32_t i = 0; i < dict->list.count; i += 2) {
        const struct pickle_value *name = dict->list.items[i];
        if (is_entry(name, dict->list.items[i + 1]) &&
            (name->text.length < skip + length ||
             memcmp(name->text.bytes + skip, prefix, length) != 0))
            return false;
    }
    return true;
}

/* The length of what wrappers put before every name: DataParallel, torch.compile. */
static size_t common_prefix(const struct pickle_value *dict)
{
    static const char *const prefixes[] = {"module.", "_orig_mod."};
    size_t skip = 0;
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
            if (all_begin_with(dict, prefixes[i], skip))
                skip += strlen(prefixes[i]);
    return skip;
}

/* ---------------------------------------------------------------- tensors */

struct extraction {
    const struct storage_source *source;
    struct tensor_set *tensors;
    size_t used, limit; /* bytes of values */
};

static unet_status copy_name(const struct pickle_value *name, size_t skip, char *text,
                             unet_error *error)
{
    size_t length = name->text.length - skip;
    const char *from = name->text.bytes + skip;
    if (length >= MAX_NAME || memchr(from, '\0', length) != NULL)
        return error_set(error, UNET_ERROR_MODEL,
                         "the name of a tensor, '%.40s…', is longer than %d bytes or has a zero in "
                         "it; save the model with another name",
                         from, MAX_NAME - 1);
    memcpy(text, from, length);
    text[length] = '\0';
    return UNET_OK;
}

static unet_status locate(const struct extraction *extraction, struct pickle_storage *storage,
                          unet_error *error)
{
    int64_t bytes;
    if (__builtin_mul_overflow(storage->count, (int64_t)pickle_type_size(storage->type), &bytes))
        return error_set(error, UNET_ERROR_MODEL,
                         "its storage has an impossible size; the file is damaged");
    if (storage->data != NULL)
        return UNET_OK;
    return extraction->source->locate(extraction->source->context, storage, error);
}

static unet_status book(struct extraction *extraction, int64_t count, size_t size, size_t *bytes,
                        unet_error *error)
{
    size_t left = extraction->limit - extraction->used;
    if (__builtin_mul_overflow((size_t)count, size, bytes) || *bytes > left)
        return error_set(error, UNET_ERROR_MODEL,
                         "with its shape the tensors take more than %d times the file's size, for "
                         "they repeat their storage; the file is damaged, save it again",
                         MAX_EXPANSION);
    extraction->used += *bytes;
    return UNET_OK;
}

static unet_status copy_values(struct extraction *extraction, const struct pickle_tensor *from,
                               unet_tensor *tensor, unet_error *error)
{
    int64_t count = 0;
    size_t size = unet_dtype_size(tensor->dtype);
    tensor_count(from->shape, from->rank, &count); /* rebuilding the tensor checked it */
    TRY(book(extraction, count, size, &tensor->bytes, error));
    if (count > 0)
        TRY(locate(extraction, from->storage, error));
    uint8_t *data = arena_alloc(&extraction->tensors->arena, tensor->bytes);
    if (data == NULL)
        return error_memory(error, tensor->bytes, "a tensor");
    if (count > 0)
        tensor_copy_strided(from->storage->data + (size_t)from->first * size, from->rank,
                            from->shape, from->stride, count, size, data);
    tensor->data = data;
    return UNET_OK;
}

static unet_status extract_tensor(struct extraction *extraction, const char *name,
                                  const struct pickle_tensor *from, unet_error *error)
{
    int dtype = pickle_type_dtype(from->type);
    if (dtype < 0)
        return error_set(error, UNET_ERROR_MODEL,
                         "is of torch.%s, which is not supported; convert it to float32 before "
                         "saving",
                         pickle_type_name(from->type));
    unet_tensor tensor = {.name = name, .dtype = (unet_dtype)dtype, .rank = from->rank};
    memcpy(tensor.shape, from->shape, sizeof tensor.shape);
    TRY(copy_values(extraction, from, &tensor, error));
    return tensor_set_add(extraction->tensors, &tensor, error);
}

static unet_status extract_all(struct extraction *extraction, const struct pickle_value *dict,
                               unet_error *error)
{
    size_t skip = common_prefix(dict);
    for (uint32_t i = 0; i < dict->list.count; i += 2) {
        const struct pickle_value *name = dict->list.items[i], *value = dict->list.items[i + 1];
        if (!is_entry(name, value))
            continue;
        char text[MAX_NAME];
        TRY(copy_name(name, skip, text, error));
        unet_status status = extract_tensor(extraction, text, value->tensor, error);
        if (status != UNET_OK)
            return error_prefix(error, status, "tensor '%s'", text);
    }
    return UNET_OK;
}

unet_status state_dict_extract(const struct pickle_value *root, const struct storage_source *source,
                               size_t file_bytes, struct tensor_set *tensors, unet_error *error)
{
    const struct pickle_value *dict = find_state_dict(root, 2);
    if (dict == NULL)
        return no_state_dict(root, error);
    struct extraction extraction = {.source = source, .tensors = tensors};
    if (__builtin_mul_overflow(file_bytes, (size_t)MAX_EXPANSION, &extraction.limit) ||
        __builtin_add_overflow(extraction.limit, EXPANSION_FLOOR, &extraction.limit))
        extraction.limit = SIZE_MAX;
    TRY(extract_all(&extraction, dict, error));
    const struct pickle_value *mask_values = pickle_dict_get(dict, "mask_values");
    if (mask_values == NULL)
        mask_values = pickle_dict_get(root, "mask_values");
    return mask_values_from_pickle(mask_values, tensors, error);
}
