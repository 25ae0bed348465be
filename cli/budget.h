/* How precise a build of int8 must be, and what it found: --max-flips, --keep, --report. */
#ifndef UNET_CLI_BUDGET_H
#define UNET_CLI_BUDGET_H

#include "options.h"

#include <unet.h>

struct keep_list {
    unet_keep *items; /* their names are copies */
    size_t count;
};

struct budget_settings {
    double max_flips; /* 0: not given */
    struct keep_list keep;
    const char *report; /* a file; NULL: none */
};

struct option_group budget_group(struct budget_settings *settings);
void budget_fill(unet_build_options *options, const struct budget_settings *settings);
void budget_clear(struct budget_settings *settings);

/* An exit code: whether the settings make sense for a build that is, or is not, calibrated. */
int budget_check(const struct budget_settings *settings, bool calibrated);

/* A row a layer, on stdout. */
void budget_print(const unet_build_report *report);

#endif
