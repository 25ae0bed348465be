#include "tally.h"

#include "cli.h"
#include "message.h"

void tally_failure(struct tally *tally, const char *name, const unet_error *error)
{
    if (name != NULL)
        message_error("%s: %s", name, error->message);
    else
        message_error("%s", error->message);
    tally->failed++;
    tally->out_of_memory |= error->status == UNET_ERROR_MEMORY;
}

int tally_exit_code(const struct tally *tally)
{
    if (tally->failed == 0)
        return EXIT_DONE;
    if (tally->done > 0)
        return EXIT_SOME_FAILED;
    return tally->out_of_memory ? EXIT_SYSTEM : EXIT_ALL_FAILED;
}
