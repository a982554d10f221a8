/* The RESP door: Redis clients on the port of the native protocol.
 *
 * A request is an array; its command is found in the table (server/resp/commands.h), and is either the door's own
 * (resp_local.c) or a procedure that runs at the shard of its key. What names many keys is one procedure for each, and
 * their replies are gathered. Replies go out in the order of the requests (reply_order.h).
 *
 * Threads: the connection's shard's.
 */
#ifndef RESP_DOOR_H
#define RESP_DOOR_H

#include <pthread.h>

#include "commands.h"
#include "connection.h"
#include "scripts.h"

enum {
    RESP_DATABASES = 16, /* SELECT: "ERR DB index is out of range". */
    RESP_NAME_BYTES_MAX = 64,
    SCRIPTS_LEARNT_MAX = 64,
    RESP_KEY_RESERVED = 1, /* The first byte of keys of databases other than 0: \1 number : key. */
};

/* What the door keeps with a connection. */
struct resp_session {
    struct reply_order order;
    uint64_t id;
    uint32_t database;
    bool resp3;
    bool silent;      /* CLIENT REPLY OFF. */
    bool silent_next; /* CLIENT REPLY SKIP: the request after this one... */
    bool silent_now;  /* ... and the one that is served. */
    char name[RESP_NAME_BYTES_MAX + 1];
    char library[RESP_NAME_BYTES_MAX + 1], library_version[RESP_NAME_BYTES_MAX + 1];
};

extern const struct protocol resp_protocol;

/* The connection speaks RESP. Returns 0 or -ENOMEM. */
int resp_door_open(struct shard_thread *thread, struct connection *connection);

/* ---- Scripts that were sent, by their SHA1 ---- */

/* For EVALSHA of texts that are known but for their blanks. Any thread. */
struct scripts {
    pthread_mutex_t lock;
    uint32_t count;
    struct {
        char sha1[SCRIPT_SHA1_BYTES + 1];
        const struct command *command;
    } learnt[SCRIPTS_LEARNT_MAX]; /* Others have to be sent whole each time. */
};

#define SCRIPT_UNKNOWN                                                                             \
    "ERR script %s is not known: there is no Lua here, only the locks of phpredis, Laravel and "   \
    "redis-py and the cache of ASP.NET Core, natively"

void script_learn(struct scripts *scripts, const char *sha1, const struct command *command);
const struct command *script_known(struct scripts *scripts, struct bytes sha1);
void script_forget(struct scripts *scripts); /* SCRIPT FLUSH. */

/* ---- For resp_local.c ---- */

/* One of the door's own commands. The reply is appended to `out`. Returns 0, or -ENOMEM. Sets `ends` where the connection
 * is to end after it. */
int resp_local(struct shard_thread *thread, struct connection *connection,
               const struct command *command, struct resp_arguments arguments,
               const struct resp_out *out, bool *ends);

/* The words for a status that a procedure, or the way to it, ended in. */
enum { RESP_STATUS_BYTES = 256 };
void resp_status_text(enum status status, const char *text, char words[RESP_STATUS_BYTES]);

#endif
