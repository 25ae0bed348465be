#include "support/support.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *next_buffer(void)
{
    static char buffers[8][4096];
    static unsigned turn;
    return buffers[turn++ % 8];
}

const char *repository_path(const char *relative)
{
    char *path = next_buffer();
    snprintf(path, 4096, "%s/%s", UNET_REPOSITORY, relative);
    return path;
}

const char *shared_path(const char *relative)
{
    char *path = next_buffer();
    snprintf(path, 4096, "%s/../shared/%s", UNET_REPOSITORY, relative);
    return access(path, R_OK) == 0 ? path : NULL;
}

void skip_without_shared(void)
{
    print_message("not run here: ../shared, with its checkpoints and images, is not there\n");
    skip();
}

static char folder[1024]; /* the temporary one */

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)about, (void)kind, (void)place;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *temporary_folder(void)
{
    if (folder[0] == '\0') {
        const char *base = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%s/unet-test-XXXXXX", base != NULL ? base : "/tmp");
        if (mkdtemp(folder) == NULL)
            fail_msg("cannot make a temporary folder");
        atexit(remove_folder);
    }
    return folder;
}

const char *temporary_path(const char *name)
{
    char *path = next_buffer();
    snprintf(path, 4096, "%s/%s", temporary_folder(), name);
    return path;
}

void assert_ok(unet_status status, const unet_error *error)
{
    if (status != UNET_OK)
        fail_msg("%s: %s", unet_status_name(status), error->message);
}

void assert_error(unet_status status, unet_status expected, const unet_error *error,
                  const char *part)
{
    if (status != expected)
        fail_msg("got '%s' (%s) where '%s' is due", unet_status_name(status),
                 status == UNET_OK ? "" : error->message, unet_status_name(expected));
    if (strcasestr(error->message, part) == NULL)
        fail_msg("'%s' does not speak of '%s'", error->message, part);
    if (strchr(error->message, '\n') != NULL)
        fail_msg("'%s' is not one line", error->message);
}

uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state != 0 ? *state : 88172645463325252u;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

float random_float(uint64_t *state, float low, float high)
{
    double unit = (double)(random_next(state) >> 11) / 9007199254740992.0;
    return (float)(low + (high - low) * unit);
}

double max_difference(const float *a, const float *b, size_t count)
{
    double worst = 0;
    for (size_t i = 0; i < count; i++) {
        double difference = fabs((double)a[i] - b[i]);
        if (isnan(difference))
            return INFINITY;
        if (difference > worst)
            worst = difference;
    }
    return worst;
}
