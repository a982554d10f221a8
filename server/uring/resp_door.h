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

#include "calls.h"
#include "commands.h"
#include "connection.h"
#include "peer.h"
#include "ports.h"
#include "pubsub.h"
#include "scripts.h"
#include "shard_thread.h"
#include "slowlog.h"

enum {
    RESP_DATABASES = 16, /* SELECT: "ERR DB index is out of range". */
    RESP_NAME_BYTES_MAX = 64,
    SCRIPTS_LEARNT_MAX = 64,
    RESP_PREFIX_BYTES = 16,
    RESP_KEY_RESERVED = 1, /* The first byte of keys of databases other than 0: \1 number : key. */
};

/* Commands between MULTI and EXEC, and what WATCH saw. */
struct resp_multi {
    bool open;               /* MULTI was said. */
    bool failed;             /* Something was wrong with a command: EXECABORT. */
    bool writes;             /* One of them may write. */
    const struct user *user; /* Who said it: what is queued was allowed to that user. */
    uint32_t database;       /* While it is open: of the next key. */
    uint32_t watching;       /* Answers to WATCH that have not come. */
    uint32_t slot_plus_one;  /* Of all keys; 0: none yet. */
    uint32_t key_count, command_count, watch_count;
    size_t queued_bytes;    /* Of thread->multi_bytes. */
    struct buffer keys;     /* As a transaction's body has them: each as varint size and bytes... */
    struct buffer watches;  /* ... number of its key, token as varint size and bytes... */
    struct buffer commands; /* ... see exec.h. */
    struct buffer
        later; /* Of what is done later each as varint number of the command, and the request as
                               varint size and bytes. */
};

/* What the door keeps with a connection. */
struct resp_session {
    struct reply_order order;
    uint64_t id;
    uint32_t database;
    uint32_t
        tasks; /* Under way (tasks.h, or EXEC with what is done later): the next command waits for them. */
    bool resp3;
    bool
        reads_copies; /* READONLY: of its keys that a node has it answers reads, whoever coordinates them. */
    bool silent;      /* CLIENT REPLY OFF. */
    bool silent_next; /* CLIENT REPLY SKIP: the request after this one... */
    bool silent_now;  /* ... and the one that is served. */
    struct resp_multi multi;
    struct connection *connection;
    struct subscriber subscriber;
    bool monitors; /* MONITOR was said... */
    struct resp_session *next_monitor;
    uint64_t shown; /* Requests up to this number were shown to those who did. */
    char address[PEER_BYTES];
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
    "redis-py, the cache of ASP.NET Core and the session state of ASP.NET, natively"

void script_learn(struct scripts *scripts, const char *sha1, const struct command *command);
const struct command *script_known(struct scripts *scripts, struct bytes sha1);
void script_forget(struct scripts *scripts); /* SCRIPT FLUSH. */

/* ---- Transactions (resp_multi.c) ---- */

void resp_multi_init(struct resp_multi *multi, struct memory *memory);
void resp_multi_fini(struct shard_thread *thread, struct resp_multi *multi);
/* As after EXEC. */
void resp_multi_clear(struct shard_thread *thread, struct resp_multi *multi);

extern const char resp_cross_slot[];

/* MULTI, EXEC, DISCARD, WATCH, UNWATCH. */
void resp_multi_command(struct shard_thread *thread, struct connection *connection, uint64_t number,
                        const struct command *command, struct bytes array, struct bytes whole);
/* Any other command between MULTI and EXEC. */
void resp_multi_queue(struct shard_thread *thread, struct connection *connection, uint64_t number,
                      const struct command *command, struct bytes array);
/* What WATCH asked for came: of each key of `array` its token, as varint size and bytes. Returns 0,
 * -EXDEV where they are of several slots, -EAGAIN where one is an error in place of a token, or -ENOMEM. */
int resp_multi_watched(struct shard_thread *thread, struct connection *connection,
                       struct bytes array, struct bytes tokens);

/* What EXEC answered: do what was to be done later, if the rest was done, and put all replies into `reply`, which is not
 * thread->scratch where the answer is. Returns 0 or -ENOMEM. */
int resp_multi_later(struct shard_thread *thread, struct connection *connection, struct bytes later,
                     struct bytes answer, const struct resp_out *reply);

/* ---- The door, for the others ---- */

void resp_reply_error(struct shard_thread *thread, struct connection *connection, uint64_t number,
                      const char *text);
/* What lies in thread->scratch, of which appending the last returned `rc`. */
void resp_reply(struct shard_thread *thread, struct connection *connection, uint64_t number,
                int rc);
void resp_reply_status(struct shard_thread *thread, struct connection *connection, uint64_t number,
                       enum status status);
void resp_reply_number(struct shard_thread *thread, struct connection *connection, uint64_t number,
                       int64_t value);
void resp_reply_ok(struct shard_thread *thread, struct connection *connection, uint64_t number,
                   const char *text);
/* The key as it is kept: with its database. Returns NULL, or what is wrong. */
const char *resp_keep_key(struct shard_thread *thread, const struct connection *connection,
                          struct bytes key, struct bytes *kept);
/* Must a request that cannot be put off once it has begun be put off now? Then it was. */
bool resp_waits(struct shard_thread *thread, struct connection *connection, uint64_t number,
                uint32_t parts, struct bytes whole);
/* The same where all that was asked before must be answered first. */
bool resp_waits_for_all(struct shard_thread *thread, struct connection *connection, uint64_t number,
                        struct bytes whole);
/* A whole request (resp_dispatch.c). */
void resp_dispatch(struct shard_thread *thread, struct connection *connection, uint64_t number,
                   struct bytes array, struct bytes whole);
/* Route a request to its shard; its reply is that to `number`. */
void resp_route(struct shard_thread *thread, struct connection *connection, uint64_t number,
                const struct command *command, struct request *request, struct bytes whole);
/* The request that a command on one key makes, but for its ticket. */
struct request resp_request_of(const struct connection *connection, const struct command *command,
                               struct bytes key, struct bytes body);
/* What its flags say of the client. */
uint32_t resp_flags(const struct connection *connection, bool writes);
/* Returns the ticket, or 0 where there are too many. */
uint64_t resp_take_call(struct shard_thread *thread, const struct connection *connection,
                        const struct command *command, enum call_form form, struct call **call);
/* What was measured of the command that is served now was another's time. `slow`: NULL where it is not measured. */
static inline void resp_measure_anew(struct slow_request *slow)
{
    if (slow != NULL) {
        slow->began_us = monotonic_us();
    }
}
/* A command on one key. */
void resp_one(struct shard_thread *thread, struct connection *connection, uint64_t number,
              const struct command *command, struct bytes array, struct bytes whole);
/* A command on several keys of one shard, as a transaction whose body is its keys and then the request (resp_multi.c). */
void resp_several(struct shard_thread *thread, struct connection *connection, uint64_t number,
                  const struct command *command, const struct procedure *procedure,
                  struct bytes array, struct bytes whole);
/* RENAME, RENAMENX (resp_rename.c). */
void resp_rename(struct shard_thread *thread, struct connection *connection, uint64_t number,
                 const struct command *command, struct bytes array, struct bytes whole);
/* SUBSCRIBE, UNSUBSCRIBE, PSUBSCRIBE, PUNSUBSCRIBE, PUBLISH (resp_pubsub.c). */
void resp_pubsub(struct shard_thread *thread, struct connection *connection, uint64_t number,
                 const struct command *command, struct bytes array, struct bytes whole);
/* Is this a client of RESP2 that has subscribed? It may do little else. */
bool resp_is_subscribed(const struct resp_session *session);
/* A session of this thread's shard has ended, perhaps: tell who asked for it (events.h). */
void resp_tell(struct shard_thread *thread, enum trace_event event, struct bytes key);
/* Give messages to this thread's subscribers, before the end of the turn. */
void resp_pubsub_turn(struct shard_thread *thread);
void resp_pubsub_fini(struct shard_thread *thread);
/* PUBLISH: returns as pubsub_publish(). */
int64_t resp_publish(struct shard_thread *thread, struct resp_arguments arguments);
/* A message that this node's subscribers have, `count` of them, goes to the other nodes. Returns whether the reply waits for
 * their count; else there is nobody to wait for (resp_news.c). */
bool resp_publish_far(struct shard_thread *thread, struct connection *connection, uint64_t number,
                      struct bytes channel, struct bytes payload, int64_t count);
/* PUBSUB over all nodes. Returns false, with nothing done, where it is not as it should be. */
bool resp_pubsub_far(struct shard_thread *thread, struct connection *connection, uint64_t number,
                     struct bytes array, struct bytes whole);
/* MONITOR (resp_monitor.c). */
void resp_monitor(struct shard_thread *thread, struct connection *connection, uint64_t number,
                  struct bytes whole);
/* It watches no longer; nothing where it does not. */
void resp_monitor_leave(struct shard_thread *thread, struct resp_session *session);
/* May a connection that watches do this? */
bool resp_is_for_monitors(const struct command *command);
/* Show those who watch a request; and what EXEC is about to carry out. */
void resp_monitor_show(struct shard_thread *thread, const struct connection *connection,
                       uint64_t number, const struct command *command, struct bytes array);
void resp_monitor_show_queued(struct shard_thread *thread, const struct connection *connection);
/* Give lines to this thread's watchers, before the end of the turn. */
void resp_monitor_turn(struct shard_thread *thread);
/* EVAL, EVALSHA (resp_scripts.c): the command that the script is, and its request. Returns NULL where what is wrong was
 * answered. */
const struct command *resp_find_script(struct shard_thread *thread, struct connection *connection,
                                       uint64_t number, const struct command *command,
                                       struct bytes array, struct bytes *body);
void resp_eval(struct shard_thread *thread, struct connection *connection, uint64_t number,
               const struct command *command, struct bytes array, struct bytes whole);
/* Serve it again later. What is put off once it was looked at takes the effect of CLIENT REPLY SKIP along: it is the next
 * to be served, as nothing before a CLIENT can still be put off. */
void resp_put_off(struct shard_thread *thread, struct connection *connection, uint64_t number,
                  struct bytes whole);
/* The same for a request that the batch puts off; `silent`: nothing is to be answered to it. */
void resp_skip_anew(struct resp_session *session, bool silent);
enum { RESP_CALL_SILENT = 1 }; /* In call.flags. */

/* ---- What is gathered (resp_gather.c) ---- */

/* One request for each key of an array; the replies are joined. Returns whether it was begun: else it was answered, or
 * put off. */
bool resp_many(struct shard_thread *thread, struct connection *connection, uint64_t number,
               const struct command *command, struct bytes array, struct bytes whole);
/* One request, on whose answer there is more to do, for which `kept` is needed. */
void resp_gather_one(struct shard_thread *thread, struct connection *connection, uint64_t number,
                     const struct command *command, struct request *request, enum command_join join,
                     struct bytes kept);
/* The request of one part: the command, its key, and what belongs to the key. Returns 0 or -ENOMEM. */
int resp_make_part(struct shard_thread *thread, const struct command *command,
                   const struct bytes arguments[], uint32_t count, struct bytes *array);

void resp_scan(struct shard_thread *thread, struct connection *connection, uint64_t number,
               const struct command *command, struct bytes array, struct bytes whole);
/* What the keys of a database begin with. Returns its size. */
size_t resp_put_database(uint32_t database, char prefix[RESP_PREFIX_BYTES]);
/* The key as its client knows it, and its database. Returns false where it is none of theirs. */
bool resp_find_database(struct bytes *key, uint32_t *database);
/* One of the door's own commands, which needs nothing else. */
void resp_own(struct shard_thread *thread, struct connection *connection, uint64_t number,
              const struct command *command, struct bytes array);
/* AUTH, HELLO (resp_login.c). */
void resp_login(struct shard_thread *thread, struct connection *connection, uint64_t number,
                const struct command *command, struct bytes array, struct bytes whole);

/* ---- Rights (resp_access.c): where there are users ---- */

enum { RESP_DENIED_BYTES = 128 };

/* Why the client may not do that, perhaps in `text`; NULL: it may. `arguments`: what follows the command's name. */
const char *resp_denied(const struct shard_thread *thread, const struct connection *connection,
                        const struct command *command, struct resp_arguments arguments,
                        char text[RESP_DENIED_BYTES]);
/* The same of every key that begins so. */
const char *resp_denied_key(const struct shard_thread *thread, const struct connection *connection,
                            enum role role, struct bytes start);
/* May the client get this message? A keyspace event only where it may read the key. */
bool resp_may_hear(const struct shard_thread *thread, const struct connection *connection,
                   struct bytes channel, struct bytes payload);

/* KEYS, DBSIZE, FLUSHDB, FLUSHALL (resp_walk.c). */
void resp_walk(struct shard_thread *thread, struct connection *connection, uint64_t number,
               const struct command *command, struct bytes array, struct bytes whole);
/* CLUSTER COUNTKEYSINSLOT, GETKEYSINSLOT: of what this node has of a slot, 0 and none where it is none of its owners. Returns
 * false, with nothing done, where it is neither of the two, or not as it should be. */
bool resp_walk_slot(struct shard_thread *thread, struct connection *connection, uint64_t number,
                    struct bytes array, struct bytes whole);
/* Of resp_protocol. */
size_t resp_part_instead(const struct call *call, uint8_t frame_type, enum status status,
                         const char *text, uint8_t *to);
void resp_gathered(struct shard_thread *thread, struct connection *connection,
                   const struct gathered *gathered);

/* ---- For resp_local.c ---- */

/* One of the door's own commands. The reply is appended to `out`. Returns 0, or -ENOMEM. Sets `ends` where the connection
 * is to end after it. */
int resp_local(struct shard_thread *thread, struct connection *connection,
               const struct command *command, struct resp_arguments arguments,
               const struct resp_out *out, bool *ends);

#endif
