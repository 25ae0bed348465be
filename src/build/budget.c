#include "build/budget.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

/* A share of pixels below one in any set of images: a limit of 0 stays a number to divide by. */
#define NEXT_TO_NOTHING 1e-9
/* What a rung that nobody measured is thought to save beyond the one before it. */
#define UNPROBED_GAIN (1.0 / 64)
/* Tries to give a purchase back; each is an evaluation. */
#define MOST_RETURNS 6

/* One step up of one layer. */
struct purchase {
    int layer, from, to;
};

struct search {
    struct budget *budget;
    double (*value)[BUDGET_RUNGS]; /* of each layer's rungs: what they take off the load's square */
    struct purchase *purchases;    /* in the order of what a millisecond buys */
    int purchase_count;
    int *rungs;
};

/* ---------------------------------------------------------------- judging */

static double used(double part, double limit)
{
    return part / (limit > NEXT_TO_NOTHING ? limit : NEXT_TO_NOTHING);
}

double budget_load(const struct budget_limits *limits, const struct budget_verdict *verdict)
{
    double load = used(verdict->flips, limits->flips);
    load = fmax(load, used(verdict->worst_image, limits->image_flips));
    return fmax(load, used(1 - verdict->least_iou, 1 - limits->iou)); /* a NaN is passed over */
}

static unet_status judge(struct search *search, struct budget_verdict *verdict, unet_error *error)
{
    search->budget->evaluations++;
    return search->budget->judge(search->budget->context, search->rungs, verdict, error);
}

static bool holds(const struct search *search, const struct budget_verdict *verdict)
{
    return budget_load(&search->budget->limits, verdict) <= 1;
}

/* ---------------------------------------------------------------- what layers would save */

static double square(double x)
{
    return x * x;
}

/* Layers' errors are independent of each other: it is their squares that add up, and flips grow
 * like the root of the sum. */
static unet_status probe(struct search *search, int index, int rung, unet_error *error)
{
    const struct budget *budget = search->budget;
    struct budget_layer *layer = &budget->layers[index];
    struct budget_verdict verdict;
    search->rungs[index] = rung;
    TRY(judge(search, &verdict, error));
    search->rungs[index] = 0;
    layer->saved[rung] = budget->first.flips - verdict.flips;
    search->value[index][rung] = square(budget_load(&budget->limits, &budget->first)) -
                                 square(budget_load(&budget->limits, &verdict));
    return UNET_OK;
}

static unet_status probe_layers(struct search *search, unet_error *error)
{
    enum budget_probe least = search->budget->met ? BUDGET_PROBED : BUDGET_IF_NEEDED;
    for (int l = 0; l < search->budget->layer_count; l++) {
        struct budget_layer *layer = &search->budget->layers[l];
        double *value = search->value[l];
        for (int r = 0; r < layer->rung_count; r++) {
            layer->saved[r] = NAN;
            if (r > 0 && layer->probe[r] >= least)
                TRY(probe(search, l, r, error));
            else if (r > 0)
                value[r] = value[r - 1] + UNPROBED_GAIN * fabs(value[r - 1]);
        }
    }
    return UNET_OK;
}

/* ---------------------------------------------------------------- the order of purchases */

/* What is free is bought first. */
static double value_for_time(const struct search *search, int layer, int from, int to)
{
    const double *milliseconds = search->budget->layers[layer].milliseconds;
    double gain = search->value[layer][to] - search->value[layer][from];
    return gain / fmax(milliseconds[to] - milliseconds[from], 1e-6);
}

/* False where all layers are on their last rung. */
static bool find_best(const struct search *search, struct purchase *best)
{
    double most = -INFINITY;
    for (int l = 0; l < search->budget->layer_count; l++) {
        int from = search->rungs[l];
        for (int to = from + 1; to < search->budget->layers[l].rung_count; to++) {
            double value = value_for_time(search, l, from, to);
            if (value <= most)
                continue;
            most = value;
            *best = (struct purchase){l, from, to};
        }
    }
    return most > -INFINITY;
}

static void order_purchases(struct search *search)
{
    struct purchase *next = search->purchases;
    while (find_best(search, next)) {
        search->rungs[next->layer] = next->to;
        next++;
    }
    search->purchase_count = (int)(next - search->purchases);
}

/* ---------------------------------------------------------------- how many are needed */

static void buy(struct search *search, int count)
{
    memset(search->rungs, 0, (size_t)search->budget->layer_count * sizeof *search->rungs);
    for (int i = 0; i < count; i++)
        search->rungs[search->purchases[i].layer] = search->purchases[i].to;
}

/* The number of purchases that should do, at least 1. */
static int predict(const struct search *search)
{
    double left = square(budget_load(&search->budget->limits, &search->budget->first));
    int count = 0;
    while (count < search->purchase_count && (left > 1 || count == 0)) {
        const struct purchase *next = &search->purchases[count++];
        left -= search->value[next->layer][next->to] - search->value[next->layer][next->from];
    }
    return count;
}

/* By bisection, from the prediction on. The first plan, no purchase, is known not to hold. */
static unet_status find_fewest(struct search *search, unet_error *error)
{
    struct budget *budget = search->budget;
    int fails = 0, holding = search->purchase_count + 1, next = predict(search);
    while (holding - fails > 1) {
        struct budget_verdict verdict;
        buy(search, next);
        TRY(judge(search, &verdict, error));
        budget->met = budget->met || holds(search, &verdict);
        if (holds(search, &verdict))
            holding = next;
        else
            fails = next;
        if (holding == next || !budget->met)
            budget->last = verdict;
        next = fails + (holding - fails) / 2;
    }
    buy(search, budget->met ? holding : search->purchase_count);
    return UNET_OK;
}

/* ---------------------------------------------------------------- what was not needed */

static double dearness(const struct search *search, int layer)
{
    const double *milliseconds = search->budget->layers[layer].milliseconds;
    return milliseconds[search->rungs[layer]] - milliseconds[0];
}

/* The layer that gives back most of those not `tried`; −1: none is left. */
static int find_dearest(const struct search *search, const bool *tried)
{
    int dearest = -1;
    for (int l = 0; l < search->budget->layer_count; l++)
        if (!tried[l] && search->rungs[l] > 0 &&
            (dearest < 0 || dearness(search, l) > dearness(search, dearest)))
            dearest = l;
    return dearest;
}

static unet_status give_back(struct search *search, bool *tried, unet_error *error)
{
    struct budget *budget = search->budget;
    for (int i = 0; i < MOST_RETURNS; i++) {
        struct budget_verdict verdict;
        int layer = find_dearest(search, tried);
        if (layer < 0)
            return UNET_OK;
        int rung = search->rungs[layer];
        tried[layer] = true;
        search->rungs[layer] = 0;
        TRY(judge(search, &verdict, error));
        if (holds(search, &verdict))
            budget->last = verdict;
        else
            search->rungs[layer] = rung;
    }
    return UNET_OK;
}

/* ---------------------------------------------------------------- the search */

static unet_status buy_back(struct search *search, unet_error *error)
{
    struct budget *budget = search->budget;
    order_purchases(search);
    TRY(find_fewest(search, error));
    if (!budget->met)
        return UNET_OK;
    size_t count = (size_t)budget->layer_count;
    bool *tried = memory_calloc(count, sizeof *tried);
    if (tried == NULL)
        return error_memory(error, count * sizeof *tried, "a search");
    unet_status status = give_back(search, tried, error);
    memory_free(tried);
    return status;
}

static unet_status run(struct search *search, unet_error *error)
{
    struct budget *budget = search->budget;
    TRY(judge(search, &budget->first, error));
    budget->last = budget->first;
    budget->met = holds(search, &budget->first);
    TRY(probe_layers(search, error));
    if (!budget->met)
        TRY(buy_back(search, error));
    for (int l = 0; l < budget->layer_count; l++)
        budget->layers[l].rung = search->rungs[l];
    return UNET_OK;
}

unet_status budget_spend(struct budget *budget, unet_error *error)
{
    size_t count = (size_t)budget->layer_count;
    struct search search = {.budget = budget};
    search.value = memory_calloc(count, sizeof *search.value);
    search.purchases = memory_calloc(count * BUDGET_RUNGS + 1, sizeof *search.purchases);
    search.rungs = memory_calloc(count, sizeof *search.rungs);
    budget->evaluations = 0;
    budget->met = false;
    unet_status status = UNET_OK;
    if (search.value == NULL || search.purchases == NULL || search.rungs == NULL)
        status = error_memory(error, count * sizeof *search.value, "a search");
    if (status == UNET_OK)
        status = run(&search, error);
    memory_free(search.value);
    memory_free(search.purchases);
    memory_free(search.rungs);
    return status;
}
