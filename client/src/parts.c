/* Requests of many keys in a cluster: a part for each node that keys have for primary, sent and repeated by itself, and
 * joined in the order of the keys.
 *
 * The whole waits, in no list, until its last part has ended. Its items' results point into the parts, which go back
 * to the pool with it. A part that ends badly as a whole is the result of each of its keys.
 */
#include <assert.h>
#include <stdlib.h>

#include "client.h"

struct item {
    uint16_t slot;
    struct bytes bytes; /* Header, key, list. */
};

static struct item item_next(struct reader *items)
{
    struct item_header header;
    const uint8_t *start = items->at;
    struct bytes raw = read_bytes(items, sizeof header);

    assert(raw.size == sizeof header);
    memcpy(&header, raw.data, sizeof header);
    struct bytes key = read_bytes(items, header.key_size);
    read_bytes(items, header.list_size);
    assert(!items->bad);
    return (struct item){.slot = slot_of_key(key),
                         .bytes = bytes_of(start, (size_t)(items->at - start))};
}

/* ---- Ends ---- */

static enum belay_status whole_status(const struct belay_request *whole,
                                      const struct belay_request **said_by)
{
    *said_by = whole->parts;
    for (const struct belay_request *part = whole->parts; part != NULL; part = part->part_next) {
        if (part->result.status == BELAY_OK) {
            *said_by = part;
            return BELAY_OK;
        }
    }
    return whole->parts->result.status;
}

static void join_part(struct belay_request *whole, const struct belay_request *part)
{
    for (uint32_t i = 0; i < part->item_count; i++) {
        struct belay_result *item = &whole->items[part->places[i]];
        if (part->result.status == BELAY_OK) {
            *item = part->items[i];
            continue;
        }
        *item = (struct belay_result){
            .status = part->result.status,
            .text = part->result.text,
            .node = part->result.node,
            .retry_after_ms = part->result.retry_after_ms,
            .request = whole,
            .frame_type = whole->frame_type == FRAME_GET_MANY ? FRAME_GET : FRAME_WRITE,
        };
    }
}

static void join(struct belay_request *whole)
{
    const struct belay_request *said_by;
    enum belay_status status = whole_status(whole, &said_by);

    if (request_reserve_items(whole) != 0) {
        request_fail(whole, BELAY_NO_MEMORY, NULL);
        return;
    }
    for (const struct belay_request *part = whole->parts; part != NULL; part = part->part_next) {
        join_part(whole, part);
    }
    whole->items_ready = whole->item_count;
    whole->result = (struct belay_result){
        .status = status,
        .text = said_by->result.text,
        .node = said_by->result.node,
        .retry_after_ms = said_by->result.retry_after_ms,
        .request = whole,
        .frame_type = whole->frame_type,
        .flags = whole->flags,
    };
    request_end(whole);
}

static void part_ended(struct belay_result *result, void *context)
{
    struct belay_request *whole = context;

    (void)result;
    whole->parts_left--;
    if (whole->parts_left == 0) {
        join(whole);
    }
}

void parts_release(struct belay_request *request)
{
    while (request->parts != NULL) {
        struct belay_request *part = request->parts;
        request->parts = part->part_next;
        request_release(part);
    }
}

/* ---- Beginnings ---- */

/* The part for this member, found or made. NULL where there is no memory. */
static struct belay_request *part_for(struct belay_request *whole, struct member *member,
                                      struct member *owners[], uint32_t *part_count)
{
    struct belay_request *part = whole->parts;

    /* The newest comes first. */
    for (uint32_t i = *part_count; i > 0; i--, part = part->part_next) {
        if (owners[i - 1] == member) {
            return part;
        }
    }
    part = request_begin(whole->client, whole->frame_type, belay_bytes_of(NULL, 0));
    if (part == NULL) {
        return NULL;
    }
    part->part_next = whole->parts;
    whole->parts = part;
    owners[(*part_count)++] = member;
    part->whole = whole;
    part->mode = whole->mode;
    part->type = whole->type;
    part->ack = whole->ack;
    part->flags = whole->flags;
    part->no_retry = whole->no_retry;
    part->timeout_given = whole->timeout_given;
    part->timeout_ms = whole->timeout_ms;
    part->places = malloc(whole->item_count * sizeof *part->places);
    return part->places == NULL ? NULL : part;
}

static bool put_item(struct belay_request *part, const struct item *item, uint32_t place)
{
    if (!request_reserve(part, item->bytes.size)) {
        return false;
    }
    (void)buffer_append(&part->body, item->bytes);
    part->places[part->item_count++] = place;
    return true;
}

static bool make_parts(struct belay_request *whole)
{
    struct member *owners[CLIENT_MAP_MEMBERS_MAX + 1];
    struct reader items = reader_of(buffer_bytes(&whole->body));
    uint32_t part_count = 0;

    for (uint32_t i = 0; i < whole->item_count; i++) {
        struct item item = item_next(&items);
        struct member *member = route_primary(whole->client, item.slot);
        struct belay_request *part = part_for(whole, member, owners, &part_count);
        if (part == NULL || !put_item(part, &item, i)) {
            return false;
        }
    }
    whole->parts_left = part_count;
    return true;
}

/* Do all keys have one primary? */
static bool is_one(const struct belay_request *whole)
{
    struct reader items = reader_of(buffer_bytes(&whole->body));
    struct item item = item_next(&items);
    struct member *first = route_primary(whole->client, item.slot);

    for (uint32_t i = 1; i < whole->item_count; i++) {
        item = item_next(&items);
        if (route_primary(whole->client, item.slot) != first) {
            return false;
        }
    }
    return true;
}

bool parts_send(struct belay_request *request)
{
    if (request->client->map == NULL || request->item_count < 2 || is_one(request)) {
        return false;
    }
    if (!make_parts(request)) {
        parts_release(request);
        return false;
    }
    request->state = REQUEST_SPLIT;
    for (struct belay_request *part = request->parts; part != NULL; part = part->part_next) {
        request_submit_part(part, part_ended, request);
    }
    return true;
}
