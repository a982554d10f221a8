/* The catalog: which objects an archive has of a cluster, which of them a restore as of a time needs, and which nothing
 * needs any more.
 *
 * An object covers, of each slot, times of actors: a log object has records whose newest stamps are of an actor from
 * one hlc to another, mostly of the one that made it, and of others whose records it took (archive_tails.h); a checkpoint
 * says with its vectors (seen.h) up to which hlc of each actor all of a slot is in it, or has ended. A checkpoint that has records newer than the time of a restore is of no use for it, as what it has
 * instead of older ones is nowhere else in it; so its *newest* time counts, which is that of its records and of its
 * vectors (a session that ended and was forgotten is in no record of it).
 *
 *   A restore as of T needs, of the whole checkpoints with newest at or below T, from the newest one down, each that
 *   covers something which those before it do not; and each log object with a record at or below T that none of these
 *   covers. Of every record that it reads, those count whose newest stamp is at or below T. (A whole record of the log
 *   may tell of an older write in passing, so T is as exact as the archive's flushes are frequent.)
 *   A session that a checkpoint's slot would have to have, by the births that its vector covers, and has not, has ended
 *   (archive_state.h): older objects have it still, and the record of its end may be gone.
 *
 *   What a restore as of W, or of any later time, does not need may go: with a later T there are more checkpoints to
 *   begin with, so that none of W's is needed which W does not need, and no log object either that W's cover. Logs go
 *   from an actor's first one on without a gap, so that a number that is missing between two that are there is a loss; and
 *   one in front of a loss stays until a checkpoint has closed it (struct catalog_gap), or all of its actor go.
 *   Of a checkpoint `done` goes first: without it no part counts. What is left of one that never became whole goes
 *   once the same actor has a later one, or its node a later life; where it has a `done` for all that, no sooner than one that
 *   is whole, and than others that are whole say all that it says. One whose `done` cannot be read goes once its node has
 *   a later one that is whole, and old enough. A listing takes its time, so that one may have become whole behind it: whoever removes a part of one without
 *   `done` looks first whether it is there now (archive_retention.h).
 *
 * No I/O: names come from a listing, and ends of objects (their index) through a port.
 *
 * Memory: from the port; about 64 bytes for each object, and 1 to 2 MiB of vectors while it plans. Threads: the
 * caller's.
 */
#ifndef ARCHIVE_CATALOG_H
#define ARCHIVE_CATALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "archive_object.h"
#include "seen.h"

/* A log object. */
struct catalog_log {
    struct actor actor;
    uint64_t sequence, size;
    /* Of the last plan. */
    uint64_t least_hlc, newest_hlc; /* Of its records... */
    uint64_t own_hlc;               /* ... and the newest of its actor's. */
    int rc;                         /* Of opening it: 0; as catalog_port. */
    bool bare;                      /* It has no records: something is missing behind it. */
    bool covered;                   /* Checkpoints have all of it. */
    bool needed;
};

/* A checkpoint, or what is left of one. */
struct catalog_checkpoint {
    struct actor actor;
    uint64_t sequence;
    uint64_t size;       /* Of all its objects. */
    uint64_t done_size;  /* Of `done`; 0: it is not there. */
    uint32_t part_count; /* Parts that are there... */
    uint32_t parts_end;  /* ... and one more than the last one's number. */
    /* Once it was loaded. */
    uint32_t parts; /* That it has by `done`. */
    bool whole;     /* All of it is there. */
    int rc;         /* Of opening `done`: 0; as catalog_port. */
    uint64_t made_ms;
    uint64_t newest_hlc; /* As above. */
    bool needed;         /* By the last plan. */
};

struct archive_catalog {
    struct memory *memory;
    uint8_t cluster[CLUSTER_ID_BYTES]; /* Of the first name. */
    struct catalog_log *logs;          /* In the order of actors and sequences. */
    size_t log_count, log_capacity;
    struct catalog_checkpoint *checkpoints; /* The same. */
    size_t checkpoint_count, checkpoint_capacity;
};

/* Opens an object's end. Returns 0 with `reader` set, good until the next call; -EBADMSG, -EPROTONOSUPPORT, -ENOENT:
 * it cannot be read, and is passed over; any other error ends what was asked of the catalog with it. */
struct catalog_port {
    int (*open)(struct catalog_port *port, const struct archive_name *name, uint64_t size,
                struct archive_reader **reader);
};

void catalog_init(struct archive_catalog *catalog, struct memory *memory);
void catalog_fini(struct archive_catalog *catalog);

/* An object of the listing, in ascending order of names as listings are. Returns 0; -EINVAL: not in order, or of
 * another cluster; -ENOMEM. */
int catalog_add(struct archive_catalog *catalog, const struct archive_name *name, uint64_t size);

/* Open each `done`: which checkpoints are whole, and how new. Returns 0; -ENOMEM; the port's error. */
int catalog_load(struct archive_catalog *catalog, struct catalog_port *port);

/* Plan a restore as of `as_of_hlc` (UINT64_MAX: all there is), after catalog_load(): `needed` of each object is set,
 * and `cover` (initialised, of SLOT_COUNT slots, none known) becomes what the needed checkpoints have seen. An object
 * that cannot be opened is needed, too, with its `rc`. Returns as above. */
int catalog_plan(struct archive_catalog *catalog, struct catalog_port *port, uint64_t as_of_hlc,
                 struct seen *cover);

/* Tell of each object that no restore as of `from_hlc` or later needs, in the order in which they are to be removed,
 * until `remove` returns another value than 0, which is returned. Else 0, or as above, perhaps with some told. Of all
 * slots of which something goes `relied`, of SLOT_COUNT, becomes true: it may go for what those checkpoints have of them that
 * are `needed` now, which nobody has read yet. With one that turns out to be damaged, `whole` is to be set to false, and
 * this is called again. Of an actor's logs those up to the first that stays are opened; ones that cannot be go when later ones of their actor do.
 * `remove` may ask the store, but not through the port. */
int catalog_retain(struct archive_catalog *catalog, struct catalog_port *port, uint64_t from_hlc,
                   bool relied[],
                   int (*remove)(void *context, const struct archive_name *name, uint64_t size),
                   void *context);

/* A part of an actor's log that is missing: of sequences `first` to `last`. */
struct catalog_gap {
    struct actor actor;
    uint64_t first, last;
    uint64_t
        closed_hlc; /* A restore as of this time or later has what is missing, from a checkpoint; 0: none has. */
};

/* Has the actor of this checkpoint gone on to a later one, or its node to a later life? So if it has no end yet, none comes. */
bool catalog_left_behind(const struct archive_catalog *catalog, size_t index);

/* The next gap for a restore as of `as_of_hlc` (UINT64_MAX: all there is), before the log of index `*at` (0 at first, moved
 * on) or a later one, after catalog_plan(). Returns whether there is one. Of gaps that a checkpoint has closed the restore
 * misses those that are closed after that time.
 *
 * What is missing before an actor's first log object was let go, and is no gap, where there are whole checkpoints as of
 * then or before, and one of its node where that has any. What is missing behind stamps that are newer is none either:
 * what the actor stamped in it is newer still.
 *
 * Where the node knew of it, an object without records (archiver.h) is in front of it, whose newest time is that of the
 * newest stamp that may be missing. Else what the actor stamped in it is older than what it stamped in the objects behind it. A
 * checkpoint of this actor that began after that has all of it, and one has where the one before it is as new already. */
bool catalog_next_gap(const struct archive_catalog *catalog, uint64_t as_of_hlc, size_t *at,
                      struct catalog_gap *gap);

/* Names of what the catalog has; of a part. */
struct archive_name catalog_log_name(const struct archive_catalog *catalog,
                                     const struct catalog_log *log);
struct archive_name catalog_done_name(const struct archive_catalog *catalog,
                                      const struct catalog_checkpoint *checkpoint);
struct archive_name catalog_part_name(const struct archive_catalog *catalog,
                                      const struct catalog_checkpoint *checkpoint, uint32_t part);

#endif
