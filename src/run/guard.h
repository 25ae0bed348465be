/* In builds with AddressSanitizer a step may touch its own tensors alone: the rest of the arena is
 * poisoned while it runs. In others these functions do nothing. */
#ifndef UNET_RUN_GUARD_H
#define UNET_RUN_GUARD_H

#include "plan/plan.h"

#if defined(__SANITIZE_ADDRESS__)
#define GUARD_ACTIVE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GUARD_ACTIVE 1
#endif
#endif

/* Before a step: opens its tensors, borders included, and closes everything else. */
void guard_step(const struct plan_step *step, const struct layout_step *laid, void *arena,
                size_t bytes);
/* Opens all, before the memory is freed or used for something else. */
void guard_open(void *arena, size_t bytes);

#endif
