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
 * Receipts are items of another kind: each says how the delivery of a rename's letter ended here (move.h). A letter may be
 * delivered once more after any time, and a session is lost or doubled where that is not known; so the window does not let
 * go of one because others came, and the floor says nothing of them. One leaves once its letter is known to be gone
 * (receipt.h); or, where more than DEDUP_RECEIPTS_KEPT are there, when it is older than DEDUP_RECEIPT_KEEP_MS; or, where
 * DEDUP_RECEIPTS_FULL are, older than DEDUP_KEEP_MS. Else no coordinator takes another one then. Their join is that of
 * entries (merge.c): one that only one state has stays unless the other's version covers its stamp, so that what was taken
 * away stays away. It caps nothing, so what several coordinators took who did not know of each other is together: at most
 * DEDUP_RECEIPTS_MAX, for as many as a slot can have. (Of more, which nobody makes, the newest stay.)
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
    DEDUP_RECEIPTS_KEPT = 8,
    DEDUP_RECEIPTS_FULL = 16,
    DEDUP_RECEIPTS_MAX = 80,
    DEDUP_RECEIPT_KEEP_MS = 3600 * 1000,
    DEDUP_ROOM = DEDUP_ITEMS_MAX + DEDUP_RECEIPTS_MAX,
    DEDUP_ITEM_BYTES_MAX = 5 + 10 + 10 + 15 + DEDUP_RESULT_BYTES_MAX,
};

/* The client of receipts; their sequence is the rename's id. */
#define DEDUP_RECEIPT_CLIENT (UINT64_MAX - 2)

struct dedup_item {
    uint64_t client, sequence;
    struct stamp stamp;
    struct bytes results;
    bool forgotten; /* The results were too large. */
};

struct dedup {
    uint64_t floor;
    uint32_t count; /* Of both kinds. */
    struct dedup_item items[DEDUP_ROOM];
};

static inline bool dedup_is_receipt(const struct dedup_item *item)
{
    return item->client == DEDUP_RECEIPT_CLIENT;
}

/* Read one item. Returns whether another one follows. What is none makes the reader bad. */
bool dedup_read_item(struct reader *from, const struct version *version, struct dedup_item *item);

/* Write one item into DEDUP_ITEM_BYTES_MAX. */
uint8_t *dedup_put_item(uint8_t *to, const struct version *version, const struct dedup_item *item,
                        bool more);

/* A window and the version of its record. */
struct dedup_state {
    const struct dedup *dedup;
    const struct version *version;
};

/* The join; `out` may be none of the two. `b_is_news`: b is of a delta, and says nothing of receipts that it has not. */
void dedup_join(struct dedup_state a, struct dedup_state b, bool b_is_news, struct dedup *out);

/* Take in an item newer than all that are there (NULL: none). What is too old at `now_ms` (0: nothing is) goes, and the
 * oldest where there are too many: clients' items, for which the floor rises; with a receipt, receipts, of which there must
 * be room for it. */
void dedup_add(struct dedup *dedup, const struct dedup_item *item, uint64_t now_ms);

/* How many receipts there are, and whether a coordinator takes one more. */
uint32_t dedup_receipts(const struct dedup *dedup);
bool dedup_takes_receipt(const struct dedup *dedup, uint64_t now_ms);

/* Take away that receipt. Returns whether it was there. */
bool dedup_remove_receipt(struct dedup *dedup, uint64_t id);

/* The item of this write, or NULL. */
const struct dedup_item *dedup_find(const struct dedup *dedup, uint64_t client, uint64_t sequence);

#endif
