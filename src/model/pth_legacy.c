/* .pth as PyTorch wrote it before 1.6: pickles one after another (a magic number, the format's
 * version, the machine's properties, the object, the keys of its storages), then, for each key, the
 * number of values as int64 and their bytes. */
#include <string.h>

#include "model/model.h"
#include "model/state_dict.h"

#define VERSION 1001

/* 0x1950a86a20f9469cfc6c, little-endian, as a pickle's LONG1 holds it. */
static const uint8_t magic[] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

struct pth_legacy {
    struct byte_reader reader;
    struct arena arena;
    struct pickle_storages storages;
};

/* PROTO and its protocol: any pickle is taken, for the reader says best what is wrong with it. */
static bool probe(const struct file_map *file)
{
    return file->size >= 2 && file->bytes[0] == 0x80 && file->bytes[1] >= 1 && file->bytes[1] <= 5;
}

static unet_status next_pickle(struct pth_legacy *pth, struct pickle_storages *storages,
                               const struct pickle_value **value, unet_error *error)
{
    return pickle_load(&pth->reader, &pth->arena, storages, value, error);
}

static unet_status read_preamble(struct pth_legacy *pth, unet_error *error)
{
    const struct pickle_value *value;
    TRY(next_pickle(pth, NULL, &value, error));
    if (value->kind != PICKLE_BYTES || value->text.length != sizeof magic ||
        memcmp(value->text.bytes, magic, sizeof magic) != 0)
        return error_set(error, UNET_ERROR_MODEL,
                         "is a pickle without PyTorch's magic number; write it with torch.save");
    TRY(next_pickle(pth, NULL, &value, error));
    if (value->kind != PICKLE_INT || value->integer != VERSION)
        return error_set(error, UNET_ERROR_MODEL,
                         "is of another version of PyTorch's older format than %d; load it in "
                         "PyTorch and save it again",
                         VERSION);
    TRY(next_pickle(pth, NULL, &value, error));
    const struct pickle_value *little = pickle_dict_get(value, "little_endian");
    if (little != NULL && (little->kind != PICKLE_BOOL || !little->truth))
        return error_set(error, UNET_ERROR_MODEL,
                         "was saved on a big-endian machine; load it in PyTorch on a little-endian "
                         "one and save it again");
    return UNET_OK;
}

static unet_status bad_storage(const struct pickle_value *key, const char *what, unet_error *error)
{
    int shown = key->text.length < 100 ? (int)key->text.length : 100;
    return error_set(error, UNET_ERROR_MODEL,
                     "its storage '%.*s' %s; the file is damaged, copy or save it again", shown,
                     key->text.bytes, what);
}

static unet_status read_storage(struct pth_legacy *pth, const struct pickle_value *key,
                                unet_error *error)
{
    struct pickle_storage *storage =
        pickle_storages_find(&pth->storages, key->text.bytes, key->text.length);
    if (storage == NULL || storage->data != NULL)
        return bad_storage(key, "belongs to no tensor or comes twice", error);
    uint64_t count;
    size_t bytes;
    if (!read_u64(&pth->reader, &count) ||
        __builtin_mul_overflow((uint64_t)storage->count, pickle_type_size(storage->type), &bytes))
        return bad_storage(key, "is truncated", error);
    if (count != (uint64_t)storage->count)
        return bad_storage(key, "has another size than its tensors say", error);
    if (!read_bytes(&pth->reader, bytes, &storage->data))
        return bad_storage(key, "is truncated", error);
    return UNET_OK;
}

static unet_status read_storages(struct pth_legacy *pth, unet_error *error)
{
    const struct pickle_value *keys;
    TRY(next_pickle(pth, NULL, &keys, error));
    if (keys->kind != PICKLE_LIST)
        return error_set(error, UNET_ERROR_MODEL,
                         "has no list of storages; the file is damaged, copy or save it again");
    for (uint32_t i = 0; i < keys->list.count; i++) {
        const struct pickle_value *key = keys->list.items[i];
        if (key->kind != PICKLE_STRING)
            return error_set(error, UNET_ERROR_MODEL,
                             "has a storage without a name; the file is damaged, copy or save it "
                             "again");
        TRY(read_storage(pth, key, error));
    }
    return UNET_OK;
}

/* All storages have been found by now; one that was not has no bytes. */
static unet_status locate(void *context, struct pickle_storage *storage, unet_error *error)
{
    (void)context;
    int shown = storage->key_length < 100 ? (int)storage->key_length : 100;
    return error_set(error, UNET_ERROR_MODEL,
                     "its storage '%.*s' is not in the file; copy or save it again", shown,
                     storage->key);
}

static unet_status read_file(struct pth_legacy *pth, struct tensor_set *tensors, unet_error *error)
{
    TRY(read_preamble(pth, error));
    const struct pickle_value *root;
    TRY(next_pickle(pth, &pth->storages, &root, error));
    TRY(read_storages(pth, error));
    struct storage_source source = {.locate = locate};
    return state_dict_extract(root, &source, pth->reader.size, tensors, error);
}

static unet_status read_pth_legacy(const struct file_map *file, struct tensor_set *tensors,
                                   unet_error *error)
{
    struct pth_legacy pth = {.reader = {.bytes = file->bytes, .size = file->size}};
    unet_status status = read_file(&pth, tensors, error);
    pickle_storages_clear(&pth.storages);
    arena_clear(&pth.arena);
    return status;
}

const struct model_reader model_reader_pth_legacy = {
    .format = "pth", .probe = probe, .read = read_pth_legacy};
