/* .pth as PyTorch 1.6 and later write it: a zip archive whose one folder holds data.pkl and, for
 * each storage, data/KEY. The folder's name varies. */
#include <stdio.h>
#include <string.h>

#include "model/model.h"
#include "model/state_dict.h"
#include "model/zip_archive.h"

#define MAX_ENTRY_NAME 1024

struct pth_zip {
    struct zip_archive archive;
    struct arena arena; /* the pickle's values */
    struct pickle_storages storages;
    const char *pickle_name;
    int folder_length; /* of pickle_name: the folder with its slash */
};

static bool probe(const struct file_map *file)
{
    return file->size >= 4 && (memcmp(file->bytes, "PK\3\4", 4) == 0 ||
                               memcmp(file->bytes, "PK\5\6", 4) == 0); /* no entries */
}

/* True for FOLDER/data.pkl. */
static bool is_pickle(const char *name)
{
    const char *slash = strchr(name, '/');
    return slash != NULL && strcmp(slash, "/data.pkl") == 0;
}

static unet_status find_pickle(struct pth_zip *pth, size_t *index, unet_error *error)
{
    for (*index = 0; *index < pth->archive.count; (*index)++) {
        const char *name = zip_archive_name(&pth->archive, *index);
        if (name == NULL || !is_pickle(name))
            continue;
        pth->pickle_name = name;
        pth->folder_length = (int)(strchr(name, '/') + 1 - name);
        return UNET_OK;
    }
    return error_set(error, UNET_ERROR_MODEL,
                     "is a zip archive without FOLDER/data.pkl, so torch.save did not write it; "
                     "give a .pth, .wts or .safetensors");
}

/* The index of FOLDER/NAME. */
static bool find_entry(const struct pth_zip *pth, const char *name, size_t length, size_t *index)
{
    char path[MAX_ENTRY_NAME];
    int wrote = snprintf(path, sizeof path, "%.*s%.*s", pth->folder_length, pth->pickle_name,
                         (int)length, name);
    return wrote > 0 && (size_t)wrote < sizeof path && zip_archive_find(&pth->archive, path, index);
}

static unet_status check_byte_order(const struct pth_zip *pth, unet_error *error)
{
    size_t index, size;
    const uint8_t *bytes;
    if (!find_entry(pth, "byteorder", strlen("byteorder"), &index))
        return UNET_OK; /* before PyTorch 2.1: little-endian but on machines that nobody has */
    TRY(zip_archive_bytes(&pth->archive, index, &bytes, &size, error));
    if (size != strlen("little") || memcmp(bytes, "little", size) != 0)
        return error_set(error, UNET_ERROR_MODEL,
                         "was saved with byte order '%.*s'; load it in PyTorch on a little-endian "
                         "machine and save it again",
                         size < 20 ? (int)size : 20, (const char *)bytes);
    return UNET_OK;
}

static unet_status locate(void *context, struct pickle_storage *storage, unet_error *error)
{
    const struct pth_zip *pth = context;
    char name[MAX_ENTRY_NAME];
    size_t index, size;
    int shown = storage->key_length < 200 ? (int)storage->key_length : 200;
    int length = snprintf(name, sizeof name, "data/%.*s", shown, storage->key);
    if (!find_entry(pth, name, (size_t)length, &index))
        return error_set(error, UNET_ERROR_MODEL,
                         "its storage 'data/%.*s' is not in the archive; save it again", shown,
                         storage->key);
    const uint8_t *bytes;
    TRY(zip_archive_bytes(&pth->archive, index, &bytes, &size, error));
    size_t expected = (size_t)storage->count * pickle_type_size(storage->type);
    if (size != expected)
        return error_set(error, UNET_ERROR_MODEL,
                         "its storage 'data/%.*s' has %zu bytes where the pickle says %zu; the "
                         "file is damaged, copy or save it again",
                         shown, storage->key, size, expected);
    storage->data = bytes;
    return UNET_OK;
}

static unet_status read_archive(struct pth_zip *pth, const struct file_map *file,
                                struct tensor_set *tensors, unet_error *error)
{
    TRY(zip_archive_open(&pth->archive, file, error));
    size_t index;
    TRY(find_pickle(pth, &index, error));
    TRY(check_byte_order(pth, error));
    struct byte_reader pickle = {0};
    TRY(zip_archive_bytes(&pth->archive, index, &pickle.bytes, &pickle.size, error));
    const struct pickle_value *root;
    TRY(pickle_load(&pickle, &pth->arena, &pth->storages, &root, error));
    struct storage_source source = {.locate = locate, .context = pth};
    return state_dict_extract(root, &source, file->size, tensors, error);
}

static unet_status read_pth_zip(const struct file_map *file, struct tensor_set *tensors,
                                unet_error *error)
{
    struct pth_zip pth = {0};
    unet_status status = read_archive(&pth, file, tensors, error);
    pickle_storages_clear(&pth.storages);
    arena_clear(&pth.arena);
    zip_archive_close(&pth.archive);
    return status;
}

static unet_status verify_pth_zip(const struct file_map *file, size_t *checksums, unet_error *error)
{
    struct zip_archive archive;
    unet_status status = zip_archive_open(&archive, file, error);
    if (status == UNET_OK)
        status = zip_archive_verify(&archive, checksums, error);
    zip_archive_close(&archive);
    return status;
}

const struct model_reader model_reader_pth_zip = {
    .format = "pth", .probe = probe, .read = read_pth_zip, .verify = verify_pth_zip};
