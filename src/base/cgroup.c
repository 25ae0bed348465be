#include "base/cgroup.h"

#include <sched.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"

#define PATH_BYTES 4096

static bool read_text(const char *path, char *text, size_t bytes)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t got = fread(text, 1, bytes - 1, file);
    fclose(file);
    text[got] = '\0';
    return got > 0;
}

/* "MAX PERIOD" or "max PERIOD". */
static double quota_v2(const char *folder)
{
    char path[PATH_BYTES + 16], text[128];
    double quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (!read_text(path, text, sizeof text) || sscanf(text, "%lf %lf", &quota, &period) != 2)
        return 0;
    return quota > 0 && period > 0 ? quota / period : 0;
}

static double quota_v1(const char *folder)
{
    char path[PATH_BYTES + 32], text[128];
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    double quota = read_text(path, text, sizeof text) ? atof(text) : 0;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    double period = read_text(path, text, sizeof text) ? atof(text) : 0;
    return quota > 0 && period > 0 ? quota / period : 0;
}

/* A quota of any ancestor binds, so walk from ROOT/GROUP up to ROOT. */
static double smallest_quota(const char *root, const char *group, double (*quota)(const char *))
{
    char folder[PATH_BYTES];
    double smallest = 0;
    size_t root_length = strlen(root);
    if (snprintf(folder, sizeof folder, "%s%s", root, group) >= (int)sizeof folder)
        return 0;
    for (;;) {
        double here = quota(folder);
        if (here > 0 && (smallest == 0 || here < smallest))
            smallest = here;
        char *slash = strrchr(folder, '/');
        if (slash == NULL || (size_t)(slash - folder) < root_length)
            return smallest;
        *slash = '\0';
    }
}

/* True if the comma-separated list of controllers has "cpu". */
static bool has_cpu(const char *controllers)
{
    for (const char *word = controllers; word != NULL; word = strchr(word, ',')) {
        word += *word == ',';
        size_t length = strcspn(word, ",");
        if (length == 3 && strncmp(word, "cpu", 3) == 0)
            return true;
    }
    return false;
}

static double line_quota(char *line, const char *root)
{
    char *controllers = strchr(line, ':'), *group;
    if (controllers == NULL || (group = strchr(controllers + 1, ':')) == NULL)
        return 0;
    *controllers++ = '\0';
    *group++ = '\0';
    if (controllers[0] == '\0')
        return smallest_quota(root, group, quota_v2);
    if (!has_cpu(controllers))
        return 0;
    char mount[PATH_BYTES];
    snprintf(mount, sizeof mount, "%s/cpu", root);
    double quota = smallest_quota(mount, group, quota_v1);
    snprintf(mount, sizeof mount, "%s/%.64s", root, controllers);
    double joined = smallest_quota(mount, group, quota_v1);
    return quota == 0 || (joined > 0 && joined < quota) ? joined : quota;
}

double cgroup_cpu_quota_at(const char *membership, const char *root)
{
    FILE *file = fopen(membership, "re");
    if (file == NULL)
        return 0;
    char line[PATH_BYTES];
    double smallest = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        double quota = line_quota(line, root);
        if (quota > 0 && (smallest == 0 || quota < smallest))
            smallest = quota;
    }
    fclose(file);
    return smallest;
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
