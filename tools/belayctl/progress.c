#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

enum { PATIENCE_MS = 300, REDRAW_MS = 100, BAR_COLUMNS = 30, GOES_ON_BYTES = 400 };

bool progress_wanted(void)
{
    return isatty(STDERR_FILENO);
}

/* ---- Ctrl-C ---- */

static volatile sig_atomic_t bar_is_shown;
static char
    goes_on[GOES_ON_BYTES]; /* Empty: nothing does. Not changed while the signal may come. */

/* The line of the bar is left as it is, and ended. */
static void on_interrupt(int number)
{
    ssize_t written = 0;

    if (bar_is_shown) {
        written = write(STDERR_FILENO, "\n", 1);
    }
    if (written >= 0 && goes_on[0] != '\0') {
        written = write(STDERR_FILENO, goes_on, strlen(goes_on));
    }
    (void)written;
    signal(number, SIG_DFL);
    raise(number);
}

/* Who runs in the background may have been told not to heed it, and goes on so. */
static void heed(void (*handler)(int))
{
    struct sigaction present;

    if (sigaction(SIGINT, NULL, &present) == 0 && present.sa_handler != SIG_IGN) {
        signal(SIGINT, handler);
    }
}

void progress_goes_on(const char *format, ...)
{
    va_list arguments;

    heed(SIG_DFL);
    va_start(arguments, format);
    int size = vsnprintf(goes_on, sizeof goes_on - 1, format, arguments);
    va_end(arguments);
    if (size >= 0) {
        strcat(goes_on, "\n");
    }
    heed(on_interrupt);
}

void progress_is_over(void)
{
    heed(SIG_DFL);
    goes_on[0] = '\0';
}

/* ---- The bar ---- */

void progress_begin(struct progress *progress, const char *what, uint64_t total)
{
    if (progress_wanted()) {
        heed(on_interrupt);
    }
    *progress = (struct progress){.what = what, .total = total, .started_ms = ctl_now_ms()};
}

static void draw(const struct progress *progress)
{
    char bar[BAR_COLUMNS + 1], done[32], total[32], left[32];

    show_count(progress->done, done, sizeof done);
    if (progress->total == 0) {
        fprintf(stderr, "\r\033[K%s: %s", progress->what, done);
        return;
    }
    uint64_t part = progress->done < progress->total ? progress->done : progress->total;
    size_t filled = (size_t)((double)part / (double)progress->total * BAR_COLUMNS);
    memset(bar, '.', BAR_COLUMNS);
    memset(bar, '#', filled);
    bar[BAR_COLUMNS] = '\0';
    fprintf(stderr, "\r\033[K%s [%s] %3.0f%%  %s of %s", progress->what, bar,
            (double)part / (double)progress->total * 100, done,
            show_count(progress->total, total, sizeof total));
    if (part > 0 && part < progress->total) {
        double left_ms = (double)(progress->drawn_ms - progress->started_ms) *
                         (double)(progress->total - part) / (double)part;
        fprintf(stderr, ", %s to go", show_duration((uint64_t)left_ms, left, sizeof left));
    }
    if (progress->more != NULL) {
        fprintf(stderr, ", %s", progress->more);
    }
}

void progress_update(struct progress *progress, uint64_t done)
{
    progress->done = done;
    if (!progress_wanted()) {
        return;
    }
    uint64_t now = ctl_now_ms();
    if (now < progress->started_ms + PATIENCE_MS || now < progress->drawn_ms + REDRAW_MS) {
        return;
    }
    progress->drawn_ms = now;
    progress->shown = true;
    bar_is_shown = 1;
    draw(progress);
}

void progress_end(struct progress *progress)
{
    if (progress->shown) {
        fputs("\r\033[K", stderr);
        progress->shown = false;
        bar_is_shown = 0;
    }
}
