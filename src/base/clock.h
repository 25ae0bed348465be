/* Time as it passes, for measuring how long something takes. */
#ifndef UNET_BASE_CLOCK_H
#define UNET_BASE_CLOCK_H

/* Seconds since some moment; never goes back. */
double clock_seconds(void);

/* Seconds that the calling thread has run on a processor: does not pass while it waits for one. */
double clock_thread_seconds(void);
/* The same of all threads of the process, added up. */
double clock_process_seconds(void);

#endif
