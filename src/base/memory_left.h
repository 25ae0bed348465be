/* How much memory this process may still take before something kills it or says no. */
#ifndef UNET_BASE_MEMORY_LEFT_H
#define UNET_BASE_MEMORY_LEFT_H

#include <stddef.h>

/* Bytes: the least of what the machine has left, what each cgroup between this process and the root
 * (version 1 and 2) leaves, and what RLIMIT_AS leaves. Cache of files that the kernel can drop
 * counts as left, and so does swap; what cannot be found out limits nothing. SIZE_MAX: nothing
 * known does. An estimate from above: what it says is not there is not there. */
size_t memory_left(void);

/* The same below other folders than /proc and /sys/fs/cgroup, for tests. */
size_t memory_left_at(const char *proc, const char *cgroups);

#endif
