/* What builds of checkpoints and of engines have in common. */
#ifndef UNET_BUILD_BUILD_H
#define UNET_BUILD_BUILD_H

#include "base/error.h"

/* Checks the caller's options and fills in defaults; the size to tune for too, whether or not one
 * was given. USAGE. */
unet_status build_options_read(const unet_build_options *options, unet_build_options *known,
                               bool *size_given, unet_error *error);

#endif
