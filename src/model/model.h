/* A checkpoint file → named tensors. Readers are a table; the content decides which one reads. */
#ifndef UNET_MODEL_MODEL_H
#define UNET_MODEL_MODEL_H

#include "base/file.h"
#include "base/tensor.h"

struct model_reader {
    const char *format; /* "pth", "wts", "safetensors" */
    /* True if the first bytes look like this format. */
    bool (*probe)(const struct file_map *file);
    /* Fills `tensors` (zero-initialised). Errors are MODEL; the caller puts the path in front. */
    unet_status (*read)(const struct file_map *file, struct tensor_set *tensors, unet_error *error);
    /* Compares every checksum and counts them; NULL where the format has none. */
    unet_status (*verify)(const struct file_map *file, size_t *checksums, unet_error *error);
};

extern const struct model_reader model_reader_pth_zip;    /* PyTorch ≥ 1.6 */
extern const struct model_reader model_reader_pth_legacy; /* before: pickles one after another */
extern const struct model_reader model_reader_safetensors;
extern const struct model_reader model_reader_wts;

/* Writers: whole or not at all. */
unet_status model_write_wts(const struct tensor_set *tensors, const char *path, unet_error *error);
unet_status model_write_safetensors(const struct tensor_set *tensors, const char *path,
                                    unet_error *error);

struct unet_model {
    const char *format;
    struct tensor_set tensors;
};

/* Reads bytes with the reader that they look made for into `model` (zero-initialised), which the
 * caller clears in any case. MODEL, MEMORY; the message does not name the file. */
unet_status model_read(const struct file_map *file, struct unet_model *model, unet_error *error);

#endif
