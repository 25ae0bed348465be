/* Any bytes as a timing cache: it is read or refused with one line, and what is read is ordered,
 * without repeats, and found again. */
#include <unet.h>

#include <stdlib.h>
#include <string.h>

#include "build/timing_cache.h"

static void check_timings(const struct timing_cache *cache)
{
    for (int i = 0; i < cache->count; i++) {
        const struct timing *timing = &cache->timings[i];
        if (timing->nanoseconds <= 0 || timing->measured ||
            timing_cache_find(cache, timing->key, timing->kernel) != timing->nanoseconds)
            abort();
    }
}

static void parse(const char *text, size_t bytes)
{
    struct timing_cache cache = {0};
    unet_error error = {0};
    unet_status status = timing_cache_parse(&cache, text, bytes, &error);
    if (status == UNET_OK)
        check_timings(&cache);
    else if (status != UNET_ERROR_MODEL && status != UNET_ERROR_MEMORY)
        abort();
    else if (error.message[0] == '\0' || strchr(error.message, '\n') != NULL)
        abort();
    timing_cache_clear(&cache);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char head[] = "unet timing cache 1\n";
    parse((const char *)data, size);
    char *whole = malloc(sizeof head - 1 + size); /* past the first line without a seed */
    if (whole == NULL)
        return 0;
    memcpy(whole, head, sizeof head - 1);
    if (size > 0)
        memcpy(whole + sizeof head - 1, data, size);
    parse(whole, sizeof head - 1 + size);
    free(whole);
    return 0;
}
