#include "model/safetensors.h"

#include <string.h>

static const char *const names[] = {
    [UNET_F32] = "F32", [UNET_F16] = "F16",   [UNET_BF16] = "BF16", [UNET_F64] = "F64",
    [UNET_U8] = "U8",   [UNET_I8] = "I8",     [UNET_I16] = "I16",   [UNET_I32] = "I32",
    [UNET_I64] = "I64", [UNET_BOOL] = "BOOL",
};

#define NAME_COUNT (sizeof names / sizeof names[0])

const char *safetensors_dtype_name(unet_dtype dtype)
{
    return (size_t)dtype < NAME_COUNT ? names[dtype] : NULL;
}

bool safetensors_dtype_from_name(const char *name, unet_dtype *dtype)
{
    for (size_t i = 0; i < NAME_COUNT; i++) {
        if (strcmp(names[i], name) != 0)
            continue;
        *dtype = (unet_dtype)i;
        return true;
    }
    return false;
}
