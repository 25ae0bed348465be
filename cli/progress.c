#include "progress.h"

#include "clock.h"
#include "message.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_CELLS = 24, NAME_COLUMNS = 28 };

static struct {
    bool on, drawn;
    size_t total;
    double began, last_drawn;
} bar;

void progress_begin(size_t total)
{
    memset(&bar, 0, sizeof bar);
    bar.on = total > 1 && isatty(STDERR_FILENO);
    bar.total = total;
    bar.began = seconds_now();
}

/* The end of a long name tells more than its beginning. Bytes of UTF-8 are not split. */
static const char *tail_of(const char *name)
{
    size_t length = strlen(name);
    if (length <= NAME_COLUMNS)
        return name;
    const char *tail = name + length - NAME_COLUMNS;
    while (((unsigned char)*tail & 0xc0) == 0x80)
        tail++;
    return tail;
}

static void draw(size_t done, const char *name, double now)
{
    char cells[BAR_CELLS + 1];
    size_t full = done * BAR_CELLS / bar.total;
    memset(cells, '.', BAR_CELLS);
    memset(cells, '#', full);
    cells[BAR_CELLS] = '\0';
    fprintf(stderr, "\r\033[K[%s] %zu/%zu", cells, done, bar.total);
    if (done > 0) {
        double each = (now - bar.began) / (double)done;
        fprintf(stderr, "  %.0f s left", each * (double)(bar.total - done));
    }
    fprintf(stderr, "  %s", tail_of(name));
    fflush(stderr);
    bar.drawn = true;
    bar.last_drawn = now;
}

void progress_show(size_t done, const char *name)
{
    double now = seconds_now();
    if (bar.on && (!bar.drawn || now - bar.last_drawn >= 0.1))
        draw(done, name, now);
}

void progress_clear(void)
{
    if (bar.drawn) {
        fputs("\r\033[K", stderr);
        bar.drawn = false;
    }
}

void progress_end(void)
{
    progress_clear();
    bar.on = false;
}
