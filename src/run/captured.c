#include "run/captured.h"

static bool same_io(const struct session_io *a, const struct session_io *b)
{
    return a->input == b->input && a->pixels.bytes == b->pixels.bytes &&
           a->pixels.step == b->pixels.step && a->pixels.values == b->pixels.values &&
           a->logits == b->logits && a->mask.classes == b->mask.classes &&
           (a->mask.classes == NULL || a->mask.above == b->mask.above);
}

static bool same_key(const struct run_key *a, const struct run_key *b)
{
    return a->batch == b->batch && a->height == b->height && a->width == b->width &&
           same_io(&a->io, &b->io);
}

struct captured_run *captured_find(struct captured_runs *all, const struct run_key *key,
                                   bool *known, struct device_graph **evicted)
{
    struct captured_run *oldest = &all->runs[0];
    all->clock++;
    *evicted = NULL;
    for (int i = 0; i < CAPTURED_MOST; i++) {
        struct captured_run *run = &all->runs[i];
        *known = run->used > 0 && same_key(&run->key, key);
        if (*known) {
            run->used = all->clock;
            return run;
        }
        if (run->used < oldest->used)
            oldest = run;
    }
    *evicted = oldest->graph;
    *oldest = (struct captured_run){.key = *key, .used = all->clock};
    return oldest;
}

void captured_clear(struct captured_runs *all, const struct device_backend *backend)
{
    for (int i = 0; i < CAPTURED_MOST; i++)
        if (all->runs[i].graph != NULL)
            backend->graph_free(all->runs[i].graph);
    *all = (struct captured_runs){0};
}
