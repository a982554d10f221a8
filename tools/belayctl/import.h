/* belayctl import: copies the sessions of a Redis that may be in use, with their deadlines.
 *
 * Keys come by SCAN; of each batch type and deadline are asked first, then the values, as many at a time as
 * are probably a few MiB together (import_keys.c). Each key becomes one write, or several where it is large,
 * that replaces what the target has (import_write.c), so that a second run ends in the same state. Up to a
 * bound of writes are under way while the next batch is asked for. What was not possible for now (a key
 * changed its type, the target has another type, is busy) is asked for again. At the end a sample is
 * read from both sides (import_sample.c).
 *
 * A failure that ends it all is printed where it is noticed and kept in import->rc; everything then
 * returns. What is wrong with one key is counted and named (import_note()), and the rest is copied.
 *
 * Memory: keys given to functions stay the caller's. Threads: one.
 */
#ifndef IMPORT_H
#define IMPORT_H

#include <hiredis/hiredis.h>

#include "address.h"
#include "bytes.h"
#include "ctl.h"
#include "limits.h"

/* ---- import_source.c: the Redis ---- */

struct source {
    redisContext *redis;
    struct address address;
    char *user, *password; /* May be NULL. */
    uint32_t database;
    uint64_t timeout_ms;  /* Of connecting, and of each answer. */
    bool has_time;        /* PEXPIRETIME: since 7.0. */
    bool has_field_times; /* HPEXPIRETIME: since 7.4. */
    char name[300];       /* HOST:PORT, for messages. */
};

/* Read redis://[user:password@]HOST[:PORT][/DB]; a password that is not there is that of REDISCLI_AUTH. It
 * is blotted out in `url`. Returns CTL_OK; CTL_USAGE with a message printed. source_close() follows. */
int source_parse(struct source *source, struct ctl *ctl, char *url);

struct import;

/* Connect, present the password, choose the key space, and see what it can do. Fails into import->rc. */
void source_open(struct import *import);
void source_close(struct source *source);

/* Queue a command; `format` as hiredis has it: words with %s and %b (data, size). */
void source_ask(struct import *import, const char *format, ...);
/* The next answer, to be freed. NULL with import->rc set where there is none, or an error for any reason but
 * WRONGTYPE. */
redisReply *source_answer(struct import *import);

static inline bool reply_is_error(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR;
}

static inline struct bytes reply_bytes(const redisReply *reply)
{
    return bytes_of(reply->str, reply->str == NULL ? 0 : (size_t)reply->len);
}

/* ---- What is copied ---- */

/* A session as both sides know it. */
struct state {
    enum belay_type type; /* BELAY_NONE: there is none. */
    uint64_t deadline_ms; /* Time; 0: none. */
    uint64_t fields;      /* Counted where they came, so that some may have come twice. */
    uint64_t digest;      /* The sum over all fields, in any order. */
};

/* A key to be asked for, once more or for the first time. */
struct wanted {
    struct bytes key;
    uint32_t attempts;
    bool replace; /* The target has another type: destroy it first. */
};

struct wanted_list {
    struct wanted *items; /* The keys are copies. */
    size_t count, capacity;
};

enum trouble {
    TROUBLE_TYPE,     /* A list, a stream, of a module. */
    TROUBLE_KEY,      /* Reserved, empty or too long. */
    TROUBLE_LIMIT,    /* The target's limits. */
    TROUBLE_ENDED,    /* no_resurrect. */
    TROUBLE_DAMAGED,  /* The target's session is. */
    TROUBLE_CHANGING, /* It was never the same long enough to be read. */
    TROUBLE_DIFFERS,  /* The sample found it so. */
    TROUBLES
};

enum { EXAMPLES_MAX = 5, SAMPLE_KEYS = 128 };

struct noted {
    uint64_t count;
    struct {
        struct bytes key; /* A copy. */
        char why[32];
    } examples[EXAMPLES_MAX];
};

struct sample {
    uint64_t offered, random;
    bool closed; /* It is being compared: what is copied now is neither counted nor taken in. */
    uint32_t count;
    struct sampled {
        struct bytes key; /* A copy. */
        struct state state;
    } keys[SAMPLE_KEYS];
    uint32_t same, changed, ended, changing; /* `changed`: some of the others, copied again. */
};

/* How long sessions of a policy live that are given no deadline. */
struct lifetime {
    char *prefix;
    size_t prefix_size;
    uint64_t ttl_ms; /* 0: for ever. */
};

struct import {
    struct ctl *ctl;
    int rc; /* CTL_OK as long as it goes on. */
    struct source source;
    const char *match; /* NULL: all keys. */
    struct belay_client *client;
    char prefix[16]; /* Of this key space's keys in Belay. */
    size_t prefix_size;
    struct lifetime *lifetimes; /* The longest prefix first. */
    size_t lifetime_count;
    struct progress progress;
    uint64_t values, value_bytes; /* That came so far. */
    uint64_t seen, gone, copied[BELAY_ZSET + 1];
    struct noted noted[TROUBLES];
    struct wanted_list again;
    struct sample sample;
    /* Writes under way. */
    size_t flying, flying_bytes;
    uint64_t busy_since_ms; /* Of the first of BUSY answers without a good one between; 0. */
    uint32_t pause_ms;      /* What the target asked for. */
};

/* ---- import.c ---- */

/* Print what ends it all, and set import->rc (unless it is set). */
void import_failed(struct import *import, int rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Count something that is wrong with a key. */
void import_note(struct import *import, enum trouble trouble, struct bytes key, const char *why);
/* Ask for a key again later; `attempts` were made, and after some more it is TROUBLE_CHANGING. */
void import_again(struct import *import, struct bytes key, uint32_t attempts, bool replace);
/* A copy to be freed; no memory: data NULL and import->rc set. */
struct bytes import_copy(struct import *import, struct bytes bytes);
void import_free(struct bytes copy);
/* The time since 1970. */
uint64_t import_time_ms(void);

/* ---- import_keys.c ---- */

enum { TYPE_BYTES = 32 };

/* Ask for a key's type and deadline; and take the answer, which has no content. Returns false where Belay has
 * no such type; `name` is what Redis calls it. */
void import_ask_type(struct import *import, struct bytes key);
bool import_take_type(struct import *import, struct state *state, char name[TYPE_BYTES]);

/* Ask for these keys and begin to write them. */
void import_keys(struct import *import, const struct wanted wanted[], size_t count);
/* Those of import->again, which is emptied first. */
void import_keys_again(struct import *import);

/* ---- import_write.c: the target ---- */

/* One key being written, field by field. Private to import_write.c. */
struct writing {
    struct import *import;
    struct wanted wanted;
    struct state state;
    struct belay_request *request;
    uint32_t changes, steps; /* Of the request; done before it. */
    size_t bytes;
    bool over; /* A step failed, and what became of it is settled. */
};

/* Begin a session of this type; `deadline_ms` a time, or 0. */
void writing_begin(struct writing *writing, struct import *import, const struct wanted *wanted,
                   enum belay_type type, uint64_t deadline_ms);
/* A field, a member (no value), a member's score (its text in `value`), the blob (no name). `until_ms`: the
 * field's deadline, or 0. */
void writing_put(struct writing *writing, struct bytes name, struct bytes value, uint64_t until_ms);
/* All of it was put: write. */
void writing_end(struct writing *writing);
/* Nothing more of it is to be written. */
void writing_drop(struct writing *writing);

/* Send what waits, and let answers come until there is room for more. */
void import_let_fly(struct import *import);
/* Wait for all answers, and as long as the target asked for. */
void import_land(struct import *import);
/* The key in Belay, in memory of the caller's: KEY_BYTES_MAX bytes. */
struct belay_bytes import_target_key(const struct import *import, struct bytes key, char *to);
/* Ask the target's policies. Fails into import->rc. */
void import_read_policies(struct import *import);

/* ---- import_sample.c ---- */

/* One field more in the state. */
void state_add(struct state *state, struct bytes name, struct bytes value, double score);
/* A key was copied in this state. */
void sample_offer(struct import *import, struct bytes key, const struct state *state);
/* Compare the sample's keys on both sides. */
void sample_check(struct import *import);

/* ---- import_report.c ---- */

/* What was copied and what was not. Returns the exit code. */
int import_report(struct import *import);

#endif
