/* "Did you mean …?" */
#ifndef UNET_CLI_SUGGEST_H
#define UNET_CLI_SUGGEST_H

#include <stddef.h>

/* The word among `words` that `typed` is most like; NULL if none is close. */
const char *suggestion(const char *typed, const char *const *words, size_t count);

#endif
