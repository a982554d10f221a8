/* Log: the entries after the snapshot, in memory, by index, with what of them is stored.
 *
 * It also keeps a few entries that the snapshot has already, so that a follower a little behind need not
 * take a whole snapshot. The entry before the first is the *base*: of it only index and term are known (both
 * 0 at the very beginning).
 *
 * Memory: from the port; the log owns the bytes of its entries. Threads: the caller's.
 */
#ifndef RAFT_LOG_H
#define RAFT_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"

enum raft_kind {
    RAFT_COMMAND = 1, /* For the machine. */
    RAFT_NOOP =
        2, /* A new leader's first entry (dissertation, 6.4): what came before commits with it. */
    RAFT_MEMBERS = 3, /* raft_members_put(). */
};

struct raft_entry {
    uint64_t index, term; /* From 1 up. */
    uint64_t sequence;    /* Of the store's append; nobody else's business. */
    enum raft_kind kind;
    struct bytes data;
};

struct raft_log {
    struct memory *memory;
    uint64_t base_index, base_term;
    struct raft_entry *entries;
    uint32_t count, staged, capacity;
    uint64_t bytes; /* Of the entries, as raft_entry_bytes() counts. */
};

/* What an entry counts for in bounds: its bytes and a little for itself. */
static inline uint64_t raft_entry_bytes(const struct raft_entry *entry)
{
    return entry->data.size + 64;
}

void raft_log_init(struct raft_log *log, struct memory *memory);
void raft_log_fini(struct raft_log *log);

static inline uint64_t raft_log_last(const struct raft_log *log)
{
    return log->base_index + log->count;
}

/* The entry at `index`, or NULL where it is not held. Valid until the log changes. */
const struct raft_entry *raft_log_at(const struct raft_log *log, uint64_t index);

/* The term of the entry at `index`, or of the base; 0 where it is not known, which no entry's is. */
uint64_t raft_log_term(const struct raft_log *log, uint64_t index);

/* Copy one more entry behind the log, without being part of it yet. Returns 0 or -ENOMEM. */
int raft_log_stage(struct raft_log *log, const struct raft_entry *entry);

/* The staged entries, `log->staged` of them. */
struct raft_entry *raft_log_staged(struct raft_log *log);

/* Take the staged entries, which follow each other, into the log: in place of everything from the index of
 * the first. They carry `sequence`. */
void raft_log_adopt(struct raft_log *log, uint64_t sequence);

/* Forget the staged entries. */
void raft_log_unstage(struct raft_log *log);

/* Forget the entries up to `index`, which is held: it becomes the base. */
void raft_log_drop_until(struct raft_log *log, uint64_t index);

/* Forget everything: the log begins after this base. */
void raft_log_reset(struct raft_log *log, uint64_t base_index, uint64_t base_term);

#endif
