/* What a request ends in: one table for the wire, the client library, messages and documentation.
 *
 * The numbers are a wire format: a new status takes a new number, an old one keeps its own.
 */
#ifndef STATUS_H
#define STATUS_H

#include <stdint.h>

/* X(name, number, text) */
#define STATUS_TABLE(X)                                                                            \
    X(OK, 0, "ok")                                                                                 \
    X(NOT_FOUND, 1, "no such session")                                                             \
    X(EXISTS, 2, "the session exists already")                                                     \
    X(VERSION_MISMATCH, 3, "the session was changed since that version")                           \
    X(WRONG_TYPE, 4, "the session holds another type of value")                                    \
    X(NOT_A_NUMBER, 5, "the field does not hold a number")                                         \
    X(OUT_OF_RANGE, 6, "the number would leave its range")                                         \
    X(DESTROYED, 7, "the session was destroyed and may not come back yet")                         \
    X(MAYBE_APPLIED, 8, "a repeated write whose first try may have been applied")                  \
    X(INVALID, 16, "the request is malformed")                                                     \
    X(UNKNOWN_REQUEST, 17, "the request type is unknown")                                          \
    X(KEY_TOO_LARGE, 18, "the key is empty or larger than 512 bytes")                              \
    X(SESSION_TOO_LARGE, 19, "the session would be larger than session_max_bytes")                 \
    X(TOO_MANY_FIELDS, 20, "the session would have more fields than limits.fields allows")         \
    X(FRAME_TOO_LARGE, 21, "the frame is larger than allowed")                                     \
    X(TOO_MANY_IN_FLIGHT, 22, "too many requests in flight on this connection")                    \
    X(TOO_MANY_CONNECTIONS, 23, "too many connections")                                            \
    X(OUTPUT_LIMIT, 24, "replies were not read and passed the output buffer's limit")              \
    X(CORRUPT_FRAME, 25, "the frame's checksum does not match")                                    \
    X(DENIED, 26, "not allowed for this user")                                                     \
    X(UNSUPPORTED, 27, "this server does not offer that")                                          \
    X(BUSY, 32, "overloaded; try again later")                                                     \
    X(MEMORY_FULL, 33, "no memory for a new session")                                              \
    X(DISK_FULL, 34,                                                                               \
      "no room on the disk for the log, which ends of sessions need as well: free some, or raise " \
      "storage.disk_limit")                                                                        \
    X(LOG_FAILED, 35, "writing the log failed; this shard takes no more writes")                   \
    X(UNAVAILABLE, 36, "the asked ack level cannot be reached now")                                \
    X(STOPPING, 37, "the server is stopping")                                                      \
    X(TIMEOUT, 38, "the deadline passed before the request was served")                            \
    X(DAMAGED, 39, "the stored session is damaged")                                                \
    X(DISCONNECTED, 64, "the connection was lost")                                                 \
    X(CANNOT_CONNECT, 65, "cannot connect")                                                        \
    X(NO_MEMORY, 66, "the client is out of memory")                                                \
    X(CLOSED, 67, "the client was closed")

enum status {
#define STATUS_ENUM(name, number, text) STATUS_##name = (number),
    STATUS_TABLE(STATUS_ENUM)
#undef STATUS_ENUM
};

/* The name ("NOT_FOUND") and the text of a status; "UNKNOWN" and "unknown status" for others. */
const char *status_name(uint32_t status);
const char *status_text(uint32_t status);

/* How safe a write is when it is acknowledged; each level includes those before it. */
enum ack_level {
    ACK_DEFAULT = 0, /* In a request: what the policy says. Never in a reply. */
    ACK_MEMORY = 1,  /* Applied in this node's memory. */
    ACK_REPLICA = 2, /* And in that of at least one successor. */
    ACK_DISK = 3,    /* And durable in this node's log. */
    ACK_ARCHIVE = 4, /* And stored in the archive. */
};

/* "default", "memory", "replica", "disk", "archive"; "unknown" for others. */
const char *ack_level_name(uint32_t level);

/* Read such a name. Returns 0, or -EINVAL with `level` unchanged. */
int ack_level_parse(const char *name, enum ack_level *level);

#endif
