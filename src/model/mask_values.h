/* A checkpoint's "mask_values": the grey value or colour of each class in its training masks. */
#ifndef UNET_MODEL_MASK_VALUES_H
#define UNET_MODEL_MASK_VALUES_H

#include "model/pickle.h"

/* Takes a list of 0…255, or of lists of one or three of them, into the set; anything else is not
 * what Pytorch-UNet writes, and is ignored. MEMORY. */
unet_status mask_values_from_pickle(const struct pickle_value *list, struct tensor_set *tensors,
                                    unet_error *error);

/* The same from and to the text of a JSON array, as a .safetensors keeps it. */
unet_status mask_values_from_json(const char *text, struct tensor_set *tensors, unet_error *error);
/* NULL if memory is out; freed by free(). */
char *mask_values_to_json(const struct tensor_set *tensors);

#endif
