/* A bar on stderr while many inputs are worked through; only where stderr is a terminal. */
#ifndef UNET_CLI_PROGRESS_H
#define UNET_CLI_PROGRESS_H

#include <stddef.h>

void progress_begin(size_t total);
/* `done` of the total are finished and `name` is next; redrawn a few times a second at most. */
void progress_show(size_t done, const char *name);
/* Takes the bar off the line, so that a message can stand there. */
void progress_clear(void);
void progress_end(void);

#endif
