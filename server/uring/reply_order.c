#include "reply_order.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "heap.h"

enum { CAPACITY_MIN = 64 };

struct kept_reply {
    size_t size;
    uint8_t data[];
};

void reply_order_init(struct reply_order *order, struct memory *memory)
{
    *order = (struct reply_order){.memory = memory, .put_off = {.memory = memory}};
}

static struct kept_reply **place(const struct reply_order *order, uint64_t number)
{
    return &order->kept[number & (order->capacity - 1)];
}

static void give_back(struct reply_order *order, struct kept_reply *kept)
{
    order->kept_bytes -= kept->size;
    heap_give(order->memory, kept, sizeof *kept + kept->size);
}

void reply_order_fini(struct reply_order *order)
{
    for (uint32_t i = 0; i < order->capacity; i++) {
        if (order->kept[i] != NULL) {
            give_back(order, order->kept[i]);
        }
    }
    if (order->kept != NULL) {
        heap_give(order->memory, order->kept, order->capacity * sizeof(struct kept_reply *));
    }
    buffer_fini(&order->put_off);
}

uint64_t reply_order_begin(struct reply_order *order)
{
    struct buffer *put_off = &order->put_off;
    uint64_t number;

    if (put_off->size == 0) {
        return order->next++;
    }
    memcpy(&number, put_off->data, sizeof number);
    put_off->size -= sizeof number;
    memmove(put_off->data, put_off->data + sizeof number, put_off->size);
    return number;
}

/* Nearly always it belongs at the end. */
int reply_order_put_off(struct reply_order *order, uint64_t number)
{
    struct buffer *put_off = &order->put_off;
    uint64_t before;

    int rc = buffer_append(put_off, bytes_of(&number, sizeof number));
    if (rc != 0) {
        return rc;
    }
    size_t at = put_off->size - sizeof number;
    for (; at > 0; at -= sizeof number) {
        memcpy(&before, put_off->data + at - sizeof number, sizeof before);
        if (before < number) {
            break;
        }
        memcpy(put_off->data + at, &before, sizeof before);
    }
    memcpy(put_off->data + at, &number, sizeof number);
    return 0;
}

static int make_room(struct reply_order *order, uint64_t number)
{
    uint32_t capacity = order->capacity == 0 ? CAPACITY_MIN : order->capacity;

    while (number - order->due >= capacity) {
        capacity *= 2;
    }
    if (capacity == order->capacity) {
        return 0;
    }
    struct kept_reply **kept = heap_take(order->memory, capacity * sizeof(struct kept_reply *));
    if (kept == NULL) {
        return -ENOMEM;
    }
    memset(kept, 0, capacity * sizeof(struct kept_reply *));
    for (uint64_t i = 0; i < order->capacity; i++) {
        uint64_t old = order->due + i;
        kept[old & (capacity - 1)] = *place(order, old);
    }
    if (order->kept != NULL) {
        heap_give(order->memory, order->kept, order->capacity * sizeof(struct kept_reply *));
    }
    order->kept = kept;
    order->capacity = capacity;
    return 0;
}

int reply_order_keep(struct reply_order *order, uint64_t number, struct bytes reply)
{
    assert(number > order->due);
    int rc = make_room(order, number);
    if (rc != 0) {
        return rc;
    }
    struct kept_reply *kept = heap_take(order->memory, sizeof *kept + reply.size);
    if (kept == NULL) {
        return -ENOMEM;
    }
    kept->size = reply.size;
    if (reply.size > 0) {
        memcpy(kept->data, reply.data, reply.size);
    }
    order->kept_bytes += reply.size;
    *place(order, number) = kept;
    return 0;
}

bool reply_order_kept(const struct reply_order *order, struct bytes *reply)
{
    const struct kept_reply *kept = order->capacity == 0 ? NULL : *place(order, order->due);

    if (kept == NULL) {
        return false;
    }
    *reply = bytes_of(kept->data, kept->size);
    return true;
}

void reply_order_drop(struct reply_order *order)
{
    struct kept_reply **kept = place(order, order->due);

    give_back(order, *kept);
    *kept = NULL;
    order->due++;
}
