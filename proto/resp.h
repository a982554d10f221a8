/* RESP, the protocol of Redis clients: requests taken apart, replies put together.
 *
 * A request is an array of bulk strings (`*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`), or a line of words as a person
 * types it. Replies are written in the second or third version of the protocol, as the connection's HELLO
 * asked.
 *
 * Source: the specifications of RESP2 and RESP3 (redis.io/docs/reference/protocol-spec and
 * github.com/antirez/RESP3); errors have the words that Redis 7 uses, as clients look for them.
 *
 * Memory: arguments point into the request; replies go to the caller's buffer. Threads: any.
 */
#ifndef RESP_H
#define RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "memory.h"

enum {
    RESP_ARGUMENTS_MAX = 1024 * 1024, /* "Protocol error: invalid multibulk length". */
    RESP_LINE_BYTES_MAX = 64 * 1024,  /* Of a line of words, or of a number that does not end. */
    RESP_ERROR_BYTES = 128,
    RESP_HEAD_BYTES_MAX = 24, /* A type's letter, a number and the end of the line. */
};

/* How far into a request has been looked. Zero-initialise for each. */
struct resp_cursor {
    bool begun;
    size_t at;      /* Everything before it was looked at... */
    size_t endless; /* ... and up to here there is no end of what begins there. */
    uint32_t count; /* Arguments in all... */
    uint32_t left;  /* ... and those whose bytes are not there yet. */
};

/* Look at what has come of a request, from its first byte on, going on where the last call for the same request
 * stopped. Returns its size once it is whole; 0 while it is not: it has at least `wanted` bytes, which is
 * more than `input` has; or -EBADMSG with the text of the error (without "ERR "), after which the stream
 * cannot be followed. No argument may be larger than `bulk_bytes_max`. */
int64_t resp_measure(struct resp_cursor *cursor, struct bytes input, uint64_t bulk_bytes_max,
                     size_t *wanted, char error[RESP_ERROR_BYTES]);

/* Is this whole request a line of words? */
static inline bool resp_is_line(struct bytes request)
{
    return request.size > 0 && request.data[0] != '*';
}

/* Append such a line as an array, with its quotes and escapes resolved. Returns 0, -ENOMEM, or -EINVAL where
 * quotes are not closed; nothing is appended then. */
int resp_line_to_array(struct bytes line, struct buffer *out);

/* The arguments of a whole array, one after the other. */
struct resp_arguments {
    struct bytes left;
    uint32_t count; /* Still to come. */
};

struct resp_arguments resp_arguments(struct bytes array);

/* Returns false at the end. */
bool resp_next(struct resp_arguments *arguments, struct bytes *argument);

/* An integer as Redis reads it: decimal, no blank, no plus, no leading zero. */
bool resp_integer(struct bytes text, int64_t *value);

/* ---- Replies: each appends one element and returns 0; or, with nothing appended, -ENOMEM, or -EMSGSIZE where the buffer
 * would have more than `bytes_max` ---- */

struct resp_out {
    struct buffer *buffer;
    bool resp3;
    size_t bytes_max; /* 0: any. */
};

int resp_simple(const struct resp_out *out, const char *text);
int resp_error(const struct resp_out *out, const char *text); /* With its code: "ERR ...". */
int resp_number(const struct resp_out *out, int64_t value);
int resp_bulk(const struct resp_out *out, struct bytes value);
int resp_text(const struct resp_out *out, const char *text);
int resp_verbatim(const struct resp_out *out, struct bytes text); /* To be shown as it is. */
int resp_double(const struct resp_out *out, struct bytes text);   /* A number, as text. */
int resp_null(const struct resp_out *out);       /* A bulk string that is not there. */
int resp_null_array(const struct resp_out *out); /* An array that is not there. */

/* The elements follow; of a map twice as many, the keys before their values. */
int resp_array(const struct resp_out *out, uint64_t count);
int resp_map(const struct resp_out *out, uint64_t count);
int resp_set(const struct resp_out *out, uint64_t count);
int resp_push(const struct resp_out *out, uint64_t count);

#endif
