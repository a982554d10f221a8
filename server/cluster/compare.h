/* Comparing two copies of a part of the ring, so that only what differs is exchanged.
 *
 * One end asks: it sends number and sum of what it has in a range of positions. The other says that it has the same,
 * or what it has in each of the range's COMPARE_PARTS parts, of which those that differ are asked for in turn, or,
 * where that is little, the list of it. What differs by a list is sent, and wanted, whole; merging is the receiver's
 * work and may be done any number of times (session_merge()). It is a tree of hashes (Merkle, 1987; DeCandia et al.,
 * "Dynamo", 2007), made anew for each comparison as it is asked for, so that a write keeps nothing up to date; Meyer,
 * "Range-Based Set Reconciliation", 2023, has the reasoning. Where d sessions of n differ it costs about d * log(n)
 * sums.
 *
 * A sum is that of the hashes of whole sessions, content and all, by a seed that the asking end draws for each
 * comparison: who writes sessions cannot make two copies look the same, and what one comparison overlooks (once in
 * 2^64), the next one finds.
 *
 * At the end the asking end sends a fence. What either end sent before it, it sent in order, on one connection. So
 * when the fence is back, both have merged all that the other had when the comparison began. Copies that change
 * meanwhile are no trouble: a range may be found to differ and then not to, and what was written since comes by the
 * streams.
 *
 * A message is items, one behind the other:
 *
 *   1 ask    u64 first, u64 last, varint count, u64 sum
 *   2 want   u64 position: send all that is there
 *   3 fence
 *   4 same                                                 the answers, in the order of the asks
 *   5 parts  COMPARE_PARTS times: varint count, u64 sum
 *   6 list   varint count, then in ascending order: u64 position, u64 hash
 *
 * Memory: the asking end a stack of ranges from the port, COMPARE_PARTS a level and for each ask under way; the
 * answering end nothing. Threads: the caller's.
 */
#ifndef COMPARE_H
#define COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"

enum {
    COMPARE_PARTS = 16,
    COMPARE_LIST_MAX = 64,         /* More than so many sessions are divided... */
    COMPARE_LIST_EMPTY_MAX = 2048, /* ... more than so many where the asking end has none. */
    COMPARE_ASKS_MAX = 32,         /* Under way. */
    COMPARE_RANGES_MAX = 4096,     /* Of the stack: more than any two copies need. */
};

/* A session: where it is, and the hash of its key and all of its content. */
struct compare_entry {
    uint64_t position, hash;
};

/* What this end has. */
struct compare_source {
    /* Visit every session from `first` to `last`, by ascending position, until `visit` returns false. The copy does not
     * change meanwhile. */
    void (*walk)(struct compare_source *source, uint64_t first, uint64_t last,
                 bool (*visit)(void *context, struct compare_entry entry), void *context);
    /* Send all sessions of a position to the other end, whole. Returns 0, or negative errno: the comparison is over. */
    int (*send)(struct compare_source *source, uint64_t position);
};

struct compare_range {
    uint64_t first, last;
};

struct compare_stats {
    uint64_t asks, lists, sent, wanted;
};

/* The asking end. Private to compare.c, but for reading. */
struct compare {
    struct memory *memory;
    struct compare_source *source;
    struct compare_range *ranges; /* Still to be asked for: a stack. */
    uint32_t range_count, range_capacity;
    struct compare_range asked[COMPARE_ASKS_MAX]; /* Under way, from `oldest` on. */
    uint32_t oldest, asked_count;
    bool fenced; /* All is settled, and the fence is on its way. */
    struct compare_stats stats;
};

/* Compare the sessions from `first` to `last`. Returns 0 or -ENOMEM. */
int compare_begin(struct compare *compare, struct memory *memory, struct compare_source *source,
                  uint64_t first, uint64_t last);
void compare_end(struct compare *compare);

/* Append what is to be asked now: after the beginning, and after each answer. Returns 0 or -ENOMEM; that ends it. */
int compare_ask(struct compare *compare, struct buffer *to);

/* A message with answers has come; wants are appended to `to`. Returns 0; 1: the fence is back, all is merged; or,
 * ending it, -EBADMSG: these are no answers to what was asked; -ENOMEM; -EOVERFLOW (COMPARE_RANGES_MAX); what send()
 * returned. */
int compare_take(struct compare *compare, struct bytes message, struct buffer *to);

/* The answering end: a message has come; answers are appended to `to`. Returns 0; 1: it ended with the fence, this end
 * has all that the other had; -EBADMSG; -ENOMEM; what send() returned. */
int compare_answer(struct compare_source *source, struct bytes message, struct buffer *to);

#endif
