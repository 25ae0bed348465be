/* Private to the .safetensors reader and writer: what both must agree on. The format: the length of
 * the header as u64, little-endian; the header, a JSON object {name: {"dtype", "shape",
 * "data_offsets": [begin, end]}}, padded with spaces; then the values, little-endian, without
 * holes, which the offsets count from. "__metadata__" maps strings to strings. */
#ifndef UNET_MODEL_SAFETENSORS_H
#define UNET_MODEL_SAFETENSORS_H

#include "base/error.h"

#define SAFETENSORS_METADATA "__metadata__"
/* Our key in the metadata: the checkpoint's mask_values as the text of a JSON array. */
#define SAFETENSORS_MASK_VALUES "mask_values"

/* "F32", …; NULL for a dtype that does not exist. */
const char *safetensors_dtype_name(unet_dtype dtype);
/* False if the name is none of a dtype that libunet has. */
bool safetensors_dtype_from_name(const char *name, unet_dtype *dtype);

#endif
