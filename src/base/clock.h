/* Time as it passes, for measuring how long something takes. */
#ifndef UNET_BASE_CLOCK_H
#define UNET_BASE_CLOCK_H

/* Seconds since some moment; never goes back. */
double clock_seconds(void);

#endif
