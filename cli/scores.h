/* What eval prints about a confusion matrix. */
#ifndef UNET_CLI_SCORES_H
#define UNET_CLI_SCORES_H

#include "tally.h"

#include <unet.h>

struct scores {
    const char *engine, *against; /* `against` is NULL where labels are the truth */
    const unet_confusion *confusion;
    const struct tally *tally;
};

void scores_print_table(const struct scores *scores);
void scores_print_json(const struct scores *scores);

#endif
