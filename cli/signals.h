/* SIGINT, SIGTERM and SIGHUP end the program at once with exit code 130, except while files are
 * written: then the files are finished first, so that what stands on the disk is whole. */
#ifndef UNET_CLI_SIGNALS_H
#define UNET_CLI_SIGNALS_H

void signals_install(void);
/* From here on a signal is only noted; any number of threads may hold at once … */
void signals_hold(void);
/* … until the last one is here, where a noted one takes effect. */
void signals_release(void);

#endif
