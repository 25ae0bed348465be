/* How many inputs were done and failed, and the exit code that follows. */
#ifndef UNET_CLI_TALLY_H
#define UNET_CLI_TALLY_H

#include <unet.h>

#include <stdbool.h>

struct tally {
    size_t done, failed;
    bool out_of_memory; /* an input failed for want of memory, which says nothing against it */
};

/* Prints the line and counts. `name` is put before messages that do not name the input; NULL where
 * they do. */
void tally_failure(struct tally *tally, const char *name, const unet_error *error);

int tally_exit_code(const struct tally *tally);

#endif
