/* What others stamped, and has come here: is it in the archive? A coordinator archives what it stamped itself
 * (archive_feed.h). Where it is lost with its disk before it did, the other owners of its sessions have that in their
 * logs; so they keep it until they know that the archive has it, and archive it where the coordinator does not.
 *
 * - A walk over this node's log notes where something of another actor lies (archive_feed_note): a *mark* has the LSNs of
 *   the first and last record and the newest hlc among them. Each shard has a few marks of an actor; with one more the last
 *   two become one.
 * - A node says to all others up to which hlc the archive has all that it stamped in this life, and what it knows of
 *   others (archive_tails_put()): marks at or below that go. A life says nothing of those before it, whose last records
 *   it may have lost with its disk, or with the end of its log; others may have these.
 * - An actor is *taken* once something of it is marked and its node is down, or has begun another life, or has said nothing
 *   new for `behind_ms`. What is marked is walked over again then, and what it stamped goes into this node's objects, as
 *   does what still comes of it; marks go as these objects are stored. It is let go as soon as more of it is known to be
 *   archived.
 * - The log is needed from the first mark on (archive_tails_begin()), and a start goes on from there.
 *
 * Every owner does so by itself, so that it takes no agreement on who is the primary: with more than two owners the tail
 * lies in the archive more than once, which the merge does not mind. Where nothing is known of a node, as after a start,
 * too much is archived, never too little.
 *
 * The hlc of this node is the least of its shards: archive_tails_own() says of a shard that all that this node stamped
 * there up to an hlc is in the archive.
 *
 * Numbers of nodes are never given again, and a life is new with each start after a crash, so there come to be more actors
 * than there is room for (ARCHIVE_TAILS_ACTORS_MAX). One that is over, and of which nothing is marked, makes room for
 * another one. Where there is none, what is found of more actors is marked as of *the rest*, nobody's, and is
 * taken at once: what an object has of the rest is all that others stamped, but what of its taken actors is archived.
 *
 * The message, PEER_ARCHIVED: u8 version (2), varint count, and for each: varint node, varint start, u64 hlc,
 * little-endian.
 *
 * Pure. Memory: from the port: ARCHIVE_TAIL_MARKS_MAX marks of 32 bytes for each shard and each actor of which something
 * was marked. Threads: one at a time.
 */
#ifndef ARCHIVE_TAILS_H
#define ARCHIVE_TAILS_H

#include "archive_feed.h"

enum {
    ARCHIVE_TAILS_SHARDS_MAX = 255,
    ARCHIVE_TAILS_ACTORS_MAX = 512, /* Of twice as many nodes as a cluster has. */
    ARCHIVE_TAILS_TAKEN_MAX = ARCHIVE_TAILS_ACTORS_MAX + 1, /* With the rest. */
    ARCHIVE_TAIL_MARKS_MAX = 8,
    ARCHIVE_TAILS_VERSION = 2,
};

struct archive_tails_settings {
    uint32_t shard_count;
    struct actor self;  /* This life of this node. */
    uint64_t behind_ms; /* Who has said nothing new for so long is behind. */
    uint64_t mark_ms;   /* What comes within so long is one mark. */
};

struct archive_tail_mark {
    uint64_t first_lsn, last_lsn; /* Of records. */
    uint64_t newest_hlc;
    uint64_t since_ms; /* When the first one was noted. */
};

/* Of an actor in one shard's log, in its order. */
struct archive_tail {
    uint32_t count;
    struct archive_tail_mark marks[ARCHIVE_TAIL_MARKS_MAX];
};

struct archive_tail_actor {
    struct actor actor; /* {0, 0}: the rest. */
    bool down;          /* Its node is. */
    bool ended;         /* Its node has begun another life. */
    bool taken;
    bool building;              /* It was when the object under way was begun. */
    uint64_t has_hlc;           /* The archive has all that it stamped up to here, as was said. */
    uint64_t moved_ms;          /* When that last grew. */
    struct archive_tail *tails; /* Of each shard; NULL: nothing was marked yet. */
};

struct archive_tails_shard {
    uint64_t noted;    /* Up to here the log was walked. */
    uint64_t again;    /* From here on it is to be walked again; UINT64_MAX: not. */
    uint64_t building; /* The same, of the object under way... */
    uint64_t archived; /* ... and up to where the archive had the log when that was begun. */
    uint64_t own_hlc;
};

struct archive_tails {
    struct memory *memory;
    struct archive_tails_settings settings;
    struct archive_tail_actor actors[ARCHIVE_TAILS_TAKEN_MAX];
    uint32_t actor_count;
    struct archive_tails_shard shards[ARCHIVE_TAILS_SHARDS_MAX];
};

void archive_tails_init(struct archive_tails *tails, struct memory *memory,
                        const struct archive_tails_settings *settings);
void archive_tails_fini(struct archive_tails *tails);

/* ---- The log ---- */

/* A walk over the log of a shard found this; what an earlier walk has noted is passed over. All notes of a walk come
 * before archive_tails_walked() of their shard. Returns 0 or -ENOMEM. */
int archive_tails_note(struct archive_tails *tails, const struct archive_feed_note *note,
                       uint64_t now_ms);

/* The log of a shard was walked up to `lsn`, and all that was found is noted. */
void archive_tails_walked(struct archive_tails *tails, uint32_t shard, uint64_t lsn);

/* An object is begun, with the log of each shard from `from` on, up to which the archive has it. Sets `from` to where the walk
 * has to begin, and `taken` to whose records go, of which there are as many as returned. One that was begun before, and is
 * not stored, is given up. */
uint32_t archive_tails_build(struct archive_tails *tails, uint64_t from[],
                             struct archive_feed_taken taken[ARCHIVE_TAILS_TAKEN_MAX]);

/* It is stored, or there was nothing for it; the walks came up to `to` of each shard. */
void archive_tails_stored(struct archive_tails *tails, const uint64_t to[]);

/* From where on a shard's log is needed, whose archive has it up to `archived`. */
uint64_t archive_tails_begin(const struct archive_tails *tails, uint32_t shard, uint64_t archived);

/* ---- The others ---- */

/* The archive has all that the actor stamped up to this hlc. Returns whether that is news; it is none of this node, of
 * actors of another cluster, and where there is no room for another actor. */
bool archive_tails_has(struct archive_tails *tails, struct actor actor, uint64_t hlc,
                       uint64_t now_ms);

/* Of the actor of this index: is its node down, or no member any more? */
void archive_tails_down(struct archive_tails *tails, uint32_t index, bool down);

/* Take whom there is to take. `away`: the archive is, for this node, and so perhaps for the others: nobody is behind.
 * Returns whether some log is to be walked again now. */
bool archive_tails_step(struct archive_tails *tails, bool away, uint64_t now_ms);

/* How many nodes are taken, and something of them is marked. */
uint32_t archive_tails_taken(const struct archive_tails *tails);

/* The age of the oldest mark; 0: there is none. */
uint64_t archive_tails_behind_ms(const struct archive_tails *tails, uint64_t now_ms);

/* ---- This node ---- */

/* The archive has all that this node stamped in this life in a shard up to this hlc. */
void archive_tails_own(struct archive_tails *tails, uint32_t shard, uint64_t hlc);

/* The same of all shards; 0: not known of all of them. */
uint64_t archive_tails_own_hlc(const struct archive_tails *tails);

/* Append what is known. Returns 0 or -ENOMEM. */
int archive_tails_put(const struct archive_tails *tails, struct buffer *to);

/* Another node said this. Returns 0; -EBADMSG: it is no such message, and nothing was taken from it. */
int archive_tails_take(struct archive_tails *tails, struct bytes message, uint64_t now_ms);

#endif
