#include "run/guard.h"

#ifdef GUARD_ACTIVE

#include <sanitizer/asan_interface.h>

static void open_tensor(const struct blocked *tensor)
{
    struct blocked shape = *tensor;
    size_t bytes =
        blocked_init(&shape, tensor->type, tensor->channels, tensor->height, tensor->width);
    ASAN_UNPOISON_MEMORY_REGION((char *)tensor->data - blocked_origin(tensor), bytes);
}

void guard_step(const struct plan_step *step, const struct layout_step *laid, void *arena,
                size_t bytes)
{
    ASAN_POISON_MEMORY_REGION(arena, bytes);
    for (int s = 0; s < step->desc.source_count && step->sources[s] != GRAPH_NONE; s++)
        open_tensor(&laid->args.sources[s]);
    if (step->out != GRAPH_NONE)
        open_tensor(&laid->args.out);
    if (step->pooled != GRAPH_NONE)
        open_tensor(&laid->args.pooled);
}

void guard_open(void *arena, size_t bytes)
{
    if (arena != NULL)
        ASAN_UNPOISON_MEMORY_REGION(arena, bytes);
}

#else

void guard_step(const struct plan_step *step, const struct layout_step *laid, void *arena,
                size_t bytes)
{
    (void)step, (void)laid, (void)arena, (void)bytes;
}

void guard_open(void *arena, size_t bytes)
{
    (void)arena, (void)bytes;
}

#endif
