/* Sessions as they were at a time, put together of an archive's records in any order (session.h: one merge).
 *
 * Of each session: the join of all whole records whose newest stamp is at or below that time, and the deltas; one
 * whose base is not here yet is held until it is. In the end what a checkpoint says has ended ends: a birth that its
 * vector of the slot covers, of which the session's record in that checkpoint (there may be none) knows nothing, is
 * dead (seen.h). So older objects may be read beside a checkpoint in which the session is not even a tombstone any
 * more.
 *
 * Records of a log that a checkpoint has all of need not be added, and are passed over where its vector was added before.
 *
 * A restore goes through the slots in ranges: all records of a range are added, then it is finished and visited, then
 * cleared. Memory is as large as what a range has. Of one for which that is too much (archive_state_limit()), even of a single slot,
 * the sessions may be taken in parts by their keys' hashes, each of which reads all of it: a part that is still too large is halved.
 *
 * Memory: from the port; what a range took is kept for the next one. Threads: the caller's.
 */
#ifndef ARCHIVE_STATE_H
#define ARCHIVE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "archive_arena.h"
#include "archive_object.h"

#define STATE_LOG UINT32_MAX /* In the place of a checkpoint's index. */

/* A birth that a checkpoint knows. */
struct state_birth {
    uint32_t checkpoint;
    struct stamp stamp;
};

/* One of so many parts, by the rest of hashes: at first all is one. */
struct state_part {
    uint32_t part, parts;
};

enum { STATE_PARTS_MAX = 1 << 16 };

/* Private to archive_state*.c, as the rest. */
struct state_entry {
    uint64_t position; /* keeper_position() with seed 0: slot, then hash. */
    uint8_t *record;   /* Joined so far; NULL: nothing but deltas. */
    uint32_t record_size, key_size;
    uint8_t *key;        /* Of an entry without a record. */
    struct buffer held;  /* Deltas, each after its size (4 bytes). */
    struct buffer known; /* struct state_birth, but for the first one. */
    struct state_birth first;
    bool is_known; /* There is a first one. */
    uint32_t room; /* Bytes of `record`, or of `key`. */
};

struct state_cover {
    uint32_t checkpoint,
        next; /* `next`: one more than the index of the slot's next one; 0: none. */
    size_t vector_at, vector_size;
};

struct archive_state {
    struct memory *memory;
    uint64_t as_of_hlc;
    bool (*wants)(void *context, struct bytes key); /* NULL: all. */
    void *context;
    struct state_part part;
    uint64_t bytes, bytes_max; /* Taken since it was cleared; 0: no limit. */
    struct state_entry *entries;
    size_t entry_count, entry_capacity;
    uint32_t *table; /* One more than an entry's index; 0: free. */
    size_t table_size;
    uint32_t *order; /* As many as entries: their indices in order of slots, once it is finished. */
    struct archive_arena arena; /* Records and keys. */
    struct state_cover *covers;
    size_t cover_count, cover_capacity;
    struct buffer vectors, work;
    uint64_t left;              /* Read: deltas without their base, after archive_state_finish(). */
    uint32_t heads[SLOT_COUNT]; /* Of each slot's covers: as `next`. */
};

/* `wants` tells which keys count (NULL: all). It is about 64 KiB. */
void archive_state_init(struct archive_state *state, struct memory *memory, uint64_t as_of_hlc,
                        bool (*wants)(void *context, struct bytes key), void *context);
void archive_state_fini(struct archive_state *state);

/* Forget what was added. */
void archive_state_clear(struct archive_state *state);

/* Take no more than about so many bytes of records in (0: as many as there are). */
void archive_state_limit(struct archive_state *state, uint64_t bytes_max);

/* Take only these sessions in from here on. Nothing is added yet, or it is cleared next. */
void archive_state_set_part(struct archive_state *state, struct state_part part);

/* The first half of it. Returns false where it is one of STATE_PARTS_MAX. */
bool state_part_halve(struct state_part *part);

/* The part behind it, in the order that halving gives. Returns false at the end. */
bool state_part_next(struct state_part *part);

/* Take a record in: of a log object, or of a checkpoint, which has a number of the caller's below STATE_LOG. A batch of
 * which any part is too new is too new. Returns 0, also where it does not count; -EBADMSG: it is damaged, and was not
 * taken in; -ENOMEM; -EFBIG: it is more than the limit. */
int archive_state_add(struct archive_state *state, const struct archive_record *record,
                      uint32_t checkpoint);

/* All that this checkpoint has of the slot was added, none of it damaged, and this is its vector. Returns 0 or -ENOMEM. */
int archive_state_cover(struct archive_state *state, uint32_t checkpoint, uint16_t slot,
                        struct bytes vector);

/* All was added. Returns 0; -ENOMEM or -EFBIG, as above. */
int archive_state_finish(struct archive_state *state);

/* One session: `record` is whole, perhaps a tombstone; empty where there are only deltas without a base. `left`: how
 * many such there are. In order of slots; it is finished. Stops where `visit` returns another value than 0, and returns that. */
int archive_state_visit(const struct archive_state *state,
                        int (*visit)(void *context, struct bytes key, struct bytes record,
                                     uint32_t left),
                        void *context);

#endif
