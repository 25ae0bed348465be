/* Structs with a size field: reads the caller's, which may be older or newer than ours. */
#ifndef UNET_BASE_OPTIONS_H
#define UNET_BASE_OPTIONS_H

#include "base/error.h"

/* Copies the caller's option struct of its own `size` (first member) into ours of `known` bytes,
 * missing members zero. `from` may be NULL: all zero. USAGE if size is 0, or if the caller's struct
 * is larger and a byte of its tail is not zero. `name` is for the message. */
unet_status options_read(void *into, size_t known, const void *from, const char *name,
                         unet_error *error);

/* Copies our result struct of `known` bytes into the caller's of its own `size`: the common part;
 * a larger one's tail is zeroed; `size` itself is kept. USAGE if size is 0. */
unet_status options_write(void *to, const void *from, size_t known, const char *name,
                          unet_error *error);

#endif
