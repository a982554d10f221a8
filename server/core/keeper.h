/* The keeper: all sessions of one shard in memory, found by position.
 *
 * A key's position is one 64-bit number: its slot in the top SLOT_BITS, then the top bits of the key's
 * seeded hash. Everything is in this order: the index's directory (extendible hashing on the top bits,
 * so that growth never stops the world), scans, checkpoints, one slot's range at a hand-off.
 *
 *   directory -> segment of 32 or 48 buckets -> bucket of 64 bytes: 12 tags, 12 references -> cell
 *
 * Records lie in slabs: pages of 64 KiB, each of one size class. Replacing a record by one of the same
 * class is in place. Pages that became sparse are evacuated (their live records move to fuller pages)
 * so that memory goes back after many sessions died; the index is the only owner of a reference, so
 * that moving is one look-up and one store.
 *
 * Over its own bytes a session costs 6 to 8 in the index and 5 on average in its cell (up to 1 KiB; then
 * 3 %). No call does more than split one segment or table (60 us), but for the first touch of a new area
 * of 2 MiB, which the system clears (about 100 us). (tests/bench/bench_keeper.c)
 *
 * Memory: from the port; keeper_stats() says how much, for whoever keeps a limit. Records are copied in;
 * pointers that keeper_find() gives are good until the next call that changes the keeper. Threads: one.
 */
#ifndef KEEPER_H
#define KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "memory.h"
#include "slot.h"

struct keeper; /* private to keeper.c */

struct keeper_stats {
    uint64_t records;      /* Live sessions and tombstones. */
    uint64_t record_bytes; /* Of the records themselves. */
    uint64_t memory_bytes; /* All that the keeper holds: pages, index, tables... */
    uint64_t used_bytes;   /* ... but for what evacuation can give back. */
    uint64_t moved;        /* Records moved by evacuation so far. */
};

/* Position of a key. The seed belongs to the data directory (one per cluster), so that positions, and
 * with them cursors and checkpoints, stay over restarts; and nobody can aim keys at one bucket. */
uint64_t keeper_position(uint64_t seed, struct bytes key);

/* A second hash of the key, of another seed: with the position it stands for the key where 128 bits may. */
uint64_t keeper_fingerprint(uint64_t seed, struct bytes key);

/* `key_of` finds the key in a stored record (session_key()); it is never given bytes that were not put
 * in by keeper_set(). Returns 0 or -ENOMEM. */
int keeper_create(struct memory *memory, uint64_t seed, struct bytes (*key_of)(struct bytes record),
                  struct keeper **keeper);
void keeper_destroy(struct keeper *keeper);

/* Bring the bucket, then the record, into the cache; call for a batch of requests, then execute. */
void keeper_prefetch_bucket(const struct keeper *keeper, uint64_t position);
void keeper_prefetch_record(const struct keeper *keeper, uint64_t position);

/* The record of a key, or empty. */
struct bytes keeper_find(const struct keeper *keeper, uint64_t position, struct bytes key);

/* The same, for changing bytes in place (session_touch_in_place()); NULL where there is none. */
uint8_t *keeper_find_mutable(struct keeper *keeper, uint64_t position, struct bytes key,
                             size_t *size);

/* Make room, so that the next call that changes the keeper, if it is keeper_set() of this key with a
 * record of at most `record_bytes`, cannot fail: the shard logs a write between the two.
 * Returns 0, -ENOMEM, -ENOSPC as keeper_set(): no record changed. */
int keeper_reserve(struct keeper *keeper, uint64_t position, struct bytes key, size_t record_bytes);

/* Store a record under its own key (`key_of`), in place of the one there; `position` is that key's.
 * `record` must not lie in the keeper. Returns 0; -ENOMEM (also where the 2^21 pages of 64 KiB that a
 * keeper can number are used up); -ENOSPC where too many keys share one position (48 always fit).
 * On failure no record has changed. */
int keeper_set(struct keeper *keeper, uint64_t position, struct bytes record);

/* ---- Several records at once ----
 *
 * Each is staged; then all of them are committed, or all abandoned, before anything else is done with the keeper. What was
 * there before a key's first is found until its commit; where nothing was, the new one is. */

/* Returns 0 with `ref`; -ENOMEM or -ENOSPC, as keeper_set(), with no record changed. */
int keeper_stage(struct keeper *keeper, uint64_t position, struct bytes record, uint32_t *ref);
/* Cannot fail. */
void keeper_commit(struct keeper *keeper, uint64_t position, struct bytes key, uint32_t ref);
void keeper_abandon(struct keeper *keeper, uint64_t position, struct bytes key, uint32_t ref);

/* Remove. Returns whether it was there. */
bool keeper_remove(struct keeper *keeper, uint64_t position, struct bytes key);

/* Visit the records of one position, nearly always at most one, until `visit` returns false; it must not
 * change the keeper. A look-up, where keeper_scan() sorts a whole segment. */
void keeper_visit(struct keeper *keeper, uint64_t position,
                  bool (*visit)(void *context, uint64_t position, struct bytes record),
                  void *context);

/* Visit records in order of position from `cursor` on, until `visit` returns false or the end.
 *
 * `visit` must not change the keeper. Returns where to go on (a position after the last visited
 * record's; all records of one position are visited together), 0 at the end. A record that is
 * there from the first call to the last is visited, whatever else changes between the calls, and `visit` must not scan.
 * Calls for a few records each are dear: every call reads and sorts up to 576, but for one near where one of
 * the last few began or ended, with no change in between (keeper_set() of a record that fits where it was is none). */
uint64_t keeper_scan(struct keeper *keeper, uint64_t cursor,
                     bool (*visit)(void *context, uint64_t position, struct bytes record),
                     void *context);

/* The clock (second chance): records in use are marked, a hand goes round and clears the marks, and those it
 * finds clear have not been used for a round. A record that is set anew keeps its mark; moving keeps it, too.
 * As keeper_find(), and marks what it finds. */
struct bytes keeper_use(struct keeper *keeper, uint64_t position, struct bytes key);

/* Move the hand over about `max` records from `cursor` on: those that are not marked are visited, as by
 * keeper_scan(), which tells more; marks are cleared, and counted into `marked`. */
uint64_t keeper_sweep(struct keeper *keeper, uint64_t cursor, uint32_t max,
                      void (*visit)(void *context, uint64_t position, struct bytes record),
                      void *context, uint32_t *marked);

/* Do a little of the evacuation: move about `bytes` of records (16 records or one page at least), or tidy
 * a few segments of the index. Returns true while more is due. */
bool keeper_evacuate(struct keeper *keeper, uint32_t bytes);

uint64_t keeper_record_bytes(const struct keeper *keeper);
void keeper_stats(const struct keeper *keeper, struct keeper_stats *stats);

#endif
