/* Where an engine runs, and what becomes of its graph there. Private to engine/. */
#ifndef UNET_ENGINE_MACHINE_H
#define UNET_ENGINE_MACHINE_H

#include "engine/engine.h"

/* Sets the engine's target: `device` is "cpu", "auto", what device_parse takes, or NULL, which is
 * what the engine was built for, or the CPU where that is not there (a notice says so). DEVICE
 * where a device was named and is not there; USAGE. */
unet_status engine_choose_target(unet_engine *engine, const char *device, const struct log *log,
                                 unet_error *error);

/* Types that the target has no use for become float32, with a notice; what its kernels do not read
 * as it lies is laid out otherwise. `changed`: the recorded kernels are of another graph now.
 * DEVICE where the target does not run what cannot be widened. */
unet_status engine_adapt_graph(unet_engine *engine, const struct log *log, bool *changed,
                               unet_error *error);

#endif
