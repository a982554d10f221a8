/* Retention: what no restore of a window needs is removed from the archive.
 *
 * Which objects these are is the catalog's to know (archive_catalog.h). Any node may do it, several at a time, and
 * stop in the middle: each removal is right by itself, and what is removed already is as good as removed. What is
 * written meanwhile was not in the listing, and stays; so does what was: parts of a checkpoint that was in the making
 * when they were listed, and is whole by now.
 *
 * Memory: malloc(). Threads: the access'.
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
    bool (*stops)(void *context);                     /* NULL: never. */
    void *context;
    uint64_t objects, bytes; /* Set: that were removed. */
    uint64_t unended;        /* Set: what a PUT began, that went. */
};

/* Do it for a cluster. Returns 0; -ECANCELED: `stops` said so; negative errno with `access->text` set. */
int retention_run(struct archive_access *access, const uint8_t cluster[CLUSTER_ID_BYTES],
                  struct retention_round *round);

#endif
