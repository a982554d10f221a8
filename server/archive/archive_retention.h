/* Retention: what no restore of a window needs is removed from the archive.
 *
 * Which objects these are is the catalog's to know (archive_catalog.h). They go for what checkpoints have in their place,
 * which nobody may have read since it was written: so, before anything goes, each of these checkpoints that has a slot of
 * which something is to go is read, every byte of it. One that is damaged counts as none: the log, and older checkpoints,
 * stay, and it does, too, until one that is sound has what it has. A checkpoint is relied on anew where a newer one of its
 * slots comes to be as old as the window, so that in the end each is read about once, by the node whose round comes first.
 *
 * Any node may do it, several at a time, and
 * stop in the middle: each removal is right by itself, and what is removed already is as good as removed. What is
 * written meanwhile was not in the listing, and stays; so does what was: parts of a checkpoint that was in the making
 * when they were listed, and is whole by now.
 *
 * Memory: malloc(): 64 bytes for each object that goes, and what archive_check.h takes. Threads: the access'.
 */
#ifndef ARCHIVE_RETENTION_H
#define ARCHIVE_RETENTION_H

#include "archive_access.h"

struct retention_round {
    uint64_t from_ms; /* Restores as of this time, or later, are to be as they were. */
    uint64_t
        tidy_ms; /* What a PUT began before then and nobody ended goes, too; 0: it is not looked for. */
    bool dry;                                         /* Tell, and remove nothing. */
    void (*removed)(void *context, const char *name); /* NULL: nobody is told. */
    /* As reading_open()'s (archive_reading.h), of checkpoints. NULL: nobody is told. */
    void (*damaged)(void *context, const char *name, const char *why, uint16_t first_slot,
                    uint16_t last_slot);
    void (*read)(void *context, uint64_t bytes); /* As archive_check.h's. */
    bool (*stops)(void *context);                /* NULL: never. */
    void *context;
    uint64_t objects, bytes; /* Set: that were removed. */
    uint64_t unended;        /* Set: what a PUT began, that went. */
    uint64_t checked;        /* Set: checkpoints that were read. */
};

/* Do it for a cluster. Returns 0; -ECANCELED: `stops` said so; negative errno with `access->text` set. */
int retention_run(struct archive_access *access, const uint8_t cluster[CLUSTER_ID_BYTES],
                  struct retention_round *round);

#endif
