/* The CPU quota that a container imposes. */
#ifndef UNET_BASE_CGROUP_H
#define UNET_BASE_CGROUP_H

/* The smallest quota between this process's cgroup and the root, in CPUs (2.5 = two and a half), from
 * cgroup v2's cpu.max or v1's cpu.cfs_quota_us; 0: none. */
double cgroup_cpu_quota(void);

/* The same below other folders than /proc and /sys, for tests: `membership` is a file such as
 * /proc/self/cgroup, `root` a folder such as /sys/fs/cgroup. */
double cgroup_cpu_quota_at(const char *membership, const char *root);

#endif
