#include "bus_error.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

/* Only what a signal handler may call (signal-safety(7)); the list of mappings is read in pieces. */

enum { LINE_BYTES = 4096 + 128 };

struct lines {
    int fd;
    char data[LINE_BYTES];
    size_t size, taken;
};

/* The next line, without its end; a longer one than there is room for ends there. NULL at the end. */
static char *next_line(struct lines *lines)
{
    memmove(lines->data, lines->data + lines->taken, lines->size - lines->taken);
    lines->size -= lines->taken;
    lines->taken = 0;
    for (;;) {
        char *end = memchr(lines->data, '\n', lines->size);
        if (end != NULL) {
            *end = '\0';
            lines->taken = (size_t)(end - lines->data) + 1;
            return lines->data;
        }
        if (lines->size == LINE_BYTES) {
            return NULL;
        }
        ssize_t got = read(lines->fd, lines->data + lines->size, LINE_BYTES - lines->size);
        if (got <= 0) {
            return NULL;
        }
        lines->size += (size_t)got;
    }
}

static const char *read_hex(const char *text, uintptr_t *value)
{
    static const char digits[] = "0123456789abcdef";
    const char *digit;

    for (*value = 0; *text != '\0' && (digit = strchr(digits, *text)) != NULL; text++) {
        *value = *value << 4 | (uintptr_t)(digit - digits);
    }
    return text;
}

/* The path at the end of a line `start-end perms offset device inode path` that spans the address, or NULL. */
static const char *path_of(const char *line, uintptr_t address)
{
    uintptr_t start, end;

    line = read_hex(line, &start);
    if (*line != '-') {
        return NULL;
    }
    line = read_hex(line + 1, &end);
    const char *path = strchr(line, '/');
    return address >= start && address < end ? path : NULL;
}

static void say(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));

    (void)ignored;
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    static struct lines lines; /* The handler runs once. */
    const char *path = NULL;
    char *line;

    (void)number;
    (void)context;
    lines.fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    while (path == NULL && lines.fd >= 0 && (line = next_line(&lines)) != NULL) {
        path = path_of(line, (uintptr_t)info->si_addr);
    }
    say("belayd: a part of a mapped file cannot be read: ");
    say(path != NULL ? path : "(which one is not known)");
    say(": it was cut short, or its disk failed; the node ends (SIGBUS)\n");
    /* The signal has its default action again: what failed is tried once more, and ends the process. */
}

int bus_error_explain(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error,
                               .sa_flags = SA_SIGINFO | (int)SA_RESETHAND};

    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, NULL) == 0 ? 0 : -errno;
}
