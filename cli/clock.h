/* Seconds of a clock that only goes forward. */
#ifndef UNET_CLI_CLOCK_H
#define UNET_CLI_CLOCK_H

double seconds_now(void);

#endif
