/* What is sent on a link. Messages that it has no room for are kept in their order; what is bulk (runs, sessions) is
 * only made once nothing is kept. */
#include "replication_private.h"

enum { KEPT_HEAD_BYTES = 1 + 8 + 4 };

/* ---- The queue ---- */

void *queue_push(struct queue *queue, struct memory *memory, uint32_t item_bytes, uint32_t max)
{
    if (queue->count == max) {
        return NULL;
    }
    if (queue->count == queue->capacity) {
        uint32_t capacity = queue->capacity == 0 ? 16 : 2 * queue->capacity;
        uint8_t *data = memory->resize(memory, NULL, 0, (size_t)capacity * item_bytes);
        if (data == NULL) {
            return NULL;
        }
        for (uint32_t i = 0; i < queue->count; i++) {
            memcpy(data + (size_t)i * item_bytes, queue_at(queue, i), item_bytes);
        }
        uint32_t count = queue->count;
        queue_fini(queue, memory);
        *queue = (struct queue){data, item_bytes, 0, count, capacity};
    }
    void *at = queue_at(queue, queue->count++);
    memset(at, 0, item_bytes);
    return at;
}

void queue_fini(struct queue *queue, struct memory *memory)
{
    if (queue->data != NULL) {
        memory->resize(memory, queue->data, (size_t)queue->capacity * queue->item_bytes, 0);
    }
    *queue = (struct queue){0};
}

/* ---- Its life ---- */

int replication_link_make(struct replication *r, struct peer *peer, void *link, bool dialled,
                          struct replication_link **made)
{
    struct replication_link *new = r->memory->resize(r->memory, NULL, 0, sizeof *new);

    if (new == NULL) {
        return -ENOMEM;
    }
    *new = (struct replication_link){
        .replication = r,
        .peer = peer,
        .link = link,
        .serial = replication_next_serial(r),
        .dialled = dialled,
        .heard_us = r->now_us,
        .sent_us = r->now_us,
        .queue = {.memory = r->memory},
        .inbox = {.memory = r->memory},
        .heal_limit = CREDIT_BYTES_LEAST,
        .heal_allowed = CREDIT_BYTES_LEAST,
    };
    *made = new;
    return 0;
}

void replication_link_free(struct replication_link *link)
{
    struct memory *memory = link->replication->memory;

    buffer_fini(&link->queue);
    buffer_fini(&link->inbox);
    queue_fini(&link->sends, memory);
    queue_fini(&link->heals, memory);
    if (link->jobs != NULL) {
        memory->resize(memory, link->jobs, JOBS_MAX * sizeof *link->jobs, 0);
    }
    memory->resize(memory, link, sizeof *link, 0);
}

void replication_link_cut(struct replication_link *link)
{
    if (!link->cut) {
        link->cut = true;
        link->replication->port->cut(link->replication->port, link->link);
    }
}

void replication_link_bad(struct replication_link *link)
{
    link->replication->stats.bad_messages += !link->cut;
    replication_link_cut(link);
}

bool replication_link_is_clear(const struct replication_link *link)
{
    return !link->cut && !link->full && link->queue.size == 0;
}

/* ---- Messages that are kept ---- */

static int keep(struct buffer *to, uint8_t kind, uint64_t number, const struct bytes parts[],
                uint32_t part_count)
{
    uint8_t head[KEPT_HEAD_BYTES] = {kind};
    size_t size = 0;

    for (uint32_t i = 0; i < part_count; i++) {
        size += parts[i].size;
    }
    store_u64(head + 1, number);
    store_u32(head + 9, (uint32_t)size);
    int rc = buffer_reserve(to, sizeof head + size);
    if (rc == 0) {
        (void)buffer_append(to, bytes_of(head, sizeof head));
        for (uint32_t i = 0; i < part_count; i++) {
            (void)buffer_append(to, parts[i]);
        }
    }
    return rc;
}

/* The message at an offset; false at the end. */
static bool kept(const struct buffer *from, size_t at, uint8_t *kind, uint64_t *number,
                 struct bytes *body)
{
    if (at == from->size) {
        return false;
    }
    const uint8_t *head = from->data + at;
    *kind = head[0];
    *number = load_u64(head + 1);
    *body = bytes_of(head + KEPT_HEAD_BYTES, load_u32(head + 9));
    return true;
}

/* What was taken out goes, once that is most of it. */
static void tidy(struct buffer *buffer, size_t *at)
{
    if (*at == buffer->size) {
        buffer->size = *at = 0;
    } else if (*at > buffer->size / 2) {
        memmove(buffer->data, buffer->data + *at, buffer->size - *at);
        buffer->size -= *at;
        *at = 0;
    }
}

/* ---- Sending ---- */

static bool send_now(struct replication_link *link, uint8_t kind, uint64_t number,
                     const struct bytes parts[], uint32_t part_count)
{
    struct replication_port *port = link->replication->port;

    link->full = !port->send(port, link->link, kind, number, parts, part_count);
    if (!link->full) {
        link->sent_us = link->replication->now_us;
    }
    return !link->full;
}

bool replication_link_try(struct replication_link *link, uint8_t kind, uint64_t number,
                          struct bytes body)
{
    return replication_link_is_clear(link) && send_now(link, kind, number, &body, 1);
}

void replication_link_send(struct replication_link *link, uint8_t kind, uint64_t number,
                           const struct bytes parts[], uint32_t part_count)
{
    if (link->cut ||
        (replication_link_is_clear(link) && send_now(link, kind, number, parts, part_count))) {
        return;
    }
    if (link->queue.size > LINK_QUEUE_BYTES_MAX ||
        keep(&link->queue, kind, number, parts, part_count) != 0) {
        replication_link_cut(link);
    }
}

void replication_link_send_bytes(struct replication_link *link, uint8_t kind, uint64_t number,
                                 struct bytes body)
{
    replication_link_send(link, kind, number, &body, 1);
}

void replication_link_flush(struct replication_link *link)
{
    uint8_t kind;
    uint64_t number;
    struct bytes body;

    link->full = false;
    while (!link->cut && kept(&link->queue, link->queue_at, &kind, &number, &body) &&
           send_now(link, kind, number, &body, 1)) {
        link->queue_at += KEPT_HEAD_BYTES + body.size;
    }
    tidy(&link->queue, &link->queue_at);
}

/* ---- The inbox ---- */

bool replication_link_keep(struct replication_link *link, uint8_t kind, uint64_t number,
                           struct bytes body)
{
    return link->inbox.size <= INBOX_BYTES_MAX && keep(&link->inbox, kind, number, &body, 1) == 0;
}

bool replication_link_kept(struct replication_link *link, uint8_t *kind, uint64_t *number,
                           struct bytes *body)
{
    tidy(&link->inbox, &link->inbox_at);
    if (!kept(&link->inbox, link->inbox_at, kind, number, body)) {
        return false;
    }
    link->inbox_at += KEPT_HEAD_BYTES + body->size;
    return true;
}
