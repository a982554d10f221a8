#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

enum { PATIENCE_MS = 300, REDRAW_MS = 100, BAR_COLUMNS = 30 };

bool progress_wanted(void)
{
    return isatty(STDERR_FILENO);
}

void progress_begin(struct progress *progress, const char *what, uint64_t total)
{
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
    draw(progress);
}

void progress_end(struct progress *progress)
{
    if (progress->shown) {
        fputs("\r\033[K", stderr);
        progress->shown = false;
    }
}
