/* Whole sessions to other nodes: for deltas that lacked their base, for comparisons, and copies that others should
 * have. The shard is asked for a few positions at a time; what its disk has to fetch comes later. What comparisons send, which
 * may be much, and keeps to a pace, waits in a queue of its own, so that no write waits behind it. */
#include "replication_private.h"

static uint64_t ticket_of(uint32_t index, const struct whole *whole)
{
    return (uint64_t)whole->generation << 32 | index;
}

static struct whole *whole_of(struct replication *r, uint64_t ticket)
{
    const uint32_t index = (uint32_t)ticket;

    if (index >= WHOLES_MAX || !r->wholes[index].used ||
        r->wholes[index].generation != (uint32_t)(ticket >> 32)) {
        return NULL;
    }
    return &r->wholes[index];
}

int replication_send_whole(struct replication_link *link, uint8_t kind, uint64_t number,
                           uint64_t position)
{
    struct queue *queue = kind == REPLICATION_COMPARE_RECORD ? &link->heals : &link->sends;
    struct send *send = queue_push(queue, link->replication->memory, sizeof *send, SENDS_MAX);

    if (send == NULL) {
        return -ENOMEM;
    }
    *send = (struct send){.kind = kind, .number = number, .position = position};
    return 0;
}

void replication_take_whole_ask(struct replication *r, struct peer *peer, uint64_t number,
                                struct bytes body)
{
    struct reader from = reader_of(body);
    const uint64_t life = read_u64(&from), position = read_u64(&from);

    if (!reader_done(&from) || !has_slot(r, peer, slot_of_position(position))) {
        replication_link_bad(peer->out);
        return;
    }
    if (life == peer->stream.life &&
        replication_send_whole(peer->out, REPLICATION_WHOLE, number, position) != 0) {
        replication_link_cut(peer->out);
    }
}

/* It is over: whoever waits for it is told. */
static void finish(struct replication *r, struct whole *whole, bool good)
{
    struct replication_link *link = whole->link;

    whole->used = false;
    r->whole_count--;
    if (link == NULL) {
        return;
    }
    if (whole->kind == REPLICATION_WHOLE) {
        /* What could not be given, as it is damaged, is told to be nothing: the comparisons find it again. */
        replication_link_send_bytes(link, REPLICATION_WHOLE_DONE, whole->number, bytes_of(NULL, 0));
    } else if (whole->kind == REPLICATION_COMPARE_RECORD) {
        replication_job_sent(link, whole->number, good);
    }
}

void replication_whole(struct replication *r, uint64_t ticket, struct bytes record)
{
    const struct whole *whole = whole_of(r, ticket);
    uint8_t position[8];

    if (whole == NULL || whole->link == NULL) {
        return;
    }
    store_u64(position, whole->position);
    const struct bytes parts[] = {bytes_of(position, sizeof position), record};
    replication_link_send(whole->link, whole->kind, whole->number, parts, 2);
    if (whole->kind == REPLICATION_WHOLE) {
        r->stats.wholes_sent++;
    } else if (whole->kind == REPLICATION_COMPARE_RECORD) {
        r->stats.healed_out++;
        r->stats.healed_bytes_out += record.size;
        r->heal_tokens -= (int64_t)record.size;
        replication_credit_spend(whole->link, sizeof position + record.size);
    }
}

void replication_whole_done(struct replication *r, uint64_t ticket, enum status status)
{
    struct whole *whole = whole_of(r, ticket);

    if (whole != NULL) {
        finish(r, whole, status == STATUS_OK);
    }
}

/* Begin to give the first that waits in the queue. Returns whether the shard took it. */
static bool begin(struct replication *r, struct replication_link *link, struct queue *queue)
{
    const struct send send = *(const struct send *)queue_at(queue, 0);
    uint32_t index = 0;

    while (r->wholes[index].used) {
        index++;
    }
    struct whole *whole = &r->wholes[index];
    *whole = (struct whole){
        .link = link,
        .kind = send.kind,
        .used = true,
        .generation = whole->generation + 1,
        .number = send.number,
        .position = send.position,
    };
    r->whole_count++;
    queue_pop(queue);
    if (r->core->whole(r->core, send.position, ticket_of(index, whole), r->now_us) != 0) {
        whole->used = false;
        r->whole_count--;
        queue->first = (queue->first + queue->capacity - 1) &
                       (queue->capacity - 1); /* Its place is as it was. */
        queue->count++;
        return false;
    }
    return true;
}

/* So many under way, of both queues. Returns whether more could be done now. */
static bool send_queue(struct replication *r, struct replication_link *link, struct queue *queue,
                       uint32_t wholes_max)
{
    while (queue->count > 0 && replication_link_is_clear(link) && r->whole_count < wholes_max) {
        const struct send *send = queue_at(queue, 0);
        if (send->kind == 0) { /* Nobody waits for it any more. */
            queue_pop(queue);
            continue;
        }
        if (queue == &link->heals &&
            !(replication_may_heal(r) && replication_has_credit(r, link))) {
            return false;
        }
        if (r->work <= 0) {
            return true;
        }
        r->work -= WORK_OF_SEND;
        if (!begin(r, link, queue)) {
            return false;
        }
    }
    return false;
}

bool replication_send_wholes(struct replication *r, struct replication_link *link)
{
    return send_queue(r, link, &link->sends, WHOLES_MAX) ||
           send_queue(r, link, &link->heals, WHOLES_HEALED);
}

void replication_wholes_forget(struct replication *r, const struct replication_link *link)
{
    for (uint32_t i = 0; i < WHOLES_MAX; i++) {
        if (r->wholes[i].link == link) {
            r->wholes[i].link = NULL;
        }
    }
}
