#include "quant/table.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "quant/table_order.h"
#include "quant/ties.h"

#define KEY_BYTES 1200
#define NAMED     3 /* names that a refusal gives */

static const char *const own_lines[] = {"range", "mean", "square"};

static float **member(struct quant_value_range *value, int which)
{
    return which == 0 ? &value->channels : which == 1 ? &value->mean : &value->square;
}

static const char *channel_key(char *key, int which, const char *name, int channel)
{
    snprintf(key, KEY_BYTES, QUANT_TABLE_OWN "%s/%s/%d", own_lines[which], name, channel);
    return key;
}

static bool has_weights(const struct graph_node *node)
{
    return node->op == GRAPH_CONV || node->op == GRAPH_CONV_TRANSPOSE;
}

/* Some 30 bits of a hash as a finite float. */
static float digest(const struct graph_node *node)
{
    struct hash128 hash =
        hash_bytes(node->weight.data, (size_t)node->weight.count * sizeof *node->weight.data);
    uint32_t bits;
    float value;
    memcpy(&bits, hash.bytes, sizeof bits);
    bits &= 0x3fffffff;
    memcpy(&value, &bits, sizeof bits);
    return value;
}

/* ---------------------------------------------------------------- putting */

/* Of pooled and up-sampled values there may be means alone. */
static unet_status put_value(struct quant_table *table, const struct graph_value *value,
                             struct quant_value_range *range, unet_error *error)
{
    char key[KEY_BYTES];
    snprintf(key, sizeof key, QUANT_TABLE_OWN "range/%s", value->name);
    if (range->tensor > 0)
        TRY(quant_table_put(table, key, range->tensor, error));
    for (int which = 0; which < 3; which++) {
        const float *channels = *member(range, which);
        for (int c = 0; c < value->channels && channels != NULL; c++)
            TRY(quant_table_put(table, channel_key(key, which, value->name, c), channels[c],
                                error));
    }
    return UNET_OK;
}

unet_status quant_table_put_ranges(struct quant_table *table, const struct graph *graph,
                                   const struct quant_ranges *ranges, unet_error *error)
{
    char key[KEY_BYTES];
    for (int i = 0; i < graph->value_count; i++)
        if (ranges->values[i].tensor > 0)
            TRY(quant_table_put(table, graph->values[i].name,
                                ranges->values[i].tensor / QUANT_SIGNED_LEVELS, error));
    TRY(quant_table_put(table, QUANT_TABLE_OWN "share", ranges->share, error));
    for (int i = 0; i < graph->node_count; i++) {
        if (!has_weights(&graph->nodes[i]))
            continue;
        snprintf(key, sizeof key, QUANT_TABLE_OWN "weights/%s", graph->nodes[i].name);
        TRY(quant_table_put(table, key, digest(&graph->nodes[i]), error));
    }
    for (int i = 0; i < graph->value_count; i++)
        TRY(put_value(table, &graph->values[i], &ranges->values[i], error));
    return UNET_OK;
}

/* ---------------------------------------------------------------- what differs */

/* A list of names for a message: counts all, keeps some. */
struct differences {
    int count;
    size_t used;
    char names[160];
};

static void add_difference(struct differences *d, const char *name)
{
    if (d->count++ < NAMED && d->used < sizeof d->names)
        d->used += (size_t)snprintf(d->names + d->used, sizeof d->names - d->used, "%s%s",
                                    d->count > 1 ? ", " : "", name);
    else if (d->count == NAMED + 1 && d->used < sizeof d->names)
        d->used += (size_t)snprintf(d->names + d->used, sizeof d->names - d->used, ", …");
}

static bool is_own(const char *name)
{
    return strncmp(name, QUANT_TABLE_OWN, strlen(QUANT_TABLE_OWN)) == 0;
}

static bool is_value(const struct graph *graph, const char *name)
{
    for (int i = 0; i < graph->value_count; i++)
        if (strcmp(graph->values[i].name, name) == 0)
            return true;
    return false;
}

/* What quant_rescale cannot do without: of each layer the first result that is stored. */
static int due_value(const struct graph_node *node, const bool *fixed)
{
    int stored = node->output != GRAPH_NONE ? node->output : node->pooled;
    bool due = !quant_passes(node) && stored != GRAPH_NONE && !fixed[stored];
    return due ? stored : GRAPH_NONE;
}

static bool is_foreign(const struct quant_table *table, const struct graph *graph,
                       const bool *fixed)
{
    float scale;
    for (int i = 0; i < table->count; i++)
        if (is_own(table->entries[i].name))
            return false;
    for (int i = 0; i < graph->node_count; i++) {
        int due = due_value(&graph->nodes[i], fixed);
        if (due != GRAPH_NONE && quant_table_find(table, graph->values[due].name, &scale))
            return false;
    }
    return true;
}

static unet_status check_names(const struct quant_table *table, const struct graph *graph,
                               const bool *fixed, unet_error *error)
{
    struct differences missing = {0}, superfluous = {0};
    float scale;
    for (int i = 0; i < graph->node_count; i++) {
        int due = due_value(&graph->nodes[i], fixed);
        if (due != GRAPH_NONE && !quant_table_find(table, graph->values[due].name, &scale))
            add_difference(&missing, graph->values[due].name);
    }
    for (int i = 0; i < table->count; i++)
        if (!is_own(table->entries[i].name) && !is_value(graph, table->entries[i].name))
            add_difference(&superfluous, table->entries[i].name);
    if (missing.count == 0 && superfluous.count == 0)
        return UNET_OK;
    return error_set(error, UNET_ERROR_MODEL,
                     "belongs to another model: %d tensors of this one are missing%s%s%s, %d are "
                     "not its own%s%s%s; calibrate again",
                     missing.count, missing.count > 0 ? " (" : "", missing.names,
                     missing.count > 0 ? ")" : "", superfluous.count,
                     superfluous.count > 0 ? " (" : "", superfluous.names,
                     superfluous.count > 0 ? ")" : "");
}

static unet_status check_digests(const struct quant_table *table, const struct graph *graph,
                                 unet_error *error)
{
    struct differences other = {0};
    char key[KEY_BYTES];
    float value;
    for (int i = 0; i < graph->node_count; i++) {
        const struct graph_node *node = &graph->nodes[i];
        snprintf(key, sizeof key, QUANT_TABLE_OWN "weights/%s", node->name);
        if (has_weights(node) && quant_table_find(table, key, &value) && value != digest(node))
            add_difference(&other, node->name);
    }
    if (other.count == 0)
        return UNET_OK;
    return error_set(error, UNET_ERROR_MODEL,
                     "belongs to another checkpoint of this network: the weights of %d layers "
                     "differ (%s); calibrate again",
                     other.count, other.names);
}

/* ---------------------------------------------------------------- getting */

/* All channels or none, and not one more. */
static unet_status get_channels(const struct quant_table *table, const struct graph_value *value,
                                int which, struct quant_ranges *ranges, float **to,
                                unet_error *error)
{
    char key[KEY_BYTES];
    float found;
    int count = 0;
    while (quant_table_find(table, channel_key(key, which, value->name, count), &found))
        count++;
    if (count == 0)
        return UNET_OK;
    if (count != value->channels)
        return error_set(error, UNET_ERROR_MODEL,
                         "belongs to another model: it has the %s of %d channels of %s, which has "
                         "%d here; calibrate again",
                         own_lines[which], count, value->name, value->channels);
    *to = quant_ranges_array(ranges, value->channels);
    if (*to == NULL)
        return error_memory(error, (size_t)count * sizeof **to, "ranges of channels");
    for (int c = 0; c < count; c++) {
        quant_table_find(table, channel_key(key, which, value->name, c), &(*to)[c]);
        if (which != 1 && !((*to)[c] >= 0))
            return error_set(error, UNET_ERROR_MODEL, "%s is below 0: calibrate again", key);
    }
    return UNET_OK;
}

static unet_status get_value(const struct quant_table *table, const struct graph_value *value,
                             struct quant_value_range *range, struct quant_ranges *ranges,
                             unet_error *error)
{
    char key[KEY_BYTES];
    float found;
    if (quant_table_find(table, value->name, &found))
        range->tensor = found * QUANT_SIGNED_LEVELS;
    snprintf(key, sizeof key, QUANT_TABLE_OWN "range/%s", value->name);
    if (quant_table_find(table, key, &found)) {
        range->tensor = found;
        if (!(found > 0))
            return error_set(error, UNET_ERROR_MODEL, "%s is not above 0: calibrate again", key);
    }
    for (int which = 0; which < 3; which++)
        TRY(get_channels(table, value, which, ranges, member(range, which), error));
    return UNET_OK;
}

static unet_status get_named(const struct quant_table *table, const struct graph *graph,
                             const bool *fixed, struct quant_ranges *ranges, unet_error *error)
{
    TRY(check_names(table, graph, fixed, error));
    TRY(check_digests(table, graph, error));
    if (quant_table_find(table, QUANT_TABLE_OWN "share", &ranges->share) &&
        !(ranges->share >= 0 && ranges->share <= 1))
        return error_set(error, UNET_ERROR_MODEL,
                         QUANT_TABLE_OWN "share is %g: 0 to 1 is possible; calibrate again",
                         (double)ranges->share);
    for (int i = 0; i < graph->value_count; i++)
        TRY(get_value(table, &graph->values[i], &ranges->values[i], ranges, error));
    return UNET_OK;
}

unet_status quant_table_get_ranges(const struct quant_table *table, const struct graph *graph,
                                   struct quant_ranges *ranges, bool *foreign, unet_error *error)
{
    *ranges = (struct quant_ranges){0};
    bool *fixed = memory_alloc_array((size_t)graph->value_count, sizeof *fixed);
    if (fixed == NULL)
        return error_memory(error, (size_t)graph->value_count, "a calibration table");
    quant_find_fixed(graph, fixed);
    *foreign = is_foreign(table, graph, fixed);
    unet_status status = quant_ranges_create(graph, ranges, error);
    if (status == UNET_OK)
        status = *foreign ? quant_match_order(table, graph, ranges, error)
                          : get_named(table, graph, fixed, ranges, error);
    memory_free(fixed);
    if (status != UNET_OK)
        quant_ranges_clear(ranges);
    return status;
}
