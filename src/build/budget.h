/* Spends a budget of changed pixels: which layers must be more precise, so that masks keep to it,
 * for the least time. Pure search: what a choice costs and what it does to masks comes from the
 * caller. */
#ifndef UNET_BUILD_BUDGET_H
#define UNET_BUILD_BUDGET_H

#include "base/error.h"

/* Against the masks of float32. Shares are of pixels: 0.003 is 0.3%. */
struct budget_limits {
    double flips;       /* of all pixels, at most */
    double image_flips; /* of any image's, at most */
    double iou;         /* of any class that is present, at least */
};

struct budget_verdict {
    double flips, worst_image;
    double least_iou; /* NaN: no class is present */
};

/* How much of the budget is spent, by whichever limit is nearest: it holds up to 1. */
double budget_load(const struct budget_limits *limits, const struct budget_verdict *verdict);

#define BUDGET_RUNGS 8

/* Whether it is worth a measurement what a layer saves that leaves its first rung for another. */
enum budget_probe {
    BUDGET_UNPROBED,  /* it is thought to save a little more than the rung before it */
    BUDGET_IF_NEEDED, /* only where the first plan does not hold */
    BUDGET_PROBED
};

/* A layer's ways to run, its rungs, each slower and more precise than the one before. */
struct budget_layer {
    int rung_count; /* 1: nothing is to choose */
    double milliseconds[BUDGET_RUNGS];
    enum budget_probe probe[BUDGET_RUNGS]; /* not of the first */
    /* Out: how many fewer flips, as a share of all pixels, where this layer alone leaves its first
     * rung. NaN: not probed. */
    double saved[BUDGET_RUNGS];
    int rung; /* out: the choice */
};

/* Judges an assignment: `rungs` has one a layer. */
typedef unet_status budget_judge(void *context, const int *rungs, struct budget_verdict *verdict,
                                 unet_error *error);

struct budget {
    struct budget_limits limits;
    struct budget_layer *layers;
    int layer_count;
    budget_judge *judge;
    void *context;
    /* out */
    bool met; /* else all layers are on their last rung, and that is not enough */
    struct budget_verdict first, last; /* of the fastest plan; of the one that was chosen */
    int evaluations;
};

/* The fastest plan, if it holds. Else, by what each layer saves, rungs are bought in the
 * order of flips saved for each millisecond, as few as do, and those that turn out not to be needed
 * are given back, the dearest first. Errors: the judge's; MEMORY. */
unet_status budget_spend(struct budget *budget, unet_error *error);

#endif
