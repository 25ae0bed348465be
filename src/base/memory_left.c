/* The files are described in the kernel's Documentation: filesystems/proc.rst, admin-guide/
 * cgroup-v2.rst and cgroup-v1/memory.rst. */
#include "base/memory_left.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cgroup.h"

/* The sum of the numbers behind those keys that FOLDER/NAME has at a line's start; `found` counts
 * them. */
static double sum_of(const char *folder, const char *name, const char *const *keys, int *found)
{
    char path[CGROUP_PATH_BYTES], line[256];
    double sum = 0;
    *found = 0;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return 0;
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char key[64];
        double value;
        if (sscanf(line, "%63s %lf", key, &value) != 2)
            continue;
        for (int i = 0; keys[i] != NULL; i++) {
            bool same = strcmp(key, keys[i]) == 0;
            sum += same ? value : 0;
            *found += same;
        }
    }
    if (file != NULL)
        fclose(file);
    return sum;
}

/* LIMIT − USAGE of two files of one number each. "max", which is no number, binds nothing. */
static double room(const char *folder, const char *limit_name, const char *usage_name)
{
    double limit, usage;
    if (!cgroup_read_numbers(folder, limit_name, &limit, 1) ||
        !cgroup_read_numbers(folder, usage_name, &usage, 1))
        return INFINITY;
    return limit > usage ? limit - usage : 0;
}

static double left_v2(const char *folder)
{
    static const char *const cache[] = {"inactive_file", "active_file", "slab_reclaimable", NULL};
    double left = room(folder, "memory.max", "memory.current");
    int found;
    /* memory.stat costs the kernel a sum over all CPUs: only where there is a limit */
    return isfinite(left) ? left + sum_of(folder, "memory.stat", cache, &found) : left;
}

static double left_v1(const char *folder)
{
    static const char *const cache[] = {"total_inactive_file", "total_active_file", NULL};
    double left = room(folder, "memory.limit_in_bytes", "memory.usage_in_bytes");
    int found;
    return isfinite(left) ? left + sum_of(folder, "memory.stat", cache, &found) : left;
}

static double swap_left_v2(const char *folder)
{
    return room(folder, "memory.swap.max", "memory.swap.current");
}

/* Version 1 bounds memory and swap together; taking that for no bound errs on the safe side. */
static double swap_left_v1(const char *folder)
{
    (void)folder;
    return INFINITY;
}

static double machine_left(const char *proc)
{
    static const char *const available[] = {"MemAvailable:", NULL};
    int found;
    double kib = sum_of(proc, "meminfo", available, &found);
    return found > 0 ? 1024 * kib : INFINITY; /* kernels before 3.14 do not say */
}

static double free_swap(const char *proc)
{
    static const char *const swap[] = {"SwapFree:", NULL};
    int found;
    return 1024 * sum_of(proc, "meminfo", swap, &found);
}

/* What RLIMIT_AS leaves of addresses: swap does not help against that. */
static double addresses_left(const char *proc)
{
    struct rlimit limit;
    double pages;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        !cgroup_read_numbers(proc, "self/statm", &pages, 1))
        return INFINITY;
    double left = (double)limit.rlim_cur - pages * (double)sysconf(_SC_PAGESIZE);
    return left > 0 ? left : 0;
}

size_t memory_left_at(const char *proc, const char *cgroups)
{
    static const struct cgroup_controller memory = {"memory", left_v1, left_v2};
    static const struct cgroup_controller swap = {"memory", swap_left_v1, swap_left_v2};
    char membership[CGROUP_PATH_BYTES];
    snprintf(membership, sizeof membership, "%s/self/cgroup", proc);
    double swappable = free_swap(proc), left = machine_left(proc) + swappable;
    double group = cgroup_smallest_at(membership, cgroups, &memory);
    if (isfinite(group))
        left = fmin(left, group + fmin(swappable, cgroup_smallest_at(membership, cgroups, &swap)));
    left = fmin(left, addresses_left(proc));
    return left < (double)(SIZE_MAX / 2) ? (size_t)left : SIZE_MAX;
}

size_t memory_left(void)
{
    return memory_left_at("/proc", "/sys/fs/cgroup");
}
