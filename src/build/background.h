/* One thread that does one thing at a time, while its owner goes on. */
#ifndef UNET_BUILD_BACKGROUND_H
#define UNET_BUILD_BACKGROUND_H

#include "base/error.h"

struct background;

/* MEMORY if there is no thread to be had. */
unet_status background_create(void (*run)(void *context), void *context,
                              struct background **background, unet_error *error);
/* Calls run(context) there, once; nothing may be running. */
void background_start(struct background *background);
/* Until nothing is running; at once where nothing is. NULL is accepted. */
void background_wait(struct background *background);
/* Waits, and ends the thread. */
void background_free(struct background **background);

#endif
