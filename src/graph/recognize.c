#include "graph/recognize.h"

#include <stdio.h>
#include <string.h>

#include "graph/families.h"

static const struct family *const families[] = {&family_pytorch_unet, &family_brain};

#define FAMILY_COUNT (sizeof families / sizeof families[0])

/* Where the marker begins a dotted part of the name; NULL. */
static const char *find_marker(const char *name, const char *marker)
{
    const char *at = strstr(name, marker);
    while (at != NULL && at != name && at[-1] != '.')
        at = strstr(at + 1, marker);
    return at;
}

/* Trainers put a part of their own in front of every name ("module.", "model."): the prefix is
 * what stands before the marker. */
static const struct family *find_family(const struct tensor_set *tensors, const char **name,
                                        size_t *prefix_length)
{
    for (size_t f = 0; f < FAMILY_COUNT; f++) {
        for (size_t i = 0; i < tensors->count; i++) {
            const char *whole = tensors->items[i].name;
            const char *at = find_marker(whole, families[f]->marker);
            if (at == NULL)
                continue;
            *name = whole;
            *prefix_length = (size_t)(at - whole);
            return families[f];
        }
    }
    return NULL;
}

static unet_status refuse_unknown(const struct tensor_set *tensors, unet_error *error)
{
    char known[256] = "";
    for (size_t f = 0; f < FAMILY_COUNT; f++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s'%s…' (%s)", f > 0 ? " or " : "",
                 families[f]->marker, families[f]->name);
    }
    if (tensors->count == 0)
        return error_set(error, UNET_ERROR_MODEL, "holds no tensors; %s was expected", known);
    return error_set(error, UNET_ERROR_MODEL,
                     "not a U-Net that is known: its first tensor is '%s', and one of a network "
                     "with %s was expected",
                     tensors->items[0].name, known);
}

/* A .wts has no shapes; any other checkpoint has tensors of rank 4. */
static bool lacks_shapes(const struct tensor_set *tensors)
{
    for (size_t i = 0; i < tensors->count; i++)
        if (tensors->items[i].rank > 1)
            return false;
    return true;
}

static unet_status build(const struct family *family, struct layers *layers,
                         struct unet_facts *facts)
{
    family->build(layers, facts);
    layers_finish(layers);
    TRY(layers->status);
    return graph_check(layers->graph, layers->error);
}

unet_status graph_recognize(const struct tensor_set *tensors, struct graph *graph,
                            struct unet_facts *facts, unet_error *error)
{
    *graph = (struct graph){0};
    const char *name = NULL;
    size_t prefix_length = 0;
    const struct family *family = find_family(tensors, &name, &prefix_length);
    if (family == NULL)
        return refuse_unknown(tensors, error);

    struct unet_facts found = {0};
    struct layers layers = {.tensors = tensors,
                            .graph = graph,
                            .flat = lacks_shapes(tensors),
                            .error = error,
                            .prefix = arena_strndup(&graph->arena, name, prefix_length),
                            .used = memory_calloc(tensors->count, sizeof *layers.used)};
    unet_status status;
    if (layers.prefix == NULL || layers.used == NULL)
        status = error_memory(error, tensors->count, "the network's graph");
    else
        status = build(family, &layers, &found);
    memory_free(layers.used);
    if (status != UNET_OK)
        graph_clear(graph);
    else if (facts != NULL)
        *facts = found;
    return status;
}
