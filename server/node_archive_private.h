/* The inside of the node's part in the archive, for node_archive.c (the control thread's side) and node_archive_*.c. */
#ifndef NODE_ARCHIVE_PRIVATE_H
#define NODE_ARCHIVE_PRIVATE_H

#include <pthread.h>

#include "archive_feed.h"
#include "archive_tails.h"
#include "archiver.h"
#include "checkpointer.h"
#include "log_follow.h"
#include "node_private.h"
#include "object_store.h"

enum archive_job { ARCHIVE_JOB_NONE, ARCHIVE_JOB_BUILD, ARCHIVE_JOB_KEEP, ARCHIVE_JOB_END };

enum archive_side_job {
    ARCHIVE_SIDE_NONE,
    ARCHIVE_SIDE_BASE,
    ARCHIVE_SIDE_SEAL,
    ARCHIVE_SIDE_FILL
};

/* Checkpoints for the archive (node_archive_checkpoint.c): beside the log, which comes first. */
struct archive_side {
    struct checkpointer_port port;
    struct checkpointer checkpointer;
    enum archive_side_job job; /* Under the lock... */
    bool done;                 /* ... as is this; what is below is the thread's meanwhile. */
    bool storing;
    int begin_rc;
    uint64_t first_bytes; /* Of log that was archived at the start. */
    uint64_t again_ms;    /* Another one is due then, as something was missing; 0: not. */
    uint64_t sequence, made_ms;
    uint32_t part;
    bool last;
    int rc;
    bool more;
    struct bytes object;
    char object_hash[OBJECT_HASH_BYTES];
    struct archive_writer writer;
    struct buffer vectors;    /* As plane_basis() has them, of all shards. */
    bool bases;               /* It is to have all slots of this node, as a base. */
    bool slots[SLOT_COUNT];   /* Those. */
    uint32_t missing;         /* Of the node, that had none... */
    uint32_t waited;          /* ... and so often it was waited for those. */
    bool damaged[SLOT_COUNT]; /* Something of these is, so that nothing is said of them... */
    uint32_t lacking;         /* ... of so many that it should have. */
    uint64_t lsn[ARCHIVER_SHARDS_MAX], epochs[ARCHIVER_SHARDS_MAX];
    uint32_t shard;                 /* The next session is of this one... */
    struct checkpoint_key next;     /* ... at this key, or behind. */
    uint64_t least_hlc, newest_hlc; /* Of all parts; 0: none has any. */
};

/* What others stamped (node_archive_tails.c). */
struct archive_others {
    struct archive_tails tails;
    uint64_t records;  /* That were taken, and are stored. */
    uint64_t told_hlc; /* Of what the other nodes were told... */
    uint64_t looked_ms;
    struct buffer message;
    /* Of the job: asked... */
    struct archive_feed_taken taken[ARCHIVE_TAILS_TAKEN_MAX];
    uint32_t taken_count;
    uint64_t own_lsn[ARCHIVER_SHARDS_MAX]; /* Before it this node's records are archived. */
    bool asks;                             /* Shards are asked up to where they have stamped. */
    /* ... and made. */
    uint64_t walked[ARCHIVER_SHARDS_MAX];
    uint64_t own_hlc[ARCHIVER_SHARDS_MAX]; /* Once it is stored the archive has all up to there. */
};

struct node_archive {
    struct node *node;
    struct object_store *store;
    struct archiver_port port;
    struct archiver archiver;
    bool began; /* archiver is made, and the handles. */
    bool closing;
    uint32_t handles;
    uv_async_t wake;
    uv_timer_t timer;
    uint64_t sequence;   /* Of the next log object; once it has begun the archiver's. */
    bool storing;        /* A call of the store is under way... */
    uint64_t storing_us; /* ... since then. */
    int begin_rc;        /* It could not be begun. */
    bool probing;        /* It is asked whether it is there... */
    int probe_rc;        /* ... and that could not be begun. */
    /* Of the question at the start. */
    int asked_rc;
    bool asked, asked_more;
    char asked_text[OBJECT_TEXT_BYTES];

    pthread_t thread;
    bool runs;
    pthread_mutex_t lock; /* Of job and done. */
    pthread_cond_t changed;
    enum archive_job
        job; /* What the thread is to do, or does; what is below is its own meanwhile. */
    bool done;

    /* Of a job: asked... */
    uint64_t job_sequence, made_ms;
    bool anew, bare;
    atomic_bool stopped; /* The plane is: shards are asked on this thread. */
    uint64_t from[ARCHIVER_SHARDS_MAX], to[ARCHIVER_SHARDS_MAX];
    uint64_t lost
        [ARCHIVER_SHARDS_MAX]; /* `to`, where not all of the log before it could be read; else 0. */
    uint64_t flush[ARCHIVER_SHARDS_MAX]; /* Up to here it is to go at once. */
    uint64_t said[ARCHIVER_SHARDS_MAX];  /* Up to where the objects say that they have it. */
    uint64_t gaps[ARCHIVER_SHARDS_MAX];  /* What is missing or damaged before it was counted. */
    /* ... and made. */
    struct archiver_built built;
    uint64_t needs[ARCHIVER_SHARDS_MAX];   /* As in archiver_built. */
    uint64_t gaps_to[ARCHIVER_SHARDS_MAX]; /* `gaps`, once it is stored. */
    struct bytes object;
    char object_hash[OBJECT_HASH_BYTES];
    int kept_rc;
    bool job_based[ARCHIVER_SHARDS_MAX]; /* To be kept. */
    uint64_t job_checkpoints;

    struct archive_side side;
    struct archive_others others;

    struct archive_keys keys; /* None: not enciphered. */
    struct archive_writer writer;
    struct archive_feed feed;
    struct plane_records records;
    bool told_damage;                /* Of a session that does not read back: once. */
    struct buffer found;             /* Records that a shard, or its checkpoint, was asked for. */
    bool based[ARCHIVER_SHARDS_MAX]; /* The mark's. */
    bool own_lost; /* Something that this life stamped may have gone into no log object. */
};

/* ---- node_archive_checkpoint.c ---- */

void archive_side_init(struct node_archive *archive, uint64_t sequence);
void archive_side_fini(struct node_archive *archive);

/* Is all in the archive that log objects pass over: what was there before the archive was, and what was given up of the log?
 * It comes with a checkpoint. */
bool archive_is_based(const struct node_archive *archive);

/* After the archiver's step. Returns in how many milliseconds to come again. */
uint64_t archive_side_step(struct node_archive *archive);

/* What its thread, or a call that could not be begun, came to. */
void archive_side_take(struct node_archive *archive);

/* A job of it, on the thread. */
void archive_side_work(struct node_archive *archive);

/* ---- node_archive_tails.c: on the control thread ---- */

void archive_others_init(struct node_archive *archive);
void archive_others_fini(struct node_archive *archive);

/* An object is begun, from `archive->from` on, which may become less. */
void archive_others_build(struct node_archive *archive);
/* It is made: what was found is noted. Returns 0 or negative errno. */
int archive_others_built(struct node_archive *archive);
/* It is stored, or there was nothing for it. */
void archive_others_stored(struct node_archive *archive);
/* Take whom there is to take, and tell the others. Returns whether some log is to be walked again. */
bool archive_others_step(struct node_archive *archive);

/* ---- All of them ---- */

/* Name of an object of this node, and when it is made. */
struct archive_name archive_name_of(const struct node_archive *archive, enum archive_kind kind,
                                    uint64_t sequence, uint32_t part);

/* Tell the archiver what is known of the log. */
void archive_reach(struct node_archive *archive);

/* Up to where the objects say that they have a shard's log, once the one that is made is stored. */
uint64_t archive_said(const struct node_archive *archive, uint32_t shard);

/* The thread; the context is the node_archive. */
void *node_archive_main(void *context);

#endif
