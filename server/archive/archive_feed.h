/* What of a node's log goes to the archive, and in which form.
 *
 * Records whose newest stamp is of a life of this node go, others do not: whoever stamped them archives them. Where they
 * lie is noted, and where a node does not, its records are *taken* and go as well (archive_tails.h). Beside them
 * go those that came from another cluster's archive (adopt.h), which nobody here stamped. Uses of
 * sessions (LOG_TOUCH), what left this node for others (LOG_DROP), and journals of renames do not go. A batch goes as its
 * items.
 *
 * A delta goes as it is only where what it builds on is in objects of this life of the node, all of it: where the session
 * went whole since the start, and nothing of it came from another node since. Else the session goes whole, as it is
 * now; and where it is not there any more, the delta does after all, as the best there is. A delta that is taken goes
 * whole in any case. What is behind a part of the log that is missing builds on nothing before it.
 *
 * Use, for an object: archive_feed_begin(), then of each shard archive_feed_shard(), archive_feed_record() for its records,
 * and archive_feed_settle().
 *
 * Memory: from the port: the positions of sessions that went whole, 8 to 22 bytes each and at most
 * ARCHIVE_FEED_BASES_MAX of them, the deltas that wait to be settled, and 40 bytes for each shard and other actor of an
 * object. Threads: one at a time.
 */
#ifndef ARCHIVE_FEED_H
#define ARCHIVE_FEED_H

#include "archive_object.h"
#include "position_set.h"

enum { ARCHIVE_FEED_BASES_MAX = 1 << 20 }; /* Then all is forgotten, and sessions go whole again. */

/* What is asked of a shard, and of its checkpoint. */
enum archive_feed_found {
    ARCHIVE_FEED_NONE,    /* There is no such session, and no tombstone of it. */
    ARCHIVE_FEED_WHOLE,   /* `record` is it. */
    ARCHIVE_FEED_UNKNOWN, /* That cannot be told now. */
};

struct archive_feed_ask {
    uint64_t position;
    struct bytes key;
    /* The answer; the record is valid until the next question. */
    enum archive_feed_found found;
    struct bytes record;
};

enum { ARCHIVE_FEED_ASKS_MAX = 64 };

struct archive_feed_source {
    /* Answer them. Returns 0, or negative errno: nothing can be told. */
    int (*ask)(struct archive_feed_source *source, struct archive_feed_ask asks[], uint32_t count);
};

/* Where the log of a shard has something that an actor of another node stamped. */
struct archive_feed_note {
    uint32_t shard;
    struct actor actor;
    uint64_t first_lsn, last_lsn; /* The first such record, and the last. */
    uint64_t newest_hlc;          /* Of their newest stamps. */
};

/* What an actor stamped above this hlc is taken. {0, 0}: all that others stamped, but of actors that are given beside it
 * what these stamped up to their hlc. */
struct archive_feed_taken {
    struct actor actor;
    uint64_t hlc;
};

struct archive_feed {
    struct memory *memory;
    struct archive_writer *writer;
    struct actor self;                      /* This life of this node. */
    const struct archive_feed_taken *taken; /* Set by archive_feed_begin(). */
    uint32_t taken_count;
    uint64_t taken_records; /* Of the object. */
    struct buffer notes;    /* Of the object: struct archive_feed_note, packed... */
    size_t notes_at;        /* ... and where those of this shard begin. */
    uint32_t shard;
    uint64_t own_lsn;
    uint64_t own_hlc;           /* The newest stamp of this life in the shard's records... */
    uint64_t record_hlc;        /* ... and in the one that is looked at. */
    struct position_set bases;  /* They went whole... */
    struct position_set others; /* ... and of these something came from elsewhere since. */
    struct buffer held;         /* Deltas that may not go as they are: struct held, packed... */
    struct buffer bodies;       /* ... and their bodies. */
    uint64_t baseless;          /* Deltas of the object that went for want of the session. */
};

void archive_feed_init(struct archive_feed *feed, struct memory *memory,
                       struct archive_writer *writer, struct actor self);
void archive_feed_fini(struct archive_feed *feed);

/* The writer has begun an object. `anew`: what went since the last one that is stored is not there. `taken` stays the
 * caller's, and must stay for as long as the object is made. */
void archive_feed_begin(struct archive_feed *feed, bool anew,
                        const struct archive_feed_taken taken[], uint32_t taken_count);

/* What comes now is of this shard. Its own records before `own_lsn` are in the archive. */
void archive_feed_shard(struct archive_feed *feed, uint32_t shard, uint64_t own_lsn);

/* Something of the log is missing here, or damaged. */
void archive_feed_lost(struct archive_feed *feed);

/* A record of the log, at `lsn`. Returns 0; -EFBIG: the object has no room for it; -EBADMSG: it is damaged, and left out;
 * -ENOMEM. */
int archive_feed_record(struct archive_feed *feed, uint64_t lsn, uint8_t kind, uint64_t position,
                        struct bytes body);

/* All records of a shard were given. Sets `lsn` to the first one that is not in the object and has to come again, or leaves
 * it. Returns 0, -EFBIG (then `lsn` is set), -ENOMEM, or what `ask` returned. */
int archive_feed_settle(struct archive_feed *feed, struct archive_feed_source *source,
                        uint64_t *lsn);

#endif
