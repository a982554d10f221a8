/* The dedup window: the newest writes of a session, so that a repeated one is recognised.
 *
 * It belongs to the key and survives death. State: at most DEDUP_ITEMS_MAX items, newest first, and a
 * floor: the greatest hlc of what had to leave. An item at or below the floor is not kept. The join is
 * the newest items of the union above both floors, and the floor that follows; it is associative
 * because whoever left the window of a part is below the floor of the whole.
 *
 * A key that is let go whole (an expired session's burial, a tombstone's end) takes its window along. The
 * shard remembers only how new the newest write was that went so: a repeated write whose first try may
 * be one of those, and that must not be done twice, is answered MAYBE_APPLIED.
 *
 * A coordinator also lets go what is older than DEDUP_KEEP_MS: no client retries that long, and items
 * are most of what small sessions would remember.
 *
 * Memory: items point into the bytes they were read from. Threads: any.
 */
#ifndef DEDUP_H
#define DEDUP_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "stamp.h"

struct version;

enum {
    DEDUP_ITEMS_MAX = 8,
    DEDUP_RESULT_BYTES_MAX = 64, /* Larger results are forgotten; that they were is kept. */
    DEDUP_KEEP_MS = 120 * 1000,
    DEDUP_ITEM_BYTES_MAX = 5 + 10 + 10 + 15 + DEDUP_RESULT_BYTES_MAX,
};

struct dedup_item {
    uint64_t client, sequence;
    struct stamp stamp;
    struct bytes results;
    bool forgotten; /* The results were too large. */
};

struct dedup {
    uint64_t floor;
    uint32_t count;
    struct dedup_item items[DEDUP_ITEMS_MAX];
};

/* Read one item. Returns whether another one follows. What is none makes the reader bad. */
bool dedup_read_item(struct reader *from, const struct version *version, struct dedup_item *item);

/* Write one item into DEDUP_ITEM_BYTES_MAX. */
uint8_t *dedup_put_item(uint8_t *to, const struct version *version, const struct dedup_item *item,
                        bool more);

/* The join; `out` may be none of the two. */
void dedup_join(const struct dedup *a, const struct dedup *b, struct dedup *out);

/* Take in an item newer than all that are there (NULL: none); those below `oldest_hlc` go, and the oldest where
 * there are too many. The floor rises to what went. */
void dedup_add(struct dedup *dedup, const struct dedup_item *item, uint64_t oldest_hlc);

/* The item of this write, or NULL. */
const struct dedup_item *dedup_find(const struct dedup *dedup, uint64_t client, uint64_t sequence);

#endif
