/* What the control groups that hold this process impose: the CPU quota of a container, and a walk
 * for other limits. */
#ifndef UNET_BASE_CGROUP_H
#define UNET_BASE_CGROUP_H

#include <stdbool.h>

#define CGROUP_PATH_BYTES 4352 /* PATH_MAX, and a file's name below that */

/* What one group imposes, read from its folder; INFINITY: nothing, or nothing that can be read. */
typedef double (*cgroup_limit)(const char *folder);

struct cgroup_controller {
    const char *name; /* as /proc/self/cgroup says it: "cpu", "memory" */
    cgroup_limit version_1, version_2;
};

/* The smallest limit between a process's group and the root, INFINITY without one. `membership` is
 * a file such as /proc/self/cgroup, `root` a folder such as /sys/fs/cgroup. */
double cgroup_smallest_at(const char *membership, const char *root,
                          const struct cgroup_controller *controller);

/* The first `count` numbers of FOLDER/NAME; false if they are not there. */
bool cgroup_read_numbers(const char *folder, const char *name, double *numbers, int count);

/* The smallest quota between this process's cgroup and the root, in CPUs (2.5 = two and a half),
 * from cgroup v2's cpu.max or v1's cpu.cfs_quota_us; 0: none. */
double cgroup_cpu_quota(void);

/* The same below other folders than /proc and /sys, for tests. */
double cgroup_cpu_quota_at(const char *membership, const char *root);

#endif
