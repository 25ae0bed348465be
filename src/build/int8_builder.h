/* A build of int8 or fp8 at work: shared by the files int8*.c alone. */
#ifndef UNET_BUILD_INT8_BUILDER_H
#define UNET_BUILD_INT8_BUILDER_H

#include "build/assignment.h"
#include "build/calibrated.h"
#include "build/int8.h"
#include "build/judge.h"
#include "build/plan_build.h"

#define INT8_SHARES 3
extern const float int8_shares[INT8_SHARES];

struct int8_builder {
    const struct int8_request *request;
    const struct graph *graph; /* float32 */
    struct planner planner;
    enum graph_type narrow; /* of 8 bits: U8, or E4M3 */
    bool available[GRAPH_TYPE_COUNT];
    enum graph_type wide; /* what it competes with */
    char instructions[96];
    struct layer_costs costs;
    struct kernel_book book;
    struct kept kept;
    struct judge judge; /* of no images where nobody judges */
    struct calibrated calibrated;
    struct graph rescaled; /* empty until a method is chosen */
    int method, share;     /* indices; share −1: the table's */
    struct ladder *ladders;
    struct budget budget;
    struct assignment assignment;
    struct budget_verdict verdict; /* of what was chosen */
    double milliseconds, wider_milliseconds;
};

static inline const unet_build_options *options_of(const struct int8_builder *b)
{
    return b->request->options;
}

/* What notices call the tensors. */
static inline const char *narrow_words(const struct int8_builder *b)
{
    return b->narrow == GRAPH_U8 ? "bytes" : precision_name(b->narrow);
}

static inline bool has_narrow(const struct int8_builder *b)
{
    return assignment_count(&b->assignment, b->narrow) > 0;
}

static inline const struct log *log_of(const struct int8_builder *b)
{
    return b->request->log;
}

/* What the assignment stands for. Where no layer reads 8 bits nothing has to be rescaled: the
 * engine is what its own precision makes. */
struct trial_request int8_trial(const struct int8_builder *b, const struct graph *rescaled);

/* The engine that was decided, its table and report; says what they say. `report` may be NULL. */
unet_status int8_finish(struct int8_builder *b, unet_engine **engine, unet_build_report **report,
                        unet_error *error);

#endif
