#include "log_sink.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static_assert(LOG_SINK_LINE_BYTES_MAX <= PIPE_BUF, "a pipe takes a line wholly or not at all");

/* The same pipe or terminal with flags of our own. Returns -1 where it may not be opened. */
static int open_anew(int fd)
{
    char path[32];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

void log_sink_init(struct log_sink *sink, int fd)
{
    struct stat about;

    *sink = (struct log_sink){.fd = fd, .own = -1};
    if (fstat(fd, &about) != 0 || S_ISREG(about.st_mode)) {
        return; /* Opened anew a file would be written from its start. */
    }
    sink->socket = S_ISSOCK(about.st_mode);
    if (!sink->socket) {
        sink->own = open_anew(fd);
        sink->asks = sink->own < 0;
        sink->fd = sink->asks ? fd : sink->own;
    }
}

void log_sink_fini(struct log_sink *sink)
{
    if (sink->own >= 0) {
        close(sink->own);
        sink->own = -1;
    }
}

/* Returns how much of it was taken. */
static size_t put(const struct log_sink *sink, const char *bytes, size_t size)
{
    struct pollfd room = {.fd = sink->fd, .events = POLLOUT};
    size_t done = 0;

    while (done < size) {
        if (sink->asks && (poll(&room, 1, 0) != 1 || (room.revents & POLLOUT) == 0)) {
            break;
        }
        ssize_t taken = sink->socket
                            ? send(sink->fd, bytes + done, size - done, MSG_DONTWAIT | MSG_NOSIGNAL)
                            : write(sink->fd, bytes + done, size - done);
        if (taken == 0 || (taken < 0 && errno != EINTR)) {
            break;
        }
        done += taken > 0 ? (size_t)taken : 0;
    }
    return done;
}

/* What is left of a line goes before the next one. */
static bool put_rest(struct log_sink *sink)
{
    size_t done = put(sink, sink->rest, sink->rest_size);

    sink->rest_size -= done;
    memmove(sink->rest, sink->rest + done, sink->rest_size);
    return sink->rest_size == 0;
}

bool log_sink_write(struct log_sink *sink, const char *line, size_t size)
{
    assert(size <= sizeof sink->rest);
    size_t done = put_rest(sink) ? put(sink, line, size) : 0;

    if (done == 0) {
        sink->dropped++;
        return false;
    }
    sink->rest_size = size - done;
    memcpy(sink->rest, line + done, sink->rest_size);
    return true;
}
