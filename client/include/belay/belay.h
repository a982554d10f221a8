/* libbelay: sessions kept by belayd.
 *
 * A session is a key (1 to 512 bytes, any bytes) with a value (a byte string, or a map, set or sorted
 * set of fields), an owner, deadlines and a version. The client keeps a connection to each shard of the
 * server, sends each key straight to its shard, and hides lost connections: what can be repeated safely
 * is repeated, within the deadline of the call.
 *
 * Of a cluster the servers tell the client the map: which nodes there are, and whose each key is. It then sends each
 * key to the shard of its primary, and follows the map as it changes. Where the primary cannot be reached, or has
 * said nothing for about 120 ms (not even to a PING), the request goes to the next successor within the same call, as
 * do those under way there that may be repeated; whichever answers first is heard. When the primary is back, so
 * are its keys. A write keeps the client's id and its sequence number wherever it goes, so that it is applied
 * once; where no node can know that any more it ends in BELAY_MAYBE_APPLIED.
 *
 * Two faces over one core:
 *   blocking      belay_get(), belay_put() ... and belay_run() wait for the answer;
 *   asynchronous  belay_send() returns at once and a callback brings the answer later, in a loop that
 *                 the client owns (belay_client_run() and the like) or in the caller's uv_loop_t.
 * Both take the same requests: simple ones have a function each; all others are built, for example
 *
 *   struct belay_request *write = belay_write_begin(client, key, BELAY_UPDATE);
 *   belay_write_set(write, belay_text("cart"), value);
 *   belay_write_add(write, belay_text("visits"), 1);
 *   belay_write_idle(write, 30 * 60 * 1000);
 *   status = belay_run(write, &result);
 *
 * Memory: bytes given to a function are copied before it returns. Bytes got from a result live as long
 * as the result. Strings got are terminated by a zero and never NULL, but where noted.
 * Every `_destroy` takes NULL. What is made by `_begin` is consumed by belay_send() and belay_run(), also
 * when they fail; belay_request_discard() drops it unsent.
 * Failure while building: a `_begin` may return NULL (no memory); every function that takes a request
 * takes NULL and does nothing. A wrong argument (a name too long, a NaN, a change that does not fit the
 * request) is remembered in the request. belay_send() or belay_run() reports it.
 * Threads: a client, its requests and results belong to one thread at a time; nothing is locked. Programs
 * of several threads make a client for each. Different clients never touch each other.
 * Signals: the library writes to sockets without SIGPIPE; it installs no handler and starts no thread,
 * but those of libuv's resolver while it looks up a host name.
 * Units: sizes in bytes; times in milliseconds, `_ms` since 1970 where they say "time", else a duration.
 */
#ifndef BELAY_BELAY_H
#define BELAY_BELAY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BELAY_VERSION_MAJOR 0
#define BELAY_VERSION_MINOR 1

#if defined(__GNUC__)
#define BELAY_CHECKED __attribute__((warn_unused_result))
#else
#define BELAY_CHECKED
#endif

struct uv_loop_s; /* uv_loop_t of <uv.h>. */

struct belay_options; /* How to make a client. */
struct belay_client;
struct belay_request; /* A request being built or under way. */
struct belay_result;  /* An answer. */

/* ---- Statuses ---- */

/* What a request ended in. Numbers never change their meaning; new ones may come. */
enum belay_status {
    BELAY_OK = 0,
    /* The session or the condition says no. */
    BELAY_NOT_FOUND = 1,
    BELAY_EXISTS = 2,           /* BELAY_CREATE found a session. */
    BELAY_VERSION_MISMATCH = 3, /* The session was changed since the token given. */
    BELAY_WRONG_TYPE = 4,
    BELAY_NOT_A_NUMBER = 5, /* belay_write_add() to a field that holds none. */
    BELAY_OUT_OF_RANGE = 6, /* A number or time would leave its range. */
    BELAY_DESTROYED = 7,    /* The policy keeps destroyed sessions from coming back for a while. */
    BELAY_MAYBE_APPLIED =
        8, /* The connection was lost during the write, and when it was repeated the
                              * server could not tell whether the first try took effect. Read to know. */
    /* The request or a limit. */
    BELAY_INVALID = 16,
    BELAY_UNKNOWN_REQUEST = 17,
    BELAY_KEY_TOO_LARGE = 18, /* Or empty. */
    BELAY_SESSION_TOO_LARGE = 19,
    BELAY_TOO_MANY_FIELDS = 20,
    BELAY_FRAME_TOO_LARGE = 21,
    BELAY_TOO_MANY_IN_FLIGHT = 22, /* More unanswered requests than belay_options_queue_max(). */
    BELAY_TOO_MANY_CONNECTIONS = 23,
    BELAY_OUTPUT_LIMIT = 24,
    BELAY_CORRUPT_FRAME = 25,
    BELAY_DENIED = 26,
    BELAY_UNSUPPORTED = 27,
    /* The server's state. */
    BELAY_BUSY = 32, /* Only when the deadline leaves no time for another try. */
    BELAY_MEMORY_FULL = 33,
    BELAY_DISK_FULL = 34,
    BELAY_LOG_FAILED = 35,
    BELAY_UNAVAILABLE = 36, /* The asked ack level cannot be reached now. */
    BELAY_STOPPING = 37,
    BELAY_TIMEOUT =
        38, /* The deadline passed. A write that timed out may still take effect. Where there
                           is no connection, the result's text says why the last try failed; and where
                           the servers were BUSY, how often they said so. */
    BELAY_DAMAGED = 39,
    /* Made by this library. */
    BELAY_DISCONNECTED = 64,   /* Connection lost, and the request was not to be repeated. A write
                                * may have taken effect. */
    BELAY_CANNOT_CONNECT = 65, /* See belay_options_fail_fast(). */
    BELAY_NO_MEMORY = 66,
    BELAY_CLOSED = 67 /* The client was closed. A write that was sent may take effect. */
};

/* The name ("NOT_FOUND") and a sentence for a status; "UNKNOWN" and "unknown status" for others.
 * Static strings. Threads: any. */
const char *belay_status_name(enum belay_status status);
const char *belay_status_text(enum belay_status status);

/* How safe a write is when it is acknowledged; each level includes those before it. */
enum belay_ack {
    BELAY_ACK_DEFAULT = 0, /* What the policy of the key says. Never in a result. */
    BELAY_ACK_MEMORY = 1,  /* Applied in the memory of one node. */
    BELAY_ACK_REPLICA = 2, /* And in that of a successor. */
    BELAY_ACK_DISK = 3,    /* And durable in the node's log. */
    BELAY_ACK_ARCHIVE = 4  /* And stored in the archive. */
};

/* "default", "memory", "replica", "disk", "archive"; "unknown" for others. Threads: any. */
const char *belay_ack_name(enum belay_ack level);

/* Read such a name. Returns BELAY_OK, or BELAY_INVALID with `level` unchanged. Threads: any. */
enum belay_status belay_ack_parse(const char *name, enum belay_ack *level);

/* The type of a session's value. */
enum belay_type {
    BELAY_NONE = 0,
    BELAY_BLOB = 1, /* One byte string: the field with the empty name. */
    BELAY_MAP = 2,  /* Named fields with values. */
    BELAY_SET = 3,  /* Members. */
    BELAY_ZSET = 4  /* Members with scores. */
};

/* "none", "blob", "map", "set", "zset"; "unknown" for others. Threads: any. */
const char *belay_type_name(enum belay_type type);

/* Read such a name. Returns BELAY_OK, or BELAY_INVALID with `type` unchanged. Threads: any. */
enum belay_status belay_type_parse(const char *name, enum belay_type *type);

/* ---- Bytes ---- */

/* A byte string that somebody else owns. */
struct belay_bytes {
    const void *data;
    size_t size;
};

static inline struct belay_bytes belay_bytes_of(const void *data, size_t size)
{
    struct belay_bytes bytes;

    bytes.data = data;
    bytes.size = size;
    return bytes;
}

/* The characters of a string, without its zero. */
static inline struct belay_bytes belay_text(const char *text)
{
    return belay_bytes_of(text, strlen(text));
}

/* ---- Clients ---- */

/* Defaults to change before a client is made. NULL: no memory. */
struct belay_options *belay_options_create(void);
void belay_options_destroy(struct belay_options *options);

/* Servers to try, in turn, as "HOST:PORT" separated by commas; an IPv6 address in [brackets]; ":PORT"
 * may be left out (7400). Of a cluster a few are enough: they name the others. Default "127.0.0.1:7400". The text
 * replaces an earlier one.
 * Returns BELAY_OK, or BELAY_INVALID (no host, a bad port, more than 16 servers); nothing is then
 * changed. */
enum belay_status belay_options_servers(struct belay_options *options, const char *servers);

/* Deadline of every request that sets none: from belay_send() or belay_run() to its answer, covering
 * connecting, waiting while the server is BUSY, and repeated tries. Default 5000; 0: none. */
void belay_options_timeout_ms(struct belay_options *options, uint32_t timeout_ms);

/* Connections: to each shard `per_shard` (default 1, 0 counts as 1, at most 64), all together `total`
 * (default and 0: no limit, up to 1024); the nodes of a cluster share them, and where it has more nodes than that
 * only the servers of the list are asked. Requests for a shard without a connection of its own take another one and
 * are handed on by the server; a tool that asks one question sets both to 1, and asks the list only.
 * They are opened on the first request that wants them. */
void belay_options_connections(struct belay_options *options, uint32_t per_shard, uint32_t total);

/* Most requests that may be unanswered; belay_send() refuses more with BELAY_TOO_MANY_IN_FLIGHT. What
 * the server does not take at once waits in memory. Default and 0: 65536. */
void belay_options_queue_max(struct belay_options *options, uint32_t requests);

/* Nonzero: a request fails with BELAY_CANNOT_CONNECT as soon as every server has refused or failed once,
 * in place of trying until the deadline. Default 0. */
void belay_options_fail_fast(struct belay_options *options, int fail_fast);

/* Name of the program, for the server's list of connections. At most 64 bytes count. Default: none. */
void belay_options_name(struct belay_options *options, const char *name);

/* User and password to present. Default: none. Returns BELAY_OK, or BELAY_INVALID when either is larger
 * than 255 bytes; nothing is then changed. */
enum belay_status belay_options_user(struct belay_options *options, const char *user,
                                     const char *password);

/* Make a client with a loop of its own. `options` may be NULL (all defaults) and is not kept. Nothing is
 * sent before the first request.
 * Returns BELAY_OK with `client` set; BELAY_NO_MEMORY. */
BELAY_CHECKED enum belay_status belay_client_create(const struct belay_options *options,
                                                    struct belay_client **client);

/* Make a client in the caller's loop, which must outlive it; callbacks run in that loop. The blocking
 * functions and belay_client_run(), _step() and _dispatch() are not for such a client.
 * Returns as belay_client_create(). */
BELAY_CHECKED enum belay_status belay_client_create_on(const struct belay_options *options,
                                                       struct uv_loop_s *loop,
                                                       struct belay_client **client);

/* Close: every request that has no answer yet ends with BELAY_CLOSED, in the loop; then `closed` runs
 * (it may be NULL), and the client is gone. May be called in a callback; once. Requests being built
 * must have been sent or discarded; belay_send() is refused from here on with BELAY_CLOSED. */
void belay_client_close(struct belay_client *client, void (*closed)(void *context), void *context);

/* Close a client that has its own loop and free it. Requests without an answer end with BELAY_CLOSED
 * inside this call. Not in a callback. NULL is fine. */
void belay_client_destroy(struct belay_client *client);

/* The client's loop: its own, or the one it was made in. */
struct uv_loop_s *belay_client_loop(struct belay_client *client);

/* Run the client's own loop until no request is unanswered. Not in a callback. */
void belay_client_run(struct belay_client *client);

/* Run one turn of the client's own loop: waits until something happens. Returns how many requests are
 * unanswered; with none it does not wait. Not in a callback. */
size_t belay_client_step(struct belay_client *client);

/* For another loop: do what can be done without waiting, callbacks included. Call it when
 * belay_client_fd() is readable, when belay_client_wait_ms() have passed, and after belay_send() outside
 * of a callback (which only queues). Returns how many requests are unanswered. Not in a callback. */
size_t belay_client_dispatch(struct belay_client *client);

/* A file descriptor that is readable when belay_client_dispatch() has work. It belongs to the client and
 * stays the same. -1 for a client in the caller's loop. */
int belay_client_fd(const struct belay_client *client);

/* How long to wait for belay_client_fd() before dispatching all the same: milliseconds, -1: forever. */
int belay_client_wait_ms(const struct belay_client *client);

/* Requests that were sent or queued and have no answer. */
size_t belay_client_unanswered(const struct belay_client *client);

/* What the server said at the last connection, of a cluster any of its nodes; 0 before the first. */
uint32_t belay_client_shards(const struct belay_client *client);

/* How many nodes the cluster has, by the map that the client goes by; 1 without one: before the first answer, of a node
 * alone, and where options allow no more connections than one. */
uint32_t belay_client_nodes(const struct belay_client *client);

/* The id under which this client's writes are recognised when repeated; 0 before the first connection. */
uint64_t belay_client_id(const struct belay_client *client);

/* Newest hybrid logical clock seen in any answer; 0 before the first. See belay_result_hlc(). */
uint64_t belay_client_hlc(const struct belay_client *client);

/* Counters since the client was made. */
enum belay_counter {
    BELAY_COUNT_REQUESTS = 0,    /* Accepted by belay_send() or belay_run(). */
    BELAY_COUNT_RETRIES = 1,     /* Sent again after a lost connection. */
    BELAY_COUNT_BUSY = 2,        /* Answers BUSY, waited out or not. */
    BELAY_COUNT_CONNECTS = 3,    /* Connections that came up. */
    BELAY_COUNT_DISCONNECTS = 4, /* Connections lost. */
    BELAY_COUNT_TIMEOUTS = 5,
    BELAY_COUNT_BAD_FRAMES = 6, /* Damaged or unknown replies; each ends its connection. */
    BELAY_COUNT_BYTES_OUT = 7,
    BELAY_COUNT_BYTES_IN = 8,
    BELAY_COUNT_SENDS = 9, /* Calls of send(): all that one turn of the loop sends needs one. */
    BELAY_COUNT_MOVES =
        10 /* Sent to another node of the cluster, as one was silent or could not serve. */
};

/* One of them; 0 for an unknown one. */
uint64_t belay_client_counter(const struct belay_client *client, enum belay_counter counter);

/* ---- Sending ---- */

/* Brings the answer. `result` is valid until the callback returns. The callback may send requests and
 * close the client; it must not call what is marked "not in a callback". */
typedef void (*belay_callback)(struct belay_result *result, void *context);

/* Send a request. On BELAY_OK the callback runs exactly once, later, from the loop, never from inside
 * this call. All requests sent in one turn of the loop leave together. Unanswered requests for one key
 * take effect in the order of the calls while connections are neither being made nor lost; who needs
 * the order always waits for the answer before the next one, or uses version tokens.
 * Returns BELAY_OK. Else the callback never runs, and the request is gone: BELAY_NO_MEMORY (also for a
 * NULL request); BELAY_KEY_TOO_LARGE; BELAY_INVALID (wrong use while building); BELAY_FRAME_TOO_LARGE;
 * BELAY_TOO_MANY_IN_FLIGHT; BELAY_CLOSED.
 *
 * Any request may end in a status of transport or overload, which the functions below do not repeat:
 * BUSY, TIMEOUT, STOPPING, DISCONNECTED, CLOSED, NO_MEMORY, FRAME_TOO_LARGE (the frame, or the answer, is
 * larger than the server allows), CORRUPT_FRAME, CANNOT_CONNECT, and where the server refuses the connection
 * for good DENIED, INVALID or UNSUPPORTED. belay_result_text() says more. */
BELAY_CHECKED enum belay_status belay_send(struct belay_request *request, belay_callback callback,
                                           void *context);

/* Send a request and wait for its answer; other requests' callbacks run meanwhile. For a client with its
 * own loop; not in a callback (BELAY_INVALID either way).
 * Returns the status of the answer, or as belay_send(). Where `result` is not NULL it is set to the
 * answer, good or bad, which the caller destroys; to NULL when there is none. */
enum belay_status belay_run(struct belay_request *request, struct belay_result **result);

/* Drop a request that was not sent. NULL is fine. */
void belay_request_discard(struct belay_request *request);

/* A deadline of this request's own; 0: none. */
void belay_request_timeout_ms(struct belay_request *request, uint32_t timeout_ms);

/* Never send this request twice: a lost connection ends it with BELAY_DISCONNECTED, a busy server with
 * BELAY_BUSY. (Without this, reads are repeated, and writes too: they carry the client's id and a
 * sequence number, by which the server recognises them. A write that is never sent twice carries
 * neither, which spares the session some bytes in the server.) */
void belay_request_no_retry(struct belay_request *request);

/* ---- Requests that read ---- */

enum belay_get_flag {
    BELAY_GET_META = 1,     /* No value: only type, times, owner, sizes, version. */
    BELAY_GET_NO_TOUCH = 4, /* Do not slide the idle deadline, whatever the policy says. */
    BELAY_GET_SIBLINGS = 8, /* All live values of fields written concurrently, the newest first. */
    BELAY_GET_ANY =
        16 /* Any node with a copy may answer, not only the primary, so that reads are spread over
                             * the copies. Such a copy may be older than what was written last; with
                             * belay_get_floor() it is not older than that token: the token of the last result
                             * for this key, read or written, gives monotonic reads and reads of one's own
                             * writes. Where the copy does not have it yet the primary is asked. Never slides
                             * the idle deadline. For belay_get_begin() only. */
};

/* Get one session. `flags`: enum belay_get_flag, or 0. Whole, unless belay_get_field() follows.
 * Ends in OK; NOT_FOUND; DAMAGED; MEMORY_FULL (the server has none for the answer); UNAVAILABLE. */
struct belay_request *belay_get_begin(struct belay_client *client, struct belay_bytes key,
                                      uint32_t flags);

/* Ask for this field only, and those of further calls. Fields come back in the order asked for, with
 * `present` saying whether each was there. INVALID with BELAY_GET_META or BELAY_GET_SIBLINGS. */
void belay_get_field(struct belay_request *get, struct belay_bytes name);

/* Answer only from a copy that has seen what this version token says (of an earlier result), else
 * UNAVAILABLE; INVALID where it is no token, which is empty or larger than 1024 bytes. */
void belay_get_floor(struct belay_request *get, struct belay_bytes version);

/* Get many sessions (at most 1024) in one request, each by itself: belay_result_item(). `flags` as
 * belay_get_begin(), without BELAY_GET_ANY. Keys are added in the order of the results. In a cluster each node is asked
 * for its own keys; where one fails as a whole, that is the result of its keys, and of the request when all do. */
struct belay_request *belay_get_many_begin(struct belay_client *client, uint32_t flags);
void belay_get_many_key(struct belay_request *get_many, struct belay_bytes key);

/* List keys. `cursor` 0 begins; go on with belay_result_cursor() until that is 0. A session present all
 * the time is given at least once. Only keys beginning with `prefix`, of `type` (BELAY_NONE: all). `count`:
 * about how many per answer, 0: the server's default (10), at most 10000; an answer may hold fewer, even
 * none, before the end. Results: belay_result_key(). Ends in OK; MEMORY_FULL; INVALID (the type). */
struct belay_request *belay_scan_begin(struct belay_client *client, uint64_t cursor,
                                       struct belay_bytes prefix, enum belay_type type,
                                       uint32_t count);

/* What a server of the list stores of a key, its own copy, as JSON for people: belay_result_value(). Ends in OK;
 * NOT_FOUND; DAMAGED; MEMORY_FULL. */
struct belay_request *belay_inspect_begin(struct belay_client *client, struct belay_bytes key);

/* Put sessions of one slot back as an archive has them: `records` in the server's own format, as `belayctl archive restore`
 * makes them, each behind its size; `key` is the first one's. They join what is there; it may be repeated, so nothing is
 * numbered. Users need admin of the keys. belay_result_recovered() tells how far it came: ask again for the rest. Ends in
 * OK; of the first record: INVALID; DAMAGED; MAYBE_APPLIED: repeat it; and as writes do. */
struct belay_request *belay_recover_begin(struct belay_client *client, struct belay_bytes key,
                                          struct belay_bytes records);

/* Ask a server of the list about itself: `command` is "status" or "config"; `argument` may be NULL. The answer is
 * one JSON document: belay_result_value(). Ends in UNSUPPORTED for unknown commands. */
struct belay_request *belay_admin_begin(struct belay_client *client, const char *command,
                                        const char *argument);

/* Nothing but an answer. */
struct belay_request *belay_ping_begin(struct belay_client *client);

/* ---- Requests that write ---- */

enum belay_mode {
    BELAY_UPSERT = 0, /* Begin the session if there is none. */
    BELAY_CREATE = 1, /* Only if there is none, else EXISTS. */
    BELAY_UPDATE = 2  /* Only if there is one, else NOT_FOUND. */
};

/* Write one session: all changes added after this are applied together, in order, or none is.
 *
 * A session that begins takes the type of the first change that has one: a named field makes a map, the
 * empty name a blob, members a set, scores a zset; belay_write_type() says it outright. A create without
 * any makes a map. Deadlines and owner alone never begin a session in BELAY_UPSERT: NOT_FOUND.
 *
 * The result has one number for each change (belay_result_change()), the version token, the ack level
 * reached. Ends in OK; NOT_FOUND, EXISTS, VERSION_MISMATCH, WRONG_TYPE, NOT_A_NUMBER, OUT_OF_RANGE,
 * DESTROYED, MAYBE_APPLIED, SESSION_TOO_LARGE, TOO_MANY_FIELDS, MEMORY_FULL, DISK_FULL, LOG_FAILED,
 * UNAVAILABLE, DAMAGED; INVALID for what is no version token. */
struct belay_request *belay_write_begin(struct belay_client *client, struct belay_bytes key,
                                        enum belay_mode mode);

/* Type of a session that this write may begin; also: WRONG_TYPE if there is one of another type. */
void belay_write_type(struct belay_request *write, enum belay_type type);

/* Only if the session is still at this version (belay_result_version()), else VERSION_MISMATCH. Not for
 * write_many (INVALID). At most 1024 bytes; an empty token is INVALID. */
void belay_write_if_version(struct belay_request *write, struct belay_bytes version);

/* How safe the write must be before it is answered. Default: what the policy says. */
void belay_write_ack(struct belay_request *write, enum belay_ack level);

/* Changes. Each says what belay_result_change() then gives. A name is at most 64 KiB; the blob is the
 * field with the empty name. At most 65536 changes. */

/* Set a field. Result: 1 if it is new, else 0. */
void belay_write_set(struct belay_request *write, struct belay_bytes name,
                     struct belay_bytes value);
/* Set a field that is gone by itself at a time since 1970. Result: as belay_write_set(). The session lives on without
 * fields, unless a Redis client began it. */
void belay_write_set_until(struct belay_request *write, struct belay_bytes name,
                           struct belay_bytes value, uint64_t time_ms);
/* Set the blob: belay_write_set() with the empty name. */
void belay_write_value(struct belay_request *write, struct belay_bytes value);
/* Remove a field, or a member of a set or zset. Result: 1 if it was there, else 0. A session lives on
 * without fields. */
void belay_write_delete(struct belay_request *write, struct belay_bytes name);
/* Add to a number; concurrent adds all count. An absent field counts as 0. Result: the sum. */
void belay_write_add(struct belay_request *write, struct belay_bytes name, int64_t delta);
/* Append to a field's value. Result: its new size. */
void belay_write_append(struct belay_request *write, struct belay_bytes name,
                        struct belay_bytes value);
/* Remove all fields. Result: how many there were. */
void belay_write_clear(struct belay_request *write);
/* A deadline of one field, a time since 1970; 0 removes it. Result: 1 if the field was there, else 0. */
void belay_write_until(struct belay_request *write, struct belay_bytes name, uint64_t time_ms);
/* The session ends at this time since 1970; 0 removes the deadline. Result: 0. */
void belay_write_absolute(struct belay_request *write, uint64_t time_ms);
/* The same as a duration from the server's now; at most ten years. Result: 0. */
void belay_write_ttl(struct belay_request *write, uint64_t ttl_ms);
/* The session ends after this long without access; 0 removes it. A session dies at the earlier of its
 * two deadlines. Result: 0. */
void belay_write_idle(struct belay_request *write, uint64_t idle_ms);
/* Whose session it is, at most 255 bytes; empty: nobody's. Result: 0. */
void belay_write_owner(struct belay_request *write, struct belay_bytes owner);
/* Count as an access now. Result: 0. */
void belay_write_touch(struct belay_request *write);
/* End the session; no other change beside it. Result: 1 if it lived, else 0. */
void belay_write_destroy(struct belay_request *write);
/* Add a member to a set. Result: 1 if it is new, else 0. */
void belay_write_add_member(struct belay_request *write, struct belay_bytes member);

enum belay_score_flag {
    BELAY_SCORE_NX = 1, /* Only new members. */
    BELAY_SCORE_XX = 2, /* Only present ones. */
    BELAY_SCORE_GT = 4, /* Present ones only to a greater score. */
    BELAY_SCORE_LT = 8  /* Present ones only to a smaller score. */
};

/* Set a zset member's score (not NaN). `flags`: enum belay_score_flag. Result: 1 new, 2 changed, 0. */
void belay_write_set_score(struct belay_request *write, struct belay_bytes member, double score,
                           uint32_t flags);
/* Add to a zset member's score. Result: the sum, by belay_result_score(). */
void belay_write_add_score(struct belay_request *write, struct belay_bytes member, double delta);

/* Write many sessions (at most 1024) in one request, each by itself: belay_result_item().
 * belay_write_many_key() begins the next session; the changes that follow are for it. Mode, ack and type
 * hold for all; when no type is given, it is that of the first change that has one. */
struct belay_request *belay_write_many_begin(struct belay_client *client, enum belay_mode mode);
void belay_write_many_key(struct belay_request *write_many, struct belay_bytes key);

/* ---- Results ---- */

/* What it ended in. */
enum belay_status belay_result_status(const struct belay_result *result);
/* What was wrong, where and what to do, for people: the server's words, else belay_status_text(). */
const char *belay_result_text(const struct belay_result *result);
/* The node that said it: its name and address; empty when it was this library. Good until the client is
 * closed. */
const char *belay_result_node(const struct belay_result *result);
/* Nonzero when the primary of the key decided this (a node alone is one); 0 when one of its successors did in its
 * place, or this library. Creates and conditions (BELAY_CREATE, belay_write_if_version()) that a successor decided hold
 * for what it had seen; while nodes cannot reach each other another of them may have decided otherwise. */
int belay_result_primary(const struct belay_result *result);

/* GET, WRITE: the session's version after the request: opaque, for belay_write_if_version() and
 * belay_get_floor(). Empty where there is no session. */
struct belay_bytes belay_result_version(const struct belay_result *result);
/* WRITE: the ack level reached. On one node "replica" is answered as "memory". */
enum belay_ack belay_result_ack(const struct belay_result *result);
/* Hybrid logical clock, 48 bits of ms since 1970 and 16 of counter: of the write; else of the node. */
uint64_t belay_result_hlc(const struct belay_result *result);
/* WRITE: nonzero when this write began the session. */
int belay_result_created(const struct belay_result *result);
/* WRITE: nonzero when it had been applied before and this is its first answer again. */
int belay_result_repeated(const struct belay_result *result);
/* BUSY: how long the server asked to wait. */
uint32_t belay_result_retry_after_ms(const struct belay_result *result);

/* GET: what is known of the session; 0 or empty where there is none. */
enum belay_type belay_result_type(const struct belay_result *result);
uint64_t belay_result_created_ms(const struct belay_result *result);     /* Time. */
uint64_t belay_result_last_access_ms(const struct belay_result *result); /* Time; 0: not kept. */
uint64_t belay_result_absolute_ms(const struct belay_result *result);    /* Time; 0: none. */
uint64_t belay_result_idle_ms(const struct belay_result *result);        /* Duration; 0: none. */
/* When it dies as things stand: the earlier of both deadlines. Time; 0: none. */
uint64_t belay_result_deadline_ms(const struct belay_result *result);
struct belay_bytes belay_result_owner(const struct belay_result *result);
uint32_t belay_result_field_count(const struct belay_result *result);
/* Of all values; where fields were chosen, of those that are there. */
uint32_t belay_result_value_bytes(const struct belay_result *result);
/* Values of concurrent writes that the view hides. */
uint32_t belay_result_siblings_hidden(const struct belay_result *result);
/* Of belay_recover_begin(): how many sessions are put back, from the first on. Not 0 where it ended in OK. */
uint32_t belay_result_recovered(const struct belay_result *result);

/* GET: a blob's bytes (with siblings: the newest). INSPECT, ADMIN: the JSON. Else empty. */
struct belay_bytes belay_result_value(const struct belay_result *result);

struct belay_field {
    struct belay_bytes name; /* Or member. */
    struct belay_bytes value;
    double score; /* Of a zset's member, else 0. */
    int present;  /* 0: asked for by name and not there. */
};

/* GET: walk the fields of a map, the members of a set or zset; or the fields asked for; or, with
 * BELAY_GET_SIBLINGS, all values, a blob's too (several in a row have one name, the newest first).
 * `*position` is 0 at first and belongs to the walk.
 * Returns 1 with `field` set, 0 at the end (also when the reply's bytes make no sense). */
int belay_result_field(struct belay_result *result, size_t *position, struct belay_field *field);

/* GET: find one field by name (a blob's is empty). Returns 1 with `value` set, 0 if it is not there.
 * Takes time in proportion to the number of fields. */
int belay_result_find(struct belay_result *result, struct belay_bytes name,
                      struct belay_bytes *value);

/* WRITE: how many changes have results; 0 unless the status is OK. */
size_t belay_result_change_count(const struct belay_result *result);
/* The result of the change of that index, from 0; 0 when there is none. Cheap in ascending order. A sum
 * of scores comes rounded toward zero, at the ends of the range where it is beyond them. */
int64_t belay_result_change(struct belay_result *result, size_t index);
/* The same for belay_write_add_score(); for other changes their number. */
double belay_result_score(struct belay_result *result, size_t index);

/* SCAN: where to go on; 0: done. */
uint64_t belay_result_cursor(const struct belay_result *result);
/* SCAN: walk the keys. `*position` as in belay_result_field(). Returns 1 with `key` set, or 0. */
int belay_result_key(struct belay_result *result, size_t *position, struct belay_bytes *key);

/* GET_MANY, WRITE_MANY: how many keys were answered; 0 unless the status is OK. */
size_t belay_result_item_count(const struct belay_result *result);
/* The answer for the key of that index, from 0, as of a request for it alone; it belongs to `result`.
 * NULL when there is none. */
struct belay_result *belay_result_item(struct belay_result *result, size_t index);

/* Free a result that a blocking function gave. NULL is fine. Before the client is closed. */
void belay_result_destroy(struct belay_result *result);

/* ---- Blocking, one function for each simple request ---- */

/* All as belay_run(): they return the status, and set `result` (unless NULL) to the answer, which the
 * caller destroys. The client's deadline, the policy's ack level. */

/* The whole session. */
enum belay_status belay_get(struct belay_client *client, struct belay_bytes key,
                            struct belay_result **result);
/* Some fields of it. */
enum belay_status belay_get_fields(struct belay_client *client, struct belay_bytes key,
                                   const struct belay_bytes names[], size_t name_count,
                                   struct belay_result **result);
/* What is known of it, without its value and without touching it. */
enum belay_status belay_get_meta(struct belay_client *client, struct belay_bytes key,
                                 struct belay_result **result);
/* Begin a blob session, EXISTS if there is one. `ttl_ms` 0: no deadline but the policy's. */
enum belay_status belay_create(struct belay_client *client, struct belay_bytes key,
                               struct belay_bytes value, uint64_t ttl_ms,
                               struct belay_result **result);
/* Set a blob; the session begins if there is none. */
enum belay_status belay_put(struct belay_client *client, struct belay_bytes key,
                            struct belay_bytes value, struct belay_result **result);
/* Set a blob only if the session is at that version. */
enum belay_status belay_put_if_version(struct belay_client *client, struct belay_bytes key,
                                       struct belay_bytes value, struct belay_bytes version,
                                       struct belay_result **result);
/* Set, remove or add to one field of a map; set and add begin the session if there is none. */
enum belay_status belay_field_set(struct belay_client *client, struct belay_bytes key,
                                  struct belay_bytes name, struct belay_bytes value,
                                  struct belay_result **result);
enum belay_status belay_field_delete(struct belay_client *client, struct belay_bytes key,
                                     struct belay_bytes name, struct belay_result **result);
enum belay_status belay_field_add(struct belay_client *client, struct belay_bytes key,
                                  struct belay_bytes name, int64_t delta,
                                  struct belay_result **result);
/* Append to a blob; the session begins if there is none. */
enum belay_status belay_append(struct belay_client *client, struct belay_bytes key,
                               struct belay_bytes value, struct belay_result **result);
/* Count as an access: the idle deadline slides. */
enum belay_status belay_touch(struct belay_client *client, struct belay_bytes key,
                              struct belay_result **result);
/* Set the deadline to so long from now. */
enum belay_status belay_expire(struct belay_client *client, struct belay_bytes key, uint64_t ttl_ms,
                               struct belay_result **result);
/* End the session. OK also when there was none: belay_result_change(result, 0) is then 0. */
enum belay_status belay_delete(struct belay_client *client, struct belay_bytes key,
                               struct belay_result **result);

#ifdef __cplusplus
}
#endif

#endif
