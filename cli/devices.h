/* The GPUs of this machine, as doctor shows them. */
#ifndef UNET_CLI_DEVICES_H
#define UNET_CLI_DEVICES_H

#include "json.h"

#include <unet.h>

/* That there is none is no error: it says why. */
unet_status devices_print(unet_error *error);
/* Puts "devices", an array, and "no_device", why it is empty or null, into the object. */
unet_status devices_put_json(json_t *object, unet_error *error);

#endif
