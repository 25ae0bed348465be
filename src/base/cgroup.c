#include "base/cgroup.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"

bool cgroup_read_numbers(const char *folder, const char *name, double *numbers, int count)
{
    char path[CGROUP_PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return false;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    int got = 0;
    while (got < count && fscanf(file, "%lf", &numbers[got]) == 1)
        got++;
    fclose(file);
    return got == count;
}

/* ---------------------------------------------------------------- from a group to the root */

/* A limit of any ancestor binds, so walk from ROOT/GROUP up to ROOT. */
static double smallest_up(const char *root, const char *group, cgroup_limit limit)
{
    char folder[CGROUP_PATH_BYTES];
    double smallest = INFINITY;
    size_t root_length = strlen(root);
    if (snprintf(folder, sizeof folder, "%s%s", root, group) >= (int)sizeof folder)
        return INFINITY;
    for (;;) {
        smallest = fmin(smallest, limit(folder));
        char *slash = strrchr(folder, '/');
        if (slash == NULL || (size_t)(slash - folder) < root_length)
            return smallest;
        *slash = '\0';
    }
}

/* True if the comma-separated list of controllers has `name`. */
static bool has_controller(const char *controllers, const char *name)
{
    for (const char *word = controllers; word != NULL; word = strchr(word, ',')) {
        word += *word == ',';
        size_t length = strcspn(word, ",");
        if (length == strlen(name) && strncmp(word, name, length) == 0)
            return true;
    }
    return false;
}

/* "ID:CONTROLLERS:GROUP"; version 2 names no controllers. Version 1's hierarchies are mounted under
 * the name of one controller or of all that share it. */
static double line_limit(char *line, const char *root, const struct cgroup_controller *controller)
{
    char *controllers = strchr(line, ':'), *group;
    if (controllers == NULL || (group = strchr(controllers + 1, ':')) == NULL)
        return INFINITY;
    *controllers++ = '\0';
    *group++ = '\0';
    if (controllers[0] == '\0')
        return smallest_up(root, group, controller->version_2);
    if (!has_controller(controllers, controller->name))
        return INFINITY;
    char mount[CGROUP_PATH_BYTES];
    snprintf(mount, sizeof mount, "%s/%s", root, controller->name);
    double limit = smallest_up(mount, group, controller->version_1);
    if (strcmp(controllers, controller->name) == 0)
        return limit;
    snprintf(mount, sizeof mount, "%s/%.64s", root, controllers);
    return fmin(limit, smallest_up(mount, group, controller->version_1));
}

double cgroup_smallest_at(const char *membership, const char *root,
                          const struct cgroup_controller *controller)
{
    FILE *file = fopen(membership, "re");
    if (file == NULL)
        return INFINITY;
    char line[CGROUP_PATH_BYTES];
    double smallest = INFINITY;
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        smallest = fmin(smallest, line_limit(line, root, controller));
    }
    fclose(file);
    return smallest;
}

/* ---------------------------------------------------------------- the CPU quota */

/* "MAX PERIOD" or "max PERIOD". */
static double quota_v2(const char *folder)
{
    double max[2];
    bool bound = cgroup_read_numbers(folder, "cpu.max", max, 2) && max[0] > 0 && max[1] > 0;
    return bound ? max[0] / max[1] : INFINITY;
}

static double quota_v1(const char *folder)
{
    double quota, period;
    bool bound = cgroup_read_numbers(folder, "cpu.cfs_quota_us", &quota, 1) &&
                 cgroup_read_numbers(folder, "cpu.cfs_period_us", &period, 1) && quota > 0 &&
                 period > 0;
    return bound ? quota / period : INFINITY;
}

double cgroup_cpu_quota_at(const char *membership, const char *root)
{
    static const struct cgroup_controller cpu = {"cpu", quota_v1, quota_v2};
    double quota = cgroup_smallest_at(membership, root, &cpu);
    return isfinite(quota) ? quota : 0;
}

double cgroup_cpu_quota(void)
{
    return cgroup_cpu_quota_at("/proc/self/cgroup", "/sys/fs/cgroup");
}

int cpu_usable_threads(void)
{
    cpu_set_t set;
    int threads = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        threads = CPU_COUNT(&set);
    double quota = cgroup_cpu_quota();
    if (quota > 0 && ceil(quota) < threads)
        threads = (int)ceil(quota);
    return threads > 0 ? threads : 1;
}
