/* Replies in the order of their requests, for protocols whose replies do not say which request they answer.
 *
 * Each request takes a number. A reply that is due goes straight out; one that comes early is kept until those before it
 * have gone. A request that was put off is served again later, after others may have been taken: it gets its number
 * back.
 *
 * Memory: a table as large as the most requests that were under way at once, and the replies kept. Threads: its shard's.
 */
#ifndef REPLY_ORDER_H
#define REPLY_ORDER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "bytes.h"
#include "memory.h"

struct kept_reply; /* private to reply_order.c */

struct reply_order {
    struct memory *memory;
    uint64_t next; /* Number of the next request. */
    uint64_t due;  /* The one whose reply goes out next. */
    struct kept_reply **kept;
    uint32_t capacity; /* Of `kept`, a power of two; numbers modulo it. */
    uint64_t kept_bytes;
    struct buffer put_off; /* Numbers (uint64_t), in order. */
};

void reply_order_init(struct reply_order *order, struct memory *memory);
void reply_order_fini(struct reply_order *order);

/* A request is taken, for the first time or, while any are put off, the first of those again. */
uint64_t reply_order_begin(struct reply_order *order);

/* It was put off: reply_order_begin() gives its number once more. Returns 0 or -ENOMEM. */
int reply_order_put_off(struct reply_order *order, uint64_t number);

static inline bool reply_order_is_due(const struct reply_order *order, uint64_t number)
{
    return order->due == number;
}

/* What reply_order_begin() will give. */
static inline uint64_t reply_order_next(const struct reply_order *order)
{
    uint64_t number = order->next;

    if (order->put_off.size > 0) {
        memcpy(&number, order->put_off.data, sizeof number);
    }
    return number;
}

/* The reply that was due has gone out. */
static inline void reply_order_sent(struct reply_order *order)
{
    order->due++;
}

/* Keep a copy of one that is not due. Returns 0 or -ENOMEM. */
int reply_order_keep(struct reply_order *order, uint64_t number, struct bytes reply);

/* The reply that is due, where it is kept. Returns whether there is one: then reply_order_drop() after it was written,
 * which makes the next one due. */
bool reply_order_kept(const struct reply_order *order, struct bytes *reply);
void reply_order_drop(struct reply_order *order);

#endif
