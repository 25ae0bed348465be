/* What eval prints about a confusion matrix, and about flips. */
#ifndef UNET_CLI_SCORES_H
#define UNET_CLI_SCORES_H

#include "flips.h"
#include "tally.h"

#include <unet.h>

struct scores {
    const char *engine, *against; /* `against` is NULL where labels are the truth */
    const unet_confusion *confusion;
    const struct tally *tally;
    const unet_flips *flips;        /* these two are used where `against` is not NULL */
    const struct flip_list *images; /* worst first */
};

void scores_print_table(const struct scores *scores);
void scores_print_json(const struct scores *scores);

#endif
