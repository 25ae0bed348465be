#include "signals.h"

#include "cli.h"
#include "message.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static atomic_int holding, noted;

/* Only calls that a signal handler may make: write and _exit. */
static void put(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return; /* nobody is left to be told */
}

static void leave(void)
{
    if (isatty(STDERR_FILENO))
        put("\r\033[K");
    put("unet ");
    put(message_verb());
    put(": interrupted\n");
    _exit(EXIT_INTERRUPTED);
}

static void on_signal(int number)
{
    (void)number;
    if (atomic_load(&holding))
        atomic_store(&noted, 1);
    else
        leave();
}

/* What is ignored stays so: nohup and a shell's background jobs rely on it. */
static void catch_signal(int number)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
    if (sigaction(number, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(number, &action, NULL);
}

void signals_install(void)
{
    catch_signal(SIGINT);
    catch_signal(SIGTERM);
    catch_signal(SIGHUP);
    /* A file that reaches the size limit is a failed write with a message, not the end. */
    signal(SIGXFSZ, SIG_IGN);
}

/* Who is told to leave begins no other file, so that those at work come to their end. */
void signals_hold(void)
{
    atomic_fetch_add(&holding, 1);
    while (atomic_load(&noted)) {
        signals_release();
        pause();
    }
}

void signals_release(void)
{
    if (atomic_fetch_sub(&holding, 1) == 1 && atomic_load(&noted))
        leave();
}
