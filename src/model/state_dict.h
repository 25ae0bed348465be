/* From what a .pth holds to named tensors. */
#ifndef UNET_MODEL_STATE_DICT_H
#define UNET_MODEL_STATE_DICT_H

#include "model/pickle.h"

/* Finds a storage's bytes: sets storage->data. Called for storages that are used, once each. */
struct storage_source {
    unet_status (*locate)(void *context, struct pickle_storage *storage, unet_error *error);
    void *context;
};

/* Copies the tensors of the state_dict in `root` into `tensors`, and its mask_values. What lies
 * beside it (an optimizer's state, counters) is ignored. `file_bytes` bounds what views that share
 * or repeat their storage may add up to. MODEL, MEMORY. */
unet_status state_dict_extract(const struct pickle_value *root, const struct storage_source *source,
                               size_t file_bytes, struct tensor_set *tensors, unet_error *error);

#endif
