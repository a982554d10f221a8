/* Where log lines go: a descriptor that whoever started the process gave it (stderr).
 *
 * A line never waits for a reader: where nobody reads the pipe, the socket or the terminal at its other end it is dropped, and
 * counted. The descriptor's own flags stay as they are, as O_NONBLOCK would be of all who share it with us: the parent, other
 * processes. So a socket is sent to without waiting, and a pipe or a terminal is opened once more, for us alone. Where that may not
 * be (the pipe is of another user) it is asked for room first; who else writes to it may then take that in between.
 * A file takes what it is given.
 *
 * Memory: plain data. Threads: the caller sees to it that one writes at a time.
 */
#ifndef LOG_SINK_H
#define LOG_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOG_SINK_LINE_BYTES_MAX = 2048 }; /* Half of what a pipe takes wholly or not at all. */

struct log_sink { /* private to log_sink.c, but for `dropped` */
    int fd;       /* What is written to: the one that was given, or `own`. */
    int own;      /* Opened here; -1: nothing was. */
    bool socket, asks;
    char rest[LOG_SINK_LINE_BYTES_MAX]; /* Of a line that was taken in part. */
    size_t rest_size;
    uint64_t dropped; /* Lines since it was last set to 0, which is the caller's business. */
};

/* `fd` stays the caller's, and open until log_sink_fini(). */
void log_sink_init(struct log_sink *sink, int fd);
void log_sink_fini(struct log_sink *sink);

/* Write a line of at most LOG_SINK_LINE_BYTES_MAX. Returns false where it was dropped: there was no room, or it cannot be written at
 * all (a full disk, a closed pipe). */
bool log_sink_write(struct log_sink *sink, const char *line, size_t size);

#endif
