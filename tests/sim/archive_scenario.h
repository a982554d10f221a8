/* Scenario `archive`: one to three nodes of scenario `copies` (copies_scenario.h) whose logs and checkpoints go to a store
 * of objects that fails (sim_store.h), from which all of it is restored again and again: as if that moment all nodes and
 * all disks were lost.
 *
 *   archive_node.c        a node's part in it: when its log goes, marks, who waits (server/node_archive.c and its
 *                         thread, server/uring/archive_gate.c)
 *   archive_others.c      what other nodes stamped, in its log (server/node_archive_tails.c)
 *   archive_checkpoint.c  its checkpoints (server/node_archive_checkpoint.c)
 *   archive_restore.c     restores: sessions as of a time; all of them into an empty shard; retention
 *   archive_oracle.c      what must be in the archive, and what not
 *   archive_scenario.c    when
 */
#ifndef ARCHIVE_SCENARIO_H
#define ARCHIVE_SCENARIO_H

#include "archive_access.h"
#include "archive_feed.h"
#include "archive_mark.h"
#include "archive_tails.h"
#include "archiver.h"
#include "checkpointer.h"
#include "copies_scenario.h"
#include "sim_store.h"

enum {
    ARCHIVE_SIM_FLUSH_MS = 400,
    ARCHIVE_SIM_KEEP_MS = 100, /* How often marks are kept. */
    ARCHIVE_SIM_SLOW_MS = 300,
    ARCHIVE_SIM_PAUSE_MS = 20,
    ARCHIVE_SIM_PAUSE_MS_MAX = 200,
    ARCHIVE_SIM_OBJECT_BYTES = 8 * 1024, /* Of log. */
    ARCHIVE_SIM_WAIT_US = 1500000,       /* So long a write waits for the archive. */
    ARCHIVE_SIM_DUE_BYTES = 4 * 1024,    /* Of log, between two checkpoints. */
    ARCHIVE_SIM_WINDOW_MS = 4000,        /* archive.keep */
    ARCHIVE_SIM_TURN_US = 10000,
    ARCHIVE_SIM_JOB_US_MAX = 20000, /* Of a node's thread for the archive. */
    ARCHIVE_SIM_BYTES_MAX = 16 * 1024 * 1024,
};

/* What is known of a write beside struct copies_write. */
struct archive_write {
    struct bytes record;  /* The session right behind it, from the heap. */
    uint32_t node;        /* Who executed it... */
    size_t end;           /* ... and up to where his log was then. */
    bool lost;            /* It is in that log no more... */
    bool given_up;        /* ... or its log was given up before it was archived, and it... */
    bool based;           /* ... went with a checkpoint. */
    uint64_t archived_us; /* When its node took it for archived; 0: not yet. */
};

struct archive_node {
    struct archiver_port port;
    struct checkpointer_port side_port;
    struct archive_feed_source source;
    struct sim *sim;
    uint32_t place;
    struct copies_node *copies; /* The rest of it. */
    struct sim_memory memory;

    /* In the data directory. */
    struct archive_mark mark;
    struct actor last; /* Of the life before. */
    uint64_t
        given_up; /* The log before it is not there any more, as far as the archive is concerned. */

    /* Of this life. */
    bool runs, same; /* `same`: it is the actor of the life before. */
    uint64_t began_us, turn_us, harmed_us;
    struct archiver archiver;
    struct archive_writer writer;
    struct archive_feed feed;
    struct bytes object;
    uint64_t from, to, said, sequence;
    bool anew, bare, based;
    struct archiver_built built;
    uint64_t needs; /* As in archiver_built. */
    uint64_t lost;  /* What is being archived has not all of the log up to there; 0: it has. */
    uint64_t calls, call, storing_us; /* `call`: the PUT that is waited for; 0: none. */
    struct archive_mark next_mark;    /* That is being kept. */
    uint64_t archived, released, wanted, asked;

    struct archive_tails tails; /* What others stamped... */
    struct archive_feed_taken taken[ARCHIVE_TAILS_TAKEN_MAX];
    uint32_t taken_count;
    uint64_t own_lsn, walked, own_hlc; /* ... as in server/node_archive_private.h... */
    uint64_t gaps, gaps_to;
    uint64_t told_hlc, looked_us; /* ... and when it was looked who is down. */

    struct checkpointer checkpointer;
    struct archive_writer side_writer;
    struct buffer sessions[COPIES_KEYS]; /* What the store's checkpoint has. */
    struct buffer vectors
        [COPIES_KEYS]; /* What their slots had seen; empty: that is not known, or not ours. */
    struct bytes side_object;
    uint64_t side_sequence, side_call, first_bytes;
    uint32_t side_part, next_key;
    bool bases;       /* It is to have all slots of this node, as a base... */
    uint32_t missing; /* ... and is without so many, as nothing is known of them yet. */
    bool side_last;
    size_t side_lsn;
    uint64_t least_hlc, newest_hlc;
};

/* What a restore gave: the session of each key; empty: none. */
struct archive_restored {
    struct buffer records[COPIES_KEYS];
    uint32_t left; /* Changes without what they build on. */
};

struct archive_scenario {
    struct copies_scenario copies; /* The first member: copies_scenario_of() finds it. */
    struct sim_store store;
    struct archive_access access;
    struct archive_node nodes[1 + SIM_NODES_MAX];
    struct archive_write writes[COPIES_WRITES_MAX];
    struct archive_restored restored;
    bool baseless;     /* Changes went although their session was not there any more. */
    uint64_t kept_hlc; /* Restores as of a time before this one need not be possible any more. */
};

static inline struct archive_scenario *archive_scenario_of(struct sim *sim)
{
    return sim->context;
}

/* ---- archive_node.c ---- */

void archive_node_init(struct archive_node *node, struct sim *sim, uint32_t place);
/* Its node has begun, and serves nothing yet; or is about to stop. */
void archive_node_start(struct archive_node *node);
void archive_node_stop(struct archive_node *node);
/* The end of whatever happened at it. */
void archive_node_turn(struct archive_node *node);
/* Nothing is left to be done. */
bool archive_node_is_done(const struct archive_node *node);
void archive_node_name(const struct archive_node *node, enum archive_kind kind, uint64_t sequence,
                       uint32_t part, struct archive_name *name);
/* Store an object of that name: `done` as sim_store_put(). Returns the number of the call. */
uint64_t archive_node_put(struct archive_node *node, const struct archive_name *name,
                          struct bytes object,
                          void (*done)(struct sim *sim, const struct sim_event *event));
uint64_t archive_node_now_ms(const struct archive_node *node);
/* Its thread has something to do: `run`, some time later. */
void archive_node_job(struct archive_node *node, const char *name,
                      void (*run)(struct sim *sim, const struct sim_event *event));

/* ---- archive_others.c ---- */

void archive_others_start(struct archive_node *node);
void archive_others_stop(struct archive_node *node);
/* An object is begun, from `node->from` on, which may become less; its log was walked, to its end if all could be settled;
 * what was found is noted; it is stored, or there was nothing for it. */
void archive_others_build(struct archive_node *node);
void archive_others_walked(struct archive_node *node, uint64_t walked, bool settled);
void archive_others_built(struct archive_node *node);
void archive_others_stored(struct archive_node *node);
/* Take whom there is to take, and tell the others. Returns whether some log is to be walked again. */
bool archive_others_step(struct archive_node *node);
/* Another node says what it has archived. */
void archive_others_heard(struct archive_node *node, struct bytes message);
/* Nothing of others is left that is not archived, as far as this node knows. */
bool archive_others_is_done(const struct archive_node *node);

/* ---- archive_checkpoint.c ---- */

void archive_checkpoint_init(struct archive_node *node, uint64_t sequence);
void archive_checkpoint_fini(struct archive_node *node);
void archive_checkpoint_step(struct archive_node *node);

/* ---- archive_restore.c ---- */

/* The id of the cluster whose archive it is. */
extern const uint8_t archive_cluster[CLUSTER_ID_BYTES];
/* What the store has now, as of a time, in `to`, whose buffers are the caller's. */
void archive_restore(struct sim *sim, uint64_t as_of_hlc, struct archive_restored *to);
/* Put it into an empty shard of another cluster, and see that it is there. */
void archive_restore_into(struct sim *sim, const struct archive_restored *from);
/* Remove what no restore as of `from_ms` or later needs, or some of that. */
void archive_retain(struct sim *sim, uint64_t from_ms);

/* ---- archive_oracle.c ---- */

void archive_oracle_executed(struct copies_node *node, uint32_t write);
/* A node takes its log for archived up to here. */
void archive_oracle_archived(struct archive_node *node, uint64_t lsn);
/* It gave up what it had appended between these places; a checkpoint has what its log had up to there of its slots. */
void archive_oracle_given_up(struct archive_node *node, uint64_t from, uint64_t to);
void archive_oracle_based(struct archive_node *node, uint64_t lsn);
/* It keeps how far the archive has its log. */
void archive_oracle_kept(struct archive_node *node, const struct archive_mark *mark);
/* A node's log ends here when it starts. */
void archive_oracle_cut(struct archive_node *node, size_t end);
/* What a node's figures say of how much would be lost now. */
void archive_oracle_behind(struct archive_node *node);
/* All nodes and disks were lost now: what is restored? */
void archive_oracle_check(struct sim *sim);
/* And all is archived: it is what the nodes have. */
void archive_oracle_check_end(struct sim *sim);

#endif
