/* Reading an archive back, range of slots by range of slots: what the catalog's plan says is needed, into a state.
 *
 * What cannot be read is told, and the rest is read. A checkpoint of which a part is damaged says nothing any more of
 * what has ended, and what it covered is looked for in the logs and in older checkpoints; so the plan is then made
 * anew without it, and what is left of it is read beside the rest.
 *
 * Blocks are read ahead (archive_access.h), and objects opened but once for all ranges.
 *
 * Memory: malloc(), some 40 bytes for each block of a needed object and 600 for the object. Threads: the access'.
 */
#ifndef ARCHIVE_READING_H
#define ARCHIVE_READING_H

#include "archive_access.h"
#include "archive_state.h"

/* An object with records. Private, as the rest. */
struct reading_object {
    struct archive_name name;
    uint32_t
        checkpoint; /* Its index in the catalog; STATE_LOG: of a log, or of one that is damaged. */
    struct archive_reader blocks;
};

struct archive_reading {
    struct archive_access *access;
    struct archive_catalog *catalog;
    uint64_t as_of_hlc;
    void (*damaged)(void *context, const char *name, const char *why, uint16_t first_slot,
                    uint16_t last_slot);
    void *context;
    struct reading_object *objects;
    size_t object_count, object_capacity;
    bool *broken; /* Of each checkpoint: it is damaged, and was told. */
    struct seen
        seen; /* Of the plan: what its checkpoints have seen, and of each log its actor's stamps. */
    bool seen_made, gaps; /* A part of an actor's log is missing. */
    struct buffer stored, raw;
    struct buffer lines;          /* What was told. */
    uint64_t total_bytes;         /* Read: raw bytes that are to be read, in all. */
    uint64_t spread_bytes;        /* Raw bytes of as many slots as a block has. */
    uint64_t told;                /* Read: how much was told to be damaged. */
    uint64_t weights[SLOT_COUNT]; /* Raw bytes of each slot, about. */
};

/* Begin to read a loaded catalog as of a time. `damaged` is told of each object, or part of one, that cannot be read:
 * which slots are in it (all, where that is not known). Both must stay. Returns 0; negative errno with `access->text`
 * set, and nothing to close. */
int reading_open(struct archive_reading *reading, struct archive_access *access,
                 struct archive_catalog *catalog, uint64_t as_of_hlc,
                 void (*damaged)(void *context, const char *name, const char *why,
                                 uint16_t first_slot, uint16_t last_slot),
                 void *context);
void reading_close(struct archive_reading *reading);

/* How many raw bytes a range should have, between these two. A block is read for each range that it has slots of: with less
 * than what as many slots have as a block has, all is read several times. */
uint64_t reading_range_bytes(const struct archive_reading *reading, uint64_t least, uint64_t most);

/* The last slot of a range that begins with `first` and has about so many raw bytes, or one slot. */
uint16_t reading_range(const struct archive_reading *reading, uint16_t first, uint64_t bytes_max);

/* Read all of a range into a state, which is cleared first, and finish it. Returns 0; -EFBIG: it is more than that may have; negative
 * errno, as above. */
int reading_take(struct archive_reading *reading, uint16_t first, uint16_t last,
                 struct archive_state *state);

/* Which objects have anything of a session: `found` is told the name of each, in order. For messages: it reads them again. Returns 0,
 * with those left out that are damaged; as the port; -ENOMEM. */
int reading_find(struct archive_reading *reading, struct bytes key,
                 void (*found)(void *context, const char *name), void *context);

/* What a slot of which all was taken has seen (seen.h): appended, nothing where something is damaged or missing, so that it
 * is not known. Returns 0 or -ENOMEM. */
int reading_seen(const struct archive_reading *reading, uint16_t slot, struct buffer *to);

#endif
