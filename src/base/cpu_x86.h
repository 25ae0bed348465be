/* cpuid, on x86; elsewhere there is nothing to find. */
#ifndef UNET_BASE_CPU_X86_H
#define UNET_BASE_CPU_X86_H

#include "base/cpu.h"

/* What cpuid, XCR0 and the kernel allow together; bits of enum cpu_feature. */
uint32_t cpu_x86_features(void);
/* The processor's brand string; false if it has none. */
bool cpu_x86_brand(char brand[64]);

#endif
