/* Lists of kernels: which run, and why the others do not. */
#ifndef UNET_CLI_KERNELS_H
#define UNET_CLI_KERNELS_H

#include "json.h"

#include <unet.h>

#define KERNELS_OF_CPU (-1) /* in a device's place */

unet_status kernels_print(int device, unet_error *error);
/* Puts "kernels", an array, into the object. */
unet_status kernels_put_json(json_t *object, int device, unet_error *error);

#endif
