/* What inspect prints: checkpoints and engines. */
#ifndef UNET_CLI_INSPECT_H
#define UNET_CLI_INSPECT_H

#include <unet.h>

/* Each prints to stdout and returns the status of what had to be asked of the library. */
unet_status inspect_model(const char *path, bool json, bool verify, unet_error *error);
unet_status inspect_engine(const char *path, const char *device, bool json, bool verify,
                           unet_error *error);

/* "64×3×3×3"; a static buffer. */
const char *text_of_shape(const int64_t *shape, int rank);
/* "0, 255" or "(0, 0, 0), (255, 0, 0)", cut after a few; a static buffer. */
const char *text_of_mask_values(const uint8_t *values, size_t count, int channels);

#endif
