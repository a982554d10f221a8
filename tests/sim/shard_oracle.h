/* The oracle of a shard: what a client may expect of it, written down as plainly as can be.
 *
 * Of each key it keeps the state that a session has after each change, with the place in the log where that change
 * is. It is told of every request that the shard executes, and holds the answer against what must be; of every
 * acknowledgement; and after a crash of how much of the log is left: what then has to be there is exactly what it
 * wrote down for that place. It knows nothing of records, stamps and merges.
 *
 * Only the idle clock is known within bounds after a restart: it may have got an eighth of the timeout more.
 */
#ifndef SHARD_ORACLE_H
#define SHARD_ORACLE_H

#include "policy.h"
#include "shard.h"
#include "shard_operation.h"
#include "sim.h"

enum {
    ORACLE_TOMBSTONE_KEEP_MS = 10000,
    ORACLE_IDLE_MS = 3000,     /* Of keys "i...". */
    ORACLE_ABSOLUTE_MS = 5000, /* Of keys "t...". Keys "n...": no_resurrect. */
};

struct oracle_field {
    bool there;
    int64_t number;
    char value[OPERATION_VALUE_BYTES];
};

struct oracle_state {
    bool begun; /* A session began, and was not destroyed; it may have expired. */
    uint64_t incarnation;
    struct oracle_field fields[OPERATION_FIELDS];
    uint64_t absolute_ms, idle_ms;
    uint64_t access_least_ms, access_most_ms;
    uint64_t used_ms;   /* The newest access of all sessions of this key. */
    uint64_t logged_ms; /* The last access that was logged: a full log takes none. */
    bool
        restored; /* Not used since a restart: a part of the idle timeout is still to be given back. */
    uint64_t until_ms;                /* Kept away until then. */
    uint64_t dead_ms;                 /* When it was destroyed last. */
    struct operation_version version; /* After a destruction: that of the tombstone. */
    struct operation_version written; /* As the last write on a session told it. */
};

struct oracle_past {
    uint64_t lsn; /* It is so if the log is kept up to here. */
    struct oracle_state state;
};

struct oracle_key {
    struct oracle_past *pasts; /* The last is the present. */
    uint32_t count, capacity;
    struct operation_version *lost; /* Versions that a crash took. */
    uint32_t lost_count, lost_capacity;
};

/* A write of a client that was done: first, and last, where it was done again when its key had been forgotten. */
struct oracle_done {
    bool done, again;
    struct oracle_time {
        uint64_t lsn, incarnation;
        int64_t result;
    } first, last;
};

struct oracle_ack {
    uint64_t lsn, at_us;
    enum ack_level level;
};

struct oracle {
    struct sim *sim;
    struct oracle_key keys[OPERATION_KEYS];
    struct oracle_done *done[1 + SIM_CLIENTS_MAX]; /* By sequence. */
    uint64_t done_capacity[1 + SIM_CLIENTS_MAX];
    struct oracle_ack *acks; /* Of this life of the machine. */
    uint32_t ack_count, ack_capacity;
};

/* What one execution did to the log. */
struct oracle_logged {
    uint64_t lsn; /* The end of the log after it. */
    int rc;       /* Of the first append that failed, or 0. */
    bool failed;  /* The log has failed in this life. */
};

void oracle_init(struct oracle *oracle, struct sim *sim);
void oracle_fini(struct oracle *oracle);

/* The name of a key, and the policies of all. */
struct bytes oracle_key_name(uint32_t key);
uint32_t oracle_policies(struct policy policies[4]);

/* A request was executed, and answered so (perhaps held). */
void oracle_executed(struct oracle *oracle, const struct operation *operation, uint64_t now_ms,
                     const struct reply *reply, const struct oracle_logged *logged);

/* An answer OK to a write goes out. */
void oracle_acked(struct oracle *oracle, uint64_t lsn, enum ack_level level);

/* The shard says that a session has expired, and has logged it. */
void oracle_told_expired(struct oracle *oracle, struct bytes key, uint64_t now_ms, uint64_t lsn);

/* The node stopped so, and the log is left up to `lsn`. What was acknowledged at memory until `last_us` had to be
 * written by then. */
void oracle_restarted(struct oracle *oracle, uint64_t lsn, enum sim_stop stop, uint64_t last_us);
void oracle_wiped(struct oracle *oracle);
/* And serves again from here on. */
void oracle_serves(struct oracle *oracle, uint64_t now_ms);

/* How many sessions there are for certain, and may be. */
void oracle_live(const struct oracle *oracle, uint64_t now_ms, uint64_t *least, uint64_t *most);

#endif
