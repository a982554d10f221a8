/* Procedures: reads of a session, a decision, and writes, all in one turn of its shard, so that nobody sees
 * what is between. What a plain GET or WRITE cannot say ("give the old value and set a new one", "only if it
 * expires later") is a procedure; the RESP door's commands are.
 *
 * A transaction is a procedure on several keys of one shard: what it writes is staged, and becomes the shard's all at once
 * with one record of the log, or not at all.
 *
 * A request with a procedure is in all else a GET, or a WRITE where it may write: it waits, is counted, logged and
 * acknowledged as such. It may be run more than once, as a request that waits for a cold session begins anew; it
 * decides by what it finds, and keeps nothing.
 *
 * Threads: the shard's.
 */
#ifndef PROCEDURE_H
#define PROCEDURE_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "change.h"
#include "memory.h"
#include "session.h"
#include "status.h"

struct policy;
struct request;
struct shard;

/* One run. */
struct turn {
    const struct request *request; /* Its body is the procedure's own argument. */
    const struct policy *policy;
    uint64_t now_ms;
    struct buffer *answer;  /* What the reply carries as its results; empty at first. */
    struct buffer *changes; /* For the list to write; its memory is kept. */
    const char *text;       /* Of the status returned; NULL: the status's own. */
    /* private to shard_procedure.c */
    struct shard *shard;
    struct staged *staged; /* A transaction's: TURN_KEYS_MAX of them. */
    uint32_t staged_count;
    bool opened, counted;
    bool moved; /* Something of it did. */
    bool moves; /* What is destroyed now lives on under another key: no end of a session. */
    bool
        replaces; /* What is destroyed now gives way to a value of another type: no end of a session. */
    bool
        expires; /* What is destroyed now is past its deadline, which a staged write would have set. */
    bool frees;       /* What is destroyed now is a lock: its key is for use again at once. */
    uint64_t unlocks; /* Whose lock of the key goes once this is answered; 0: nobody's. */
};

enum { TURN_KEYS_MAX = 128 };

struct procedure {
    const char *name;
    /* Returns OK with the answer; or an error, in whose place the answer does not count. */
    enum status (*run)(struct turn *turn);
    bool ends;  /* All it can write is an end: allowed in a full memory. */
    bool inner; /* The server's own: not counted as a client's request. */
    bool safe;  /* Answered once another node has it, where there is one, at the least. */
    bool locks; /* Looks at locks itself, where others wait for them. */
    bool
        many; /* A transaction. The request's body begins with its keys: varint number, and each as varint size and
                  bytes, at most TURN_KEYS_MAX; the request's own key is the first. */
};

/* The live session, NULL where there is none. Good until turn_write(). */
struct session_view *turn_view(struct turn *turn);

/* The same, and this is a use of the session: it counts as a hit or a miss, and slides the idle deadline where the
 * policy says that reads do. */
struct session_view *turn_use(struct turn *turn);

/* Go on with another key of a transaction. `request` has its key, and what the next procedure wants in it; it must live as
 * long as it is turned to. */
void turn_to(struct turn *turn, struct request *request);

/* The version token of the live session in view; empty where there is none. Good until the next write or turn. */
int turn_token(struct turn *turn, struct bytes *token);

/* Bytes of the present key's record, as it is by now. */
size_t turn_bytes(const struct turn *turn);

/* What is written from here on is staged, as a transaction's, though it is of one key. Returns 0 or -ENOMEM. */
int turn_stage(struct turn *turn);

/* Write as WRITE does: applied and logged when it returns OK. `results` (may be NULL) is good until the next one.
 * What went before a failed one stays. */
enum status turn_write(struct turn *turn, enum write_mode mode, enum session_type type,
                       struct bytes changes, struct bytes *results);

#endif
